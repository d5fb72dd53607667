"""Misses on their way into the cluster: against the embedded control plane, and with everything on the way failing."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.soak.api import NAMESPACE, Seam, api_of, data, objects, put, serving
from watcher.api import Answer, ApiServer
from watcher.failure_object import data_of, labels_of, name_of, object_of, touched_at_of
from watcher.lab.control_plane.server import Server
from watcher.soak import failures, pending
from watcher.soak.failures import FailureWriter
from watcher.totals import Failure

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def miss(nonce: str = "nonce-1", **changed: Any) -> Failure:
    known = {
        "instance": "soak",
        "stack": "python-kubernetes",
        "profile": "default",
        "nonce": nonce,
        "touched_at": "2026-11-21T11:59:00.250+00:00",
        "missed_at": "2026-11-21T11:59:10.250+00:00",
        "deadline_seconds": 10,
        "sockets": "tcp 10.0.0.1:40000 10.96.0.1:443",
        "reason": "not observed within 10 s",
    }
    return Failure.model_validate(known | changed)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as running:
        yield running


@pytest.fixture
def seam(monkeypatch: pytest.MonkeyPatch) -> Seam:
    seam = Seam()
    monkeypatch.setattr(failures, "request", seam)
    return seam


def spooled(folder: Path, suffix: str = ".json") -> list[str]:
    return [file.name for file in folder.iterdir() if file.name.endswith(suffix)]


class Told:
    def __init__(self) -> None:
        self.lines: list[tuple[str, int | None, str | None]] = []

    def __call__(self, name: str, status: int | None, error: str | None) -> None:
        self.lines.append((name, status, error))


def make(server: Server, spool: Path, **changed: Any) -> FailureWriter:
    options: dict[str, Any] = {
        "keep": 500,
        "keep_days": 30,
        "now": lambda: NOW,
        "on_written": Told(),
        "instance": "soak",
    }
    return FailureWriter(lambda: api_of(server), NAMESPACE, spool, **(options | changed))


async def ran(writer: FailureWriter, until: Callable[[], bool], seconds: float = 60.0) -> None:
    """``run`` until something has come true."""
    task = asyncio.create_task(writer.run())
    try:
        async with asyncio.timeout(seconds):
            while not until():
                assert not task.done(), task.result()
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # A request that is under way goes on in its thread; the server must not be closed under it.
        threads, writer._threads = writer._threads, ThreadPoolExecutor(2)
        await asyncio.to_thread(threads.shutdown)
        await asyncio.sleep(0.05)


async def test_a_miss_is_on_disk_first_and_then_in_the_cluster(server: Server, tmp_path: Path) -> None:
    """An operator finds it in the morning, with all that was known."""
    told = Told()
    writer = make(server, tmp_path, on_written=told)
    writer.miss(miss())
    assert spooled(tmp_path) == [f"{name_of(miss())}.json"]
    assert not data(server, "failure-")
    assert writer.pending == 1
    assert await writer.flush(60)
    assert data(server, "failure-") == {name_of(miss()): data_of(miss())}
    assert objects(server, "failure-")[name_of(miss())]["metadata"]["labels"] == labels_of("soak")
    assert writer.pending == 0
    assert not spooled(tmp_path)
    assert told.lines == [(name_of(miss()), 201, None)]


def test_the_name_is_of_the_miss_alone_and_never_of_two() -> None:
    """A second name for one miss would count it twice; one name for two would lose one."""
    name = name_of(miss())
    assert name.startswith("failure-20261121t115900-")
    assert len(name) <= 63
    assert name == name_of(miss(sockets="other", node="other", observed_at="later"))
    assert touched_at_of(name) == datetime(2026, 11, 21, 11, 59, tzinfo=UTC)
    others = [
        miss("nonce-2"),
        miss(stack="other"),
        miss(profile="retry"),
        miss(instance="soak-2"),
        # What ends one part must not look like what begins the next.
        miss(stack="python-kubernetesd", profile="efault"),
    ]
    assert len({name, *map(name_of, others), name_of(miss(), 2)}) == len(others) + 2
    assert touched_at_of("failure-20269999t115900-abc") is None
    assert name_of(miss(touched_at="", missed_at="")).startswith("failure-undated-")


async def test_a_lost_answer_makes_no_second_object(server: Server, tmp_path: Path, seam: Seam) -> None:
    """The network ate the answer: the object is there, and the same miss is written again."""
    lost = [OSError("reset by peer")]
    seam.after = lambda method, _path: lost.pop() if method == "POST" and lost else None
    writer = make(server, tmp_path)
    writer.miss(miss())
    await ran(writer, lambda: writer.pending == 0)
    assert [method for method, path in seam.asked if path.endswith("configmaps")] == ["POST", "POST"]
    assert len(data(server, "failure-")) == 1


async def test_the_same_miss_after_a_restart_is_written_once(server: Server, tmp_path: Path) -> None:
    """SIGKILL at any moment: the journal is replayed, and what was written must not be written beside itself."""
    first = make(server, tmp_path)
    first.miss(miss())
    first.miss(miss())
    assert first.pending == 1
    assert await first.flush(60)
    first.seen_late("nonce-1", "python-kubernetes/default", "2026-11-21T11:59:20+00:00", 19.75)
    assert await first.flush(60)
    again = make(server, tmp_path)
    again.miss(miss(sockets=""))
    assert await again.flush(60)
    ((_, written),) = data(server, "failure-").items()
    assert written["sockets"] == miss().sockets
    assert written["delaySeconds"] == "19.75"


async def test_what_was_spooled_is_resumed(server: Server, tmp_path: Path) -> None:
    """A supervisor that dies between disk and cluster."""
    make(server, tmp_path).miss(miss())
    (tmp_path / "failure-half.begun").write_text("{")
    after = make(server, tmp_path)
    assert after.pending == 1
    assert not (tmp_path / "failure-half.begun").exists()
    await ran(after, lambda: after.pending == 0)
    assert len(data(server, "failure-")) == 1


async def test_a_spooled_file_that_is_no_miss_is_set_aside_and_said(server: Server, tmp_path: Path) -> None:
    """A damaged disk must not stop the others from being written, nor go unsaid."""
    told = Told()
    make(server, tmp_path).miss(miss())
    (tmp_path / "failure-broken.json").write_text("{")
    writer = make(server, tmp_path, on_written=told)
    assert not told.lines  # nobody can listen before the writer is made
    assert await writer.flush(60)
    assert writer.dropped == 1
    assert "cannot be read" in next(error or "" for name, _, error in told.lines if name == "failure-broken")
    assert (tmp_path / "failure-broken.unreadable").exists()
    assert len(data(server, "failure-")) == 1


@pytest.mark.parametrize("trouble", [403, 500, 507, 429, 401, 404, 422, OSError("unreachable")])
async def test_it_is_tried_again_until_it_is_there(
    server: Server, tmp_path: Path, seam: Seam, monkeypatch: pytest.MonkeyPatch, trouble: int | Exception
) -> None:
    """403, a quota, a full etcd and an API server away are no end: the miss is there when they are over."""
    monkeypatch.setattr(failures, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(failures, "LONGEST_PAUSE_SECONDS", 0.02)
    told = Told()
    seam.reply = lambda method, _path: trouble if method == "POST" else None
    writer = make(server, tmp_path, on_written=told)
    writer.miss(miss())
    writer.miss(miss("nonce-2"))
    await ran(writer, lambda: len(told.lines) > 4)
    assert writer.pending == 2
    assert len(spooled(tmp_path)) == 2
    assert all(error for _, _, error in told.lines)
    seam.reply = lambda _method, _path: None
    await ran(writer, lambda: writer.pending == 0)
    assert len(data(server, "failure-")) == 2


async def test_one_that_is_refused_for_itself_does_not_hold_up_the_others(
    server: Server, tmp_path: Path, seam: Seam
) -> None:
    """Otherwise one odd object would hide every later miss."""
    refused = [422]
    seam.reply = lambda method, _path: refused.pop() if method == "POST" and refused else None
    writer = make(server, tmp_path)
    writer.miss(miss("nonce-1"))
    writer.miss(miss("nonce-2"))
    await ran(writer, lambda: writer.pending == 1)
    assert len(data(server, "failure-")) == 1


async def test_a_full_disk_delays_nothing_and_loses_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC: held in memory, said, written to the cluster all the same; on disk as soon as there is room."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = os.fsync
    monkeypatch.setattr(os, "fsync", full)
    writer = make(server, tmp_path)
    writer.miss(miss())
    writer.miss(miss("nonce-2"))
    assert "No space left" in (writer.disk_problem or "")
    assert writer.pending == 2
    assert not spooled(tmp_path)
    assert not spooled(tmp_path, ".begun")
    assert await writer.flush(60)
    assert len(data(server, "failure-")) == 2
    writer.miss(miss("nonce-3"))
    monkeypatch.setattr(os, "fsync", real)
    assert await writer.flush(60)
    assert writer.disk_problem is None


def test_what_is_held_in_memory_and_on_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster away for weeks must not fill the disk, nor a full disk the memory; what is dropped is counted."""
    waiting = pending.Pending(tmp_path / "a", 3)
    for number in range(5):
        waiting.put(f"{number}", "{}")
    assert list(waiting) == ["2", "3", "4"]
    assert waiting.dropped == 2
    monkeypatch.setattr(pending, "MOST_HELD", 2)
    blocked = tmp_path / "b"
    blocked.write_text("a file where the folder would be")
    held = pending.Pending(blocked, 100)
    for number in range(5):
        held.put(f"{number}", "{}")
    assert list(held) == ["3", "4"]
    assert held.dropped == 3
    assert held.problem
    blocked.unlink()
    held.settle()
    assert held.problem is None
    assert [held.get(key) for key in pending.Pending(blocked, 100)] == ["{}", "{}"]


async def test_a_late_observation_is_added(server: Server, tmp_path: Path) -> None:
    """Late and never are different diseases: the record must tell which."""
    writer = make(server, tmp_path)
    writer.miss(miss("before"))
    writer.seen_late("before", "python-kubernetes/default", "2026-11-21T11:59:12+00:00", 11.75)
    writer.miss(miss("after"))
    assert await writer.flush(60)
    writer.seen_late("after", "python-kubernetes/default", "2026-11-21T12:14:00+00:00", 899.75)
    assert writer.pending == 1
    assert await writer.flush(60)
    late = {each["nonce"]: (each.get("observedAt"), each.get("delaySeconds")) for each in data(server).values()}
    assert late == {
        "before": ("2026-11-21T11:59:12+00:00", "11.75"),
        "after": ("2026-11-21T12:14:00+00:00", "899.75"),
    }


async def test_a_late_observation_during_the_write_is_not_lost(server: Server, tmp_path: Path, seam: Seam) -> None:
    """It comes while the request is under way, that is, with the object as it was before."""
    writer = make(server, tmp_path)

    def late(method: str, _path: str) -> None:
        if method == "POST":
            writer.seen_late("nonce-1", "python-kubernetes/default", "2026-11-21T11:59:12+00:00", 11.75)

    seam.after = late
    writer.miss(miss())
    assert await writer.flush(60)
    ((_, written),) = data(server).items()
    assert written["delaySeconds"] == "11.75"


async def test_a_late_observation_waits_for_its_miss(server: Server, tmp_path: Path, seam: Seam) -> None:
    """While the miss itself is refused there is nothing to add to; that must not pass for gone."""
    seam.reply = lambda method, _path: 422 if method == "POST" else None
    writer = make(server, tmp_path)
    writer.miss(miss())
    writer.seen_late("nonce-1", "python-kubernetes/default", "2026-11-21T11:59:12+00:00", 11.75)
    assert not await writer.flush(0.3)
    assert writer.pending == 2
    seam.reply = lambda _method, _path: None
    assert await writer.flush(60)
    ((_, written),) = data(server).items()
    assert written["delaySeconds"] == "11.75"


@pytest.mark.parametrize("instance", ["soak", None])
async def test_a_late_observation_survives_a_restart(
    server: Server, tmp_path: Path, seam: Seam, instance: str | None
) -> None:
    """Written by one process, seen late by it while the API server is away, told to the cluster by the next."""
    first = make(server, tmp_path)
    first.miss(miss())
    assert await first.flush(60)
    seam.reply = lambda _method, _path: OSError("unreachable")
    first.seen_late("nonce-1", "python-kubernetes/default", "2026-11-21T12:14:00+00:00", 899.75)
    assert not await first.flush(0.2)
    seam.reply = lambda _method, _path: None
    second = make(server, tmp_path, instance=instance)
    assert second.pending == 1
    await ran(second, lambda: second.pending == 0)
    ((_, written),) = data(server).items()
    assert written["delaySeconds"] == "899.75"


async def test_a_late_observation_of_what_is_gone_ends(server: Server, tmp_path: Path) -> None:
    """Removed for its age: nothing to add to, and nothing to try for ever."""
    writer = make(server, tmp_path)
    writer.seen_late("unknown", "python-kubernetes/default", "2026-11-21T12:14:00+00:00", 899.75)
    assert await writer.flush(60)
    assert not data(server)


async def test_old_failures_are_removed_by_number_and_age_and_only_ours(server: Server, tmp_path: Path) -> None:
    """A cluster must not fill with us; and we remove nothing that is not ours."""
    theirs = [
        miss("other instance", instance="soak-2", touched_at="2020-01-01T00:00:00+00:00"),
        miss("no instance", instance="", touched_at="2020-01-01T00:00:00+00:00"),
    ]
    for failure in theirs:
        body = object_of(failure)
        put(server, body["metadata"]["name"], body["data"], body["metadata"]["labels"])
    put(server, "failure-20200101t000000-byhand", {"stack": "x"})
    put(server, "trigger", {"nonce": "n"}, labels_of("soak") | {"watcher/kind": "trigger"})
    untouched = set(data(server))
    writer = make(server, tmp_path, keep=3, keep_days=30)
    too_old = miss("too old", touched_at="2026-10-01T00:00:00+00:00")
    newest = [miss(f"nonce-{n}", touched_at=f"2026-11-2{n}T00:00:00+00:00") for n in (0, 1)]
    older = [miss(f"nonce-{n}", touched_at=f"2026-11-1{n}T00:00:00+00:00") for n in range(3)]
    for failure in (too_old, *older, *newest):
        body = object_of(failure)
        put(server, body["metadata"]["name"], body["data"], body["metadata"]["labels"])
    # It counts a removal when it is answered, which is after the server has done it.
    await ran(writer, lambda: writer.dropped >= 3)
    assert set(data(server)) == untouched | {name_of(each) for each in (older[2], *newest)}
    assert writer.dropped == 3


async def test_age_alone_is_enough(server: Server, tmp_path: Path) -> None:
    """Few but old: they go, too; the day before the limit stays."""
    for touched_at in ("2026-10-22T11:00:00+00:00", "2026-10-22T13:00:00+00:00"):
        body = object_of(miss(touched_at, touched_at=touched_at))
        put(server, body["metadata"]["name"], body["data"], body["metadata"]["labels"])
    writer = make(server, tmp_path)
    await ran(writer, lambda: writer.dropped > 0)
    assert [each["touchedAt"] for each in data(server).values()] == ["2026-10-22T13:00:00+00:00"]


async def test_somebody_elses_object_of_the_same_name_is_left_alone(server: Server, tmp_path: Path) -> None:
    """Not ours to overwrite, and no reason to lose a miss."""
    put(server, name_of(miss()), {"nonce": "another"})
    writer = make(server, tmp_path)
    writer.miss(miss())
    assert await writer.flush(60)
    assert data(server)[name_of(miss())] == {"nonce": "another"}
    assert data(server)[name_of(miss(), 2)] == data_of(miss())


async def test_the_end_does_not_wait_longer_than_asked(server: Server, tmp_path: Path, seam: Seam) -> None:
    """A pod has 30 s from SIGTERM to SIGKILL."""
    seam.reply = lambda _method, _path: OSError("unreachable")
    writer = make(server, tmp_path)
    writer.miss(miss())
    began = asyncio.get_running_loop().time()
    assert not await writer.flush(0.3)
    assert asyncio.get_running_loop().time() - began < 12, "as long as one request may take"
    assert writer.pending == 1


async def test_a_real_api_server_is_asked_for_ours_alone_and_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hundred failures with their sockets would be half of the supervisor's memory, and more of the network's."""
    asked: list[tuple[str, str]] = []
    old = [object_of(miss(str(n), touched_at=f"2020-01-0{n}T00:00:00+00:00")) for n in (1, 2)]
    pages = {"": ([old[0], object_of(miss("theirs", instance="other"))], "a/b="), "a/b=": ([old[1]], "")}

    def answer(_api: ApiServer, method: str, path: str, *_: object, **__: object) -> Answer:
        asked.append((method, path))
        if method == "DELETE":
            return Answer(200, {}, 0.0, 0.0)
        query = parse_qs(urlsplit(path).query)
        assert query["labelSelector"] == ["watcher/kind=failure,watcher/instance=soak"]
        items, following = pages[query.get("continue", [""])[0]]
        return Answer(200, {"metadata": {"continue": following}, "items": items}, 0.0, 0.0)

    monkeypatch.setattr(failures, "request", answer)
    nowhere = ApiServer("127.0.0.1", 1, "", "")
    writer = FailureWriter(
        lambda: nowhere, NAMESPACE, tmp_path, keep=9, keep_days=9, now=lambda: NOW, on_written=Told(), instance="soak"
    )
    await ran(writer, lambda: writer.dropped == 2)
    assert [method for method, _ in asked] == ["GET", "GET", "DELETE", "DELETE"]
    assert {path.rpartition("/")[2] for method, path in asked if method == "DELETE"} == {
        each["metadata"]["name"] for each in old
    }
