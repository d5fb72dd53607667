"""The published JSON schema of ``results.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.unit.report.examples import a_full_run
from watcher.model import Results
from watcher.report import files, schema

ROOT = Path(__file__).parents[3]
FILE = ROOT / "watcher" / "schemas" / schema.NAME
PUBLISHED = sorted((ROOT / "results").glob("*/results.json"))


def validator() -> Draft202012Validator:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)


def test_it_is_that_of_the_model() -> None:
    """Whoever reads results by the schema meets a field that it does not know."""
    advice = f"`.venv/bin/python -m watcher.report.schema > {FILE.relative_to(ROOT)}`"
    assert FILE.read_text(encoding="utf-8") == schema.render(), advice


@pytest.mark.parametrize("file", PUBLISHED, ids=[file.parent.name for file in PUBLISHED])
def test_each_published_run_fits(file: Path) -> None:
    """A published run, which is never changed, can no longer be read."""
    validator().validate(json.loads(file.read_bytes()))
    Results.model_validate_json(file.read_bytes())


def test_something_is_published() -> None:
    """Without a run the test above tests nothing."""
    assert PUBLISHED


def test_what_a_run_writes_fits() -> None:
    """Every verdict, every kind of cell."""
    validator().validate(json.loads(files.derived(a_full_run())[files.RESULTS]))


@pytest.mark.parametrize("path", [["run", "scale"], ["cells", 0, "verdict"], ["cells", 0, "settings"], ["stacks"]])
def test_another_form_does_not_fit(path: list[str | int]) -> None:
    """The mutant: a schema that takes anything would pass all of the above."""
    content = json.loads(files.derived(a_full_run())[files.RESULTS])
    place = content
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = "nonsense"
    with pytest.raises(ValidationError):
        validator().validate(content)
