"""A run's folder becomes a published one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.judge.clients import act, controls
from tests.unit.judge.stage import journal as journal_of
from tests.unit.judge.test_results import observing
from tests.unit.publish.runs import (
    SECRET,
    a_run_folder,
    contents,
    in_true_time,
    judged,
    lines,
    not_ok,
    publish,
    unchanged,
)
from watcher import journal
from watcher.errors import FileError, UsageError
from watcher.judge.results import results_of
from watcher.model import Control, Results, Verdict
from watcher.publish import folder
from watcher.report import index


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return a_run_folder(tmp_path / "runs" / "one")


def test_a_published_journal_judged_again_says_the_same(run: Path, to: Path) -> None:
    """A reader who checks a published verdict gets another one than is printed beside it."""
    place = publish(run, to)
    again = results_of(journal.read(place))
    assert again == Results.model_validate_json((place / "results.json").read_bytes()) == judged(lines())
    assert {cell.verdict for cell in again.cells} >= {Verdict.OK, Verdict.DIED, Verdict.STUCK}


def test_the_folder_has_the_day_and_the_hash_of_its_results(run: Path, to: Path) -> None:
    """Two runs of one day take each other's place."""
    place = publish(run, to)
    assert index.FOLDER.fullmatch(place.name)
    assert place.name.startswith("2026-11-21-")
    assert {path.name for path in place.iterdir()} == {
        "journal.jsonl.gz", "results.json", "matrix.md", "environment.json", "evidence",
    }  # fmt: skip

    def other(record: dict[str, Any]) -> dict[str, Any]:
        return in_true_time({**record, "control_plane": "kubernetes 1.36.3"} if record["kind"] == "run" else record)

    assert publish(a_run_folder(run.parent / "two", lines(other)), to).name != place.name


def test_publishing_twice_gives_the_same_octets(run: Path, to: Path, tmp_path: Path) -> None:
    """Whoever publishes the same run again, to check it, finds a difference that means nothing."""
    first, second = publish(run, to), publish(run, tmp_path / "other")
    assert first.name == second.name
    octets = [{f.relative_to(p): f.read_bytes() for f in p.rglob("*") if f.is_file()} for p in (first, second)]
    assert octets[0] == octets[1]
    times = {name: content[4:8] for name, content in octets[0].items() if name.suffix == ".gz"}
    assert set(times.values()) == {bytes(4)}  # where gzip keeps the time at which it packed


def test_what_is_published_is_never_overwritten(run: Path, to: Path) -> None:
    """A link from a bug report shows other packets than on the day it was set."""
    place = publish(run, to)
    (place / "matrix.md").write_text("as it was")
    with pytest.raises(UsageError, match="published already"):
        publish(run, to)
    assert (place / "matrix.md").read_text() == "as it was"
    assert [path.name for path in to.iterdir()] == [place.name]


def test_every_cell_that_is_not_ok_has_its_evidence(run: Path, to: Path) -> None:
    """Somebody doubts a FAIL and finds no packets; or the repository grows by cells that nobody doubts."""
    place = publish(run, to)
    evidence = {str(file.parent.relative_to(place / "evidence")) for file in (place / "evidence").rglob("*.gz")}
    assert evidence == not_ok(judged(lines()))
    assert {file.name for file in (place / "evidence/python-urllib3/default/azure-slb").iterdir()} == {
        "verdict.txt", "client-link.pcap.gz", "server-link.pcap.gz", "program.jsonl", "stderr.log",
    }  # fmt: skip


def test_a_control_that_fails_has_its_evidence() -> None:
    """A whole column is invalid, and what broke it is not to be seen."""
    good = judged(lines())
    assert [cell for cell in folder.worth_evidence(good) if cell.control] == []
    deaf = next(cell for cell in good.controls if cell.control is Control.DEAF)
    for change in ({"verdict": Verdict.OK}, {"proof": "prevented (kept alive by server)"}):
        bad = good.model_copy(update={"controls": (deaf.model_copy(update=change),)})
        assert [cell.control for cell in folder.worth_evidence(bad) if cell.control] == [Control.DEAF]


def test_the_evidence_is_of_the_repeat_that_stands_for_the_cell(tmp_path: Path, to: Path) -> None:
    """The packets beside a verdict are those of a repeat in which something else happened."""
    stages = [*(act(each) for each in controls("control")), *(observing(n, d) for n, d in ((1, 0.1), (2, 40.0)))]
    places: dict[str, str] = {}
    for stage in stages:
        cell = stage.plan.id
        places[str(cell)] = f"cells/{cell.key}" + (f"/repeat-{cell.repeat}" if cell.repeat > 1 else "")
    kept = []
    for record in journal_of(*stages):
        value = json.loads(record.model_dump_json(exclude_none=True))
        if value["kind"] == "closed":
            value["folder"] = places[value["cell"]]
        kept.append(json.dumps(value))
    assert [cell.verdict for cell in judged(kept).cells] == [Verdict.FLAKY]
    place = publish(a_run_folder(tmp_path / "run", kept), to)
    assert {str(file.parent.relative_to(place)) for file in place.rglob("*.pcap.gz")} == {
        "evidence/python/default/control/repeat-2"
    }


def test_nothing_names_the_machine_or_carries_what_was_said(tmp_path: Path, to: Path) -> None:
    """A user's name, host, folders or tokens are in a public repository for ever."""

    def telling(record: dict[str, Any]) -> dict[str, Any]:
        if record["kind"] == "run":
            environment = {
                "kernel": "6.18.1", "node": "buildhost-7", "cache": "/home/alice cooper/.cache", "who": ["alice", 2],
            }  # fmt: skip
            return in_true_time({**record, "environment": environment})
        if record["kind"] == "program" and record["event"] == "spawned":
            return {**record, "message": "alice@buildhost-7: /home/bob/x/ca.pem: Bearer abcdefghijklmnop"}
        return record

    assert any("buildhost-7" in line and '"program"' in line for line in lines(telling))
    place = publish(a_run_folder(tmp_path / "run", lines(telling)), to)
    for name, content in contents(place).items():
        for word in (b"alice", b"bob", b"cooper", b"buildhost", b"/home", b"abcdefgh", SECRET, str(tmp_path).encode()):
            assert word not in content, name
    environment = json.loads((place / "environment.json").read_text())["environment"]
    assert environment == {"kernel": "6.18.1", "node": "<host>", "cache": "…", "who": ["<user>", 2]}
    errors = (place / "evidence/python-urllib3/default/azure-slb/stderr.log").read_text()
    assert 'File "…/watch.py", line 9' in errors
    assert 'File "…/site-packages/urllib3/response.py", line 1284' in errors


@pytest.mark.parametrize(
    ("journal", "problem"),
    [
        (lines(unchanged), "scale 12, not in true time"),
        ([line for line in lines() if not ('"closed"' in line and "urllib3" in line)], "not run to their end"),
    ],
    ids=["not in true time", "not trusted"],
)
def test_a_run_that_is_not_fit_is_refused(tmp_path: Path, to: Path, journal: list[str], problem: str) -> None:
    """A hurried or broken run becomes what the documentation says."""
    run = a_run_folder(tmp_path / "run", journal)
    with pytest.raises(UsageError, match=problem) as raised:
        publish(run, to)
    assert raised.value.exit_code == 2
    assert list(to.iterdir()) == []
    assert publish(run, to, anyway=True).is_dir()


def test_a_run_that_is_too_large_names_what_takes_the_room(run: Path, to: Path) -> None:
    """A repository grows by hundreds of megabytes that can never be taken out again."""
    (run / "cells/python-urllib3/default/azure-slb/stderr.log").write_text("x y\n" * 10_000)
    with pytest.raises(UsageError, match=r"more than 0\.05 MB; the largest: .*results\.json 0\.\d+ MB") as raised:
        publish(run, to, most_octets=50_000)
    assert "evidence/python-urllib3/default/azure-slb/stderr.log 0.04 MB" in str(raised.value)
    assert list(to.iterdir()) == []


def test_logs_are_bounded(run: Path, to: Path) -> None:
    """A client that fails a thousand times a second fills the repository with its complaints."""
    cell = run / "cells/python-urllib3/default/azure-slb"
    (cell / "stderr.log").write_text("".join(f"{n} of /home/bob/x\n" for n in range(50_000)))
    (cell / "program.jsonl").write_text("".join(f'{{"n":{n}}}\n' for n in range(50_000)))
    place = publish(run, to) / "evidence/python-urllib3/default/azure-slb"
    errors = (place / "stderr.log").read_text()
    assert len(errors) < 1.1 * folder.MOST_OF_A_LOG
    assert errors.endswith("49999 of …\n")
    assert errors.startswith("[the first ")
    said = [json.loads(line) for line in (place / "program.jsonl").read_text().splitlines()]
    left_out = next(line["left_out_lines"] for line in said if "left_out_lines" in line)
    assert (said[0], said[-1]) == ({"n": 0}, {"n": 49_999})
    assert left_out + len(said) - 1 == 50_000


def test_missing_evidence_is_an_error(run: Path, to: Path) -> None:
    """A verdict is published whose proof was lost before."""
    (run / "cells/python-urllib3/default/azure-slb/server-link.pcap").unlink()
    with pytest.raises(FileError, match="evidence is missing"):
        publish(run, to)
    assert list(to.iterdir()) == []


def test_a_capture_that_is_none_is_an_error(run: Path, to: Path) -> None:
    """A file of another kind, with who knows what in it, is published under a capture's name."""
    (run / "cells/python-urllib3/default/azure-slb/server-link.pcap").write_bytes(b"not a capture at all")
    with pytest.raises(FileError, match="not a pcap file"):
        publish(run, to)


@pytest.mark.parametrize("place", ["/etc/a/b/c", "cells/../../secrets/c", "../../../etc", "elsewhere/a/b/c"])
def test_evidence_comes_from_the_runs_folder_only(tmp_path: Path, to: Path, place: str) -> None:
    """A journal from elsewhere publishes a file of the machine it is published on."""

    def elsewhere(record: dict[str, Any]) -> dict[str, Any]:
        return {**in_true_time(record), "folder": place} if record["kind"] == "closed" else in_true_time(record)

    run = tmp_path / "run"
    run.mkdir()
    (run / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines(elsewhere)))
    with pytest.raises(FileError, match="outside the run's folder"):
        publish(run, to)


def test_a_link_out_of_the_runs_folder_is_not_followed(run: Path, to: Path, tmp_path: Path) -> None:
    """A client program leaves a link behind, and what it points at is published."""
    outside = tmp_path / "outside"
    (run / "cells/python-urllib3/default").rename(outside)
    (run / "cells/python-urllib3/default").symlink_to(outside)
    with pytest.raises(FileError, match="outside the run's folder"):
        publish(run, to)
    (run / "cells/python-urllib3/default").unlink()
    outside.rename(run / "cells/python-urllib3/default")
    log = run / "cells/python-urllib3/default/azure-slb/stderr.log"
    log.unlink()
    log.symlink_to(tmp_path / "secret")
    with pytest.raises(FileError, match="not a file"):
        publish(run, to)
