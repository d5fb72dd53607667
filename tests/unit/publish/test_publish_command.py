"""``watcher publish``, and that what this repository publishes is in step."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.publish.runs import a_run_folder, lines, unchanged
from watcher import cli, journal
from watcher.errors import FileError
from watcher.judge.results import results_of
from watcher.model import Results
from watcher.publish import pages
from watcher.report import index, readme

ROOT = Path(__file__).parents[3]
EMPTY = f"top\n{readme.BEGIN}\nold\n{readme.END}\nend\n"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text(EMPTY)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["publish", *arguments])


def test_a_run_is_published_and_shown() -> None:
    """The command ends well, and neither page knows of the run."""
    a_run_folder(Path("runs/one"))
    result = call("runs/one")
    assert result.exit_code == 0, result.output
    place = Path(result.stdout.strip())
    assert place.parent == Path("results")
    assert "MB of at most 10.0 MB" in result.stderr
    page = Path("README.md").read_text()
    assert f"Run [{place.name}](results/{place.name}/matrix.md)" in page
    assert page.startswith("top\n")
    assert page.endswith("\nend\n")
    assert f"[{place.name}]({place.name}/matrix.md)" in Path("results/README.md").read_text()
    saved = Results.model_validate_json((place / "results.json").read_bytes())
    assert results_of(journal.read(place)) == saved


def test_pages_can_be_made_again() -> None:
    """A better table cannot be shown before the next run."""
    a_run_folder(Path("runs/one"))
    call("runs/one")
    page, overview = Path("README.md").read_text(), Path("results/README.md").read_text()
    Path("README.md").write_text(EMPTY)
    Path("results/README.md").unlink()
    assert call().exit_code == 0
    assert (Path("README.md").read_text(), Path("results/README.md").read_text()) == (page, overview)


def test_the_page_may_lie_elsewhere() -> None:
    """Links in another page lead nowhere."""
    a_run_folder(Path("runs/one"))
    page = Path("docs/my page.md")
    page.parent.mkdir()
    page.write_text(EMPTY)
    place = Path(call("runs/one", "--to", "all of them", "--readme", str(page)).stdout.strip())
    assert f"](../all%20of%20them/{place.name}/matrix.md)" in page.read_text()
    assert Path("README.md").read_text() == EMPTY


@pytest.mark.parametrize("text", ["no markers", None])
def test_a_page_that_cannot_take_the_table_stops_it_before(text: str | None) -> None:
    """A run is half published: its folder is there, and no page shows it."""
    a_run_folder(Path("runs/one"))
    Path("README.md").unlink()
    if text is not None:
        Path("README.md").write_text(text)
    result = call("runs/one")
    assert result.exit_code == 2
    assert "README.md" in result.stderr
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["runs/scaled"], "not in true time"),
        (["runs/none"], "is no folder"),
        (["runs"], "holds no journal.jsonl"),
    ],
)
def test_refusals(arguments: list[str], problem: str) -> None:
    """What is not fit to be published ends like a success, or in a traceback."""
    a_run_folder(Path("runs/scaled"), lines(unchanged))
    result = call(*arguments)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert Path("README.md").read_text() == EMPTY


def test_anyway() -> None:
    """An experiment cannot be shared by the same means; or it looks like a result."""
    a_run_folder(Path("runs/scaled"), lines(unchanged))
    assert call("runs/scaled", "--anyway").exit_code == 0
    assert "scale 12" in Path("README.md").read_text()


def test_a_published_run_that_was_damaged_is_named() -> None:
    """The pages fall back in silence to an older run."""
    a_run_folder(Path("runs/one"))
    place = Path(call("runs/one").stdout.strip())
    (place / "results.json").write_text("{}")
    result = call()
    assert result.exit_code == 2
    assert str(place / "results.json") in result.stderr


def problems(results: Path, page: Path) -> list[str]:
    """What the pages say otherwise than the published runs, and verdicts that the judge says otherwise today."""
    found = [
        f"{file} is out of step: `watcher publish` makes it again"
        for file, content in pages.pages(results, page).items()
        if content != (file.read_text(encoding="utf-8") if file.exists() else index.render([]))
    ]
    for run in pages.published(results)[:1]:
        again = results_of(journal.read(results / run.name)).by_key()
        found += [
            f"{'/'.join(key)} of {run.name} is {again[key].verdict} today"
            for key, cell in run.results.by_key().items()
            if again[key].verdict is not cell.verdict
        ]
    return found


def test_readme_and_newest_published_run_are_in_step() -> None:
    """The project's first page shows other verdicts than its newest run, or than its judge would give."""
    assert problems(ROOT / "results", ROOT / "README.md") == []


def test_pages_that_are_out_of_step_are_seen() -> None:
    """The mutants of the test above: a verdict changed in the README, in the results, and markers lost."""
    a_run_folder(Path("runs/one"))
    place = Path(call("runs/one").stdout.strip())
    here = Path("results"), Path("README.md")
    assert problems(*here) == []
    page = here[1].read_text()
    here[1].write_text(page.replace("✗ stuck", "✓ 0.0", 1))
    assert problems(*here) == ["README.md is out of step: `watcher publish` makes it again"]
    here[1].write_text(page)
    saved = place / "results.json"
    saved.write_text(saved.read_text().replace('"verdict": "stuck"', '"verdict": "ok"', 1))
    assert any("is stuck today" in problem for problem in problems(*here))
    here[1].write_text("no markers")
    with pytest.raises(FileError):
        problems(*here)
