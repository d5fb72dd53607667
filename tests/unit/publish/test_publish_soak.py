"""A rehearsal's folder becomes a published soak."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.publish.rehearsals import (
    LEAST,
    NONCES,
    PATHS,
    RELEASE,
    a_rehearsal,
    an_update,
    change,
    ended,
    publish,
)
from tests.unit.publish.runs import SECRET, contents
from tests.unit.summary.soaks import counted
from watcher import cli
from watcher.errors import FileError, UsageError
from watcher.publish import soak
from watcher.publish.folder import CAPTURES
from watcher.report import index
from watcher.report.summary import Summary
from watcher.summary import exports as saved
from watcher.summary import predictions
from watcher.totals import Update


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def rehearsal(tmp_path: Path) -> Path:
    return a_rehearsal(tmp_path / "rehearsals" / "one")


def test_what_a_published_soak_holds(rehearsal: Path, to: Path) -> None:
    """A reader looks for the table, or for what stands behind it."""
    place = publish(rehearsal, to)
    assert place.parent == to / "soaks"
    assert index.FOLDER.fullmatch(place.name)
    assert place.name.startswith("2026-11-21-")
    evidence = ("soak.log.gz", "touches.json", "client-link.pcap.gz", "server-link.pcap.gz")
    assert contents(place).keys() == {
        *(f"exports/{name}.json" for name in PATHS),
        *(f"summary.{kind}" for kind in ("md", "html", "json")),
        "rehearsal.json", "published.json", "public/path.jsonl",
        *(f"{name}/{file}" for name in PATHS for file in evidence),
    }  # fmt: skip


def test_whoever_summarizes_the_exports_gets_the_same_table(
    rehearsal: Path, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published table says something else than its own exports."""
    monkeypatch.setattr(predictions, "published", lambda *_: [])  # that of this checkout is not beside the soak
    place = publish(rehearsal, to)
    said = [f"--path={name}={path}" for name, path in PATHS.items()]
    files = [f"--from={place / 'exports' / name}.json" for name in PATHS]
    limits = [f"--least-hours={LEAST.hours:g}", f"--least-touches={LEAST.touches}"]
    for format_, name in (("markdown", "summary.md"), ("html", "summary.html"), ("json", "summary.json")):
        result = CliRunner().invoke(cli.app, ["summarize", *files, *said, *limits, "--format", format_])
        assert result.exit_code == 0, result.output
        again, kept = result.stdout.splitlines(), (place / name).read_text().splitlines()
        differing = [(new, old) for new, old in zip(again, kept, strict=True) if new != old]
        assert all("made" in new and "made" in old for new, old in differing), differing
    summary = Summary.model_validate_json((place / "summary.json").read_bytes())
    assert summary.least == LEAST
    assert [[cell.text for cell in row.cells] for row in summary.rows] == [
        ["PASS", "FAIL (2 of 7, never)"],
        ["PASS", "PASS"],
    ]


def test_no_count_is_another_afterwards(rehearsal: Path, to: Path) -> None:
    """Clearing a soak of names changes what it found."""
    place = publish(rehearsal, to)
    for name in PATHS:
        (before,), (after,) = (saved.load(each / "exports" / f"{name}.json") for each in (rehearsal, place))
        assert after.totals == before.totals
        assert [f.nonce for f in after.failures] == [f.nonce for f in before.failures]
    (private,) = saved.load(place / "exports/private.json")
    assert len(private.failures) == 2
    assert private.failures[0].reason == "not observed, says …/soak.py"
    assert private.failures[0].node == "<host>"


def test_nothing_names_the_machine(rehearsal: Path, to: Path) -> None:
    """A user's name, host or folders are published; or what the packets carried."""
    (rehearsal / "public/measured.json").write_text(json.dumps({"words": "as root on buildhost-7", "tries": [1.5]}))
    place = publish(rehearsal, to)
    for name, content in contents(place).items():
        for secret in (b"alice", b"buildhost", RELEASE.encode(), SECRET):
            assert secret not in content, name
    found = contents(place)
    assert json.loads(found["rehearsal.json"])["environment"] == {"kernel": "6.18.44", "cores": 2}
    assert json.loads(found["public/measured.json"]) == {"words": "as root on <host>", "tries": [1.5]}
    assert [json.loads(line) for line in found["public/soak.log.gz"].splitlines()] == [
        {"event": "soak", "node": "<host>"},
        {"event": "cannot read …/ca.pem"},
    ]


def test_touches_are_those_of_the_audit_log(rehearsal: Path, to: Path) -> None:
    """Somebody holds the totals against the API server, and finds another number or no time."""
    touches = json.loads((publish(rehearsal, to) / "private/touches.json").read_text())
    assert (touches["answered"], touches["others"]) == (7, {})
    assert [each["nonce"] for each in touches["updates"]] == list(NONCES)
    assert touches["updates"][0]["at"] == "2026-11-21T15:00:00.000001Z"


def test_publishing_twice_gives_the_same_octets(rehearsal: Path, to: Path, tmp_path: Path) -> None:
    """Whoever publishes the same soak again, to check it, finds a difference that means nothing."""
    first, second = publish(rehearsal, to), publish(rehearsal, tmp_path / "other")
    octets = [{f.relative_to(p): f.read_bytes() for f in p.rglob("*") if f.is_file()} for p in (first, second)]
    assert first.name == second.name
    assert octets[0] == octets[1]
    times = {content[4:8] for name, content in octets[0].items() if name.suffix == ".gz"}
    assert times == {bytes(4)}  # where gzip keeps the time at which it packed
    other = publish(a_rehearsal(tmp_path / "two", missed=3), to)
    assert other.name != first.name


def test_what_is_published_is_never_overwritten(rehearsal: Path, to: Path) -> None:
    """A link shows another table than on the day it was set."""
    place = publish(rehearsal, to)
    (place / "summary.md").write_text("as it was")
    with pytest.raises(UsageError, match="published already"):
        publish(rehearsal, to, least=LEAST.model_copy(update={"touches": 1}))
    assert (place / "summary.md").read_text() == "as it was"
    assert [path.name for path in (to / "soaks").iterdir()] == [place.name]


def fewer_in_the_audit_log(folder: Path) -> None:
    log = folder / "private/control-plane/audit-1.log"
    log.write_text("".join(map(an_update, NONCES[:-1])))


def a_refusal_in_the_audit_log(folder: Path) -> None:
    with (folder / "private/control-plane/audit-1.log").open("a") as log:
        log.write(an_update(NONCES[0], 403))


def another_export(folder: Path) -> None:
    file = folder / "exports/private.json"
    (export,) = saved.load(file)
    (totals,) = export.totals
    better = totals.model_copy(update={"watchers": (counted(observed=7), totals.watchers[1])})
    file.write_text(saved.text_of([export.model_copy(update={"totals": (better,), "failures": ()})]))


UNFIT: dict[str, tuple[Callable[[Path], object], str]] = {
    "scaled": (lambda folder: change(folder / "rehearsal.json", scale=12.0), "ran at scale 12, not in true time"),
    "problem": (lambda folder: ended(folder, "public", problems=["the soak ended by itself"]), "ended by itself"),
    "status": (lambda folder: ended(folder, "public", status=1), "public: the soak ended with status 1"),
    "said": (lambda folder: ended(folder, "public", disagreements=["too many"]), "public: too many"),
    "unaudited": (lambda folder: ended(folder, "public", audit=None), "no audit log stands behind its counts"),
    "audited otherwise": (fewer_in_the_audit_log, "7 answered touches, the audit log 6"),
    "another log": (a_refusal_in_the_audit_log, "private: its audit log is not the one that it was held against"),
    "another export": (another_export, "private: its export is not what configmaps.json holds"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_what_cannot_be_trusted_is_refused(unfit: str, rehearsal: Path, to: Path) -> None:
    """A soak that failed, or whose counts nobody can check, becomes the README's table."""
    break_it, words = UNFIT[unfit]
    break_it(rehearsal)
    with pytest.raises(UsageError, match=words):
        publish(rehearsal, to)
    assert not to.exists()
    place = publish(rehearsal, to, anyway=True)
    doubts = json.loads((place / "published.json").read_text())["doubts"]
    assert bool(doubts) is (unfit != "scaled")


def test_a_soak_that_judged_nothing_is_refused(tmp_path: Path, to: Path) -> None:
    """An empty table is published as a result."""
    rehearsal = a_rehearsal(tmp_path / "empty", missed=0, watchers=(), updates={Update.OK: 7})
    with pytest.raises(UsageError, match="nothing was judged"):
        publish(rehearsal, to)


@pytest.mark.parametrize("anyway", [False, True])
def test_a_rehearsal_without_an_end_is_refused(anyway: bool, rehearsal: Path, to: Path) -> None:
    """One that is still running is published, with what happens to be there."""
    (rehearsal / "rehearsal.json").unlink()
    with pytest.raises(UsageError, match="did not end in order"):
        publish(rehearsal, to, anyway=anyway)


def remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def leads_elsewhere(folder: Path) -> None:
    (folder / "public/soak.log").unlink()
    (folder / "public/soak.log").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    "damage",
    [
        remove("exports/public.json"),
        remove("private/configmaps.json"),
        remove("private/soak.log"),
        remove("private/server-link.pcap"),
        leads_elsewhere,
        lambda folder: (folder / "public/client-link.pcap").write_bytes(b"no capture"),
        lambda folder: (folder / "private/configmaps.json").write_text("[]"),
        lambda folder: (folder / "rehearsal.json").write_text("{}"),
        lambda folder: change(folder / "rehearsal.json", clusters={}, paths={}),
        lambda folder: change(folder / "rehearsal.json", clusters={"../x": {"status": 0}}, paths={"../x": "azure-slb"}),
        lambda folder: (folder / "exports/public.json").write_bytes((folder / "exports/private.json").read_bytes()),
    ],
)
def test_a_damaged_folder_leaves_nothing(damage: Any, rehearsal: Path, to: Path) -> None:
    """Half a soak is published, or somebody's file from elsewhere."""
    damage(rehearsal)
    with pytest.raises(FileError):
        publish(rehearsal, to, anyway=True)
    assert not to.exists() or [*(to / "soaks").iterdir()] == []


def test_too_large_is_an_error_that_names_the_largest(rehearsal: Path, to: Path) -> None:
    """The repository grows by a hundred megabytes, for ever."""
    with pytest.raises(UsageError, match=r"more than 0\.01 MB; the largest: summary\.json") as raised:
        publish(rehearsal, to, most_octets=5_000)
    assert raised.value.advice is not None
    assert [*(to / "soaks").iterdir()] == []


def test_large_captures_are_left_out_and_named(rehearsal: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets are missing, and nobody says why."""
    monkeypatch.setattr(soak, "MOST_OF_A_CAPTURE", 10)
    place = publish(rehearsal, to)
    assert not [*place.rglob("*.pcap.gz")]
    left_out = json.loads((place / "published.json").read_text())["left_out_octets"]
    assert left_out.keys() == {f"{name}/{link}" for name in PATHS for link in CAPTURES}
    assert min(left_out.values()) > 10
