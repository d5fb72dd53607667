"""The journal: nothing lost, nothing half, resumed where it stopped."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from watcher import journal, plan
from watcher.catalog import Catalog
from watcher.errors import UsageError
from watcher.records import RECORD, Closed, Packet, Planned

CATALOG = Catalog.load()


def planned() -> list[Planned]:
    choice = plan.Choice(
        stacks=[CATALOG.stacks["python-urllib3"].stack],
        profiles=[CATALOG.profiles["default"]],
        scenarios=[CATALOG.scenarios["control"]],
        paths=CATALOG.paths,
        not_built={},
        repeat=2,
    )
    return [Planned(t=0, cell=str(cell.id), plan=cell) for cell in plan.make(choice)]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """A published run is judged again from this file alone."""
    records = [
        *planned(),
        Packet(
            t=1.5,
            cell="a/b/c#1",
            link="client",
            direction="to-client",
            port=1,
            flags="R",
            seq=2**32 - 1,
            ack=0,
            length=0,
        ),
    ]
    with journal.Journal(tmp_path) as kept:
        for record in records:
            kept.append(record)
        assert kept.length == len(records)
    assert list(journal.read(tmp_path)) == records
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "journal.jsonl.gz").write_bytes(gzip.compress((tmp_path / "journal.jsonl").read_bytes()))
    assert list(journal.read(packed)) == records


def test_a_line_cut_short_by_a_crash_is_dropped_and_written_over(tmp_path: Path) -> None:
    """A killed run must resume: its half line must neither stop the reading nor spoil the next record."""
    records = planned()
    with journal.Journal(tmp_path) as kept:
        kept.append(records[0])
    whole = (tmp_path / "journal.jsonl").read_bytes()
    half = RECORD.dump_json(records[1])[:-7]
    (tmp_path / "journal.jsonl").write_bytes(whole + half)
    assert list(journal.read(tmp_path)) == records[:1]
    with journal.Journal(tmp_path) as kept:
        kept.append(records[2])
    assert list(journal.read(tmp_path)) == [records[0], records[2]]


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    """Silently leaving out records could turn a verdict."""
    (tmp_path / "journal.jsonl").write_text('{"kind":"closed","t":1}\n{"kind":"closed"}\n{"kind":"closed","t":2}\n')
    with pytest.raises(UsageError, match=r"journal\.jsonl:2: .*t: Field required"):
        list(journal.read(tmp_path))
    with pytest.raises(UsageError, match=r"holds no journal\.jsonl"):
        list(journal.read(tmp_path / "elsewhere"))


def test_a_resumed_run_does_only_what_is_left() -> None:
    """Finished cells are never repeated, cells without a word are all done."""
    records = planned()
    closed = Closed(t=2, cell=records[0].cell)
    assert journal.unfinished([*records, closed]) == records[1:]
    assert journal.unfinished([*records, *(Closed(t=2, cell=each.cell) for each in records)]) == []


def test_a_run_that_is_still_going_on_is_not_resumed(tmp_path: Path) -> None:
    """Two processes in one journal would destroy both runs."""
    with journal.Journal(tmp_path) as kept:
        kept.append(planned()[0])
        with pytest.raises(UsageError, match="still going on"):
            journal.Journal(tmp_path)
    journal.Journal(tmp_path).close()
    assert list(journal.read(tmp_path)) == planned()[:1]
