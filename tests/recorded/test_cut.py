"""A recording that is cut out of a run."""

from __future__ import annotations

from pathlib import Path

from tests.recorded.cut import cut, expected
from tests.recorded.test_recorded import records_of
from watcher.records import RunStarted

WHOLE = Path(__file__).parent / "true-time-apiserver-watcher"


def test_a_part_is_judged_as_in_the_whole() -> None:
    """A recording would otherwise hold the judge to words that the run never had: without its scenario's controls
    every cell is invalid, with those of others it is no small file."""
    records = records_of(WHOLE)
    part = list(cut(records, ["python-kubernetes/*/azure-private-link"], "part"))
    whole, of_part = expected(records), expected(part)
    assert len(of_part["cells"]) == 3
    assert set(of_part["controls"]) == {f"{name}/control/azure-private-link" for name in ("perfect", "deaf")}
    for kind in ("cells", "controls"):
        assert of_part[kind] == {name: whole[kind][name] for name in of_part[kind]}
    assert of_part["trusted"]
    [began] = [record for record in part if isinstance(record, RunStarted)]
    assert (began.run, list(began.stacks)) == ("part", ["python-kubernetes"])
