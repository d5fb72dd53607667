"""SIGKILL, to each process of a run in turn: nothing may be left, and the run goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.environments import built

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

RUN = [sys.executable, "-m", "watcher", "run", "--output"]
CHOICE = [
    *("--stacks", "python-urllib3", "--profiles", "default", "--scenarios", "blackhole", "--scale", "12"),
    *("--control-plane", "embedded"),
]
FATAL = {"command": -signal.SIGKILL, "unshare": 3, "stage": 3, "control plane": 3}
"""Role to the command's own exit status when that process is killed."""
ROLES = [*FATAL, "client program"]


@dataclass(frozen=True)
class Aftermath:
    status: int
    errors: str
    left: list[str]
    """Processes of the run that were still there a while later."""
    namespaces: list[str]
    """Network namespaces of the run that something still holds."""
    temporary: list[str]
    finished: set[str]
    """Cells that were closed when the process was killed."""
    resumed: int
    began: dict[str, int]
    closed: dict[str, int]


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(after_name[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def family(pid: int) -> dict[int, str]:
    """All processes under ``pid`` with their start time, which tells a process from a later one of the same number."""
    members, fresh = {}, [pid]
    while fresh:
        each = fresh.pop()
        try:
            members[each] = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()[19]
        except OSError:
            continue
        fresh += children(each)
    return members


def alive(member: tuple[int, str]) -> bool:
    try:
        fields = Path(f"/proc/{member[0]}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[19] == member[1] and fields[0] not in "ZX"


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def victim(role: str, command: int, members: dict[int, str]) -> int:
    if role == "command":
        return command
    marks = {
        "unshare": "unshare ",
        "stage": "watcher.runner.inside",
        "control plane": "watcher.lab.control_plane.embedded",
        "client program": "python-urllib3/watch.py",
    }
    matching = [pid for pid in members if marks[role] in command_line(pid)]
    if role != "unshare":
        matching = [pid for pid in matching if not command_line(pid).startswith("unshare ")]
    return matching[0]


def lines(journal: Path) -> list[dict[str, object]]:
    text = journal.read_text() if journal.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def count(records: list[dict[str, object]], kind: str) -> dict[str, int]:
    counted: dict[str, int] = {}
    for record in records:
        if record["kind"] == kind:
            counted[str(record["cell"])] = counted.get(str(record["cell"]), 0) + 1
    return counted


def network_namespaces(pids: Iterator[int] | list[int]) -> set[str]:
    found = set()
    for pid in pids:
        try:
            found.add(str(Path(f"/proc/{pid}/ns/net").readlink()))
        except OSError:
            continue
    return found


def keep_names(pids: list[int], keeping: contextlib.ExitStack) -> set[str]:
    """The network namespaces of these processes, each held open meanwhile: the kernel gives the name of one that is
    gone to the next that anybody makes, here a run beside this one.
    """
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            keeping.callback(os.close, descriptor)
            found.add(f"net:[{os.fstat(descriptor).st_ino}]")
    return found


def ripe(role: str, records: list[dict[str, object]]) -> bool:
    """A cell is closed, and a program that is to be killed has come as far as its fault: before that nothing could be
    said of it, and a run of three cells cannot be trusted with one of them invalid.
    """
    faulted = any(cell.startswith("python-urllib3/") for cell in count(records, "fault"))
    return bool(count(records, "closed")) and (role != "client program" or faulted)


def kill(role: str, folder: Path) -> Aftermath:
    """Starts a run, kills one of its processes when the first cell is closed, looks around, and resumes."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    run = folder / "run"
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [*RUN, str(run), *CHOICE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 150
    while not ripe(role, lines(run / "journal.jsonl")):
        assert time.monotonic() < until, "no cell was closed in time"
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    members = family(process.pid)
    with contextlib.ExitStack() as keeping:
        ours = keep_names(list(members), keeping) - network_namespaces([os.getpid()])
        assert ours, "this would not see what it looks for"
        finished = set(count(lines(run / "journal.jsonl"), "closed"))
        os.kill(victim(role, process.pid, members), signal.SIGKILL)
        _, errors = process.communicate(timeout=200)
        until = time.monotonic() + 30
        while any(alive(member) for member in members.items()) and time.monotonic() < until:
            time.sleep(0.1)
        left = [command_line(pid) for pid, start in members.items() if alive((pid, start))]
        everybody = [int(place.name) for place in Path("/proc").glob("[0-9]*")]
        held = sorted(network_namespaces(everybody) & ours)
    again = subprocess.run(
        [*RUN, str(run), "--resume"], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    records = lines(run / "journal.jsonl")
    return Aftermath(
        status=process.returncode,
        errors=errors,
        left=left,
        namespaces=held,
        temporary=[str(path) for path in temporary.rglob("*")],
        finished=finished,
        resumed=again.returncode,
        began=count(records, "began"),
        closed=count(records, "closed"),
    )


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Aftermath]]]:
    """All roles at once: each run is on its own in its sandbox."""
    built("python-urllib3")
    with ThreadPoolExecutor(len(ROLES)) as pool:
        yield {role: pool.submit(kill, role, tmp_path_factory.mktemp(role.replace(" ", "-"))) for role in ROLES}


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_left(role: str, aftermath: dict[str, Future[Aftermath]]) -> None:
    """A lab that leaves processes or namespaces behind is not run twice by anybody."""
    seen = aftermath[role].result()
    assert seen.left == []
    assert seen.namespaces == []
    assert seen.temporary == []


@pytest.mark.parametrize("role", FATAL)
def test_the_command_says_that_it_cannot_be_trusted(role: str, aftermath: dict[str, Future[Aftermath]]) -> None:
    """A run that lost its lab must not look like one that found nothing."""
    seen = aftermath[role].result()
    assert seen.status == FATAL[role], seen.errors
    if role != "command":
        assert "--resume" in seen.errors


@pytest.mark.parametrize("role", ROLES)
def test_it_resumes_without_repeating_finished_cells(role: str, aftermath: dict[str, Future[Aftermath]]) -> None:
    """A true-time run takes a quarter of an hour and more; what is done is done."""
    seen = aftermath[role].result()
    assert seen.resumed == 0
    assert seen.finished
    assert all(seen.began[cell] == 1 for cell in seen.finished)
    assert set(seen.closed.values()) == {1}
    assert set(seen.closed) == {
        f"{stack}/{profile}/blackhole#1"
        for stack, profile in (("perfect", "control"), ("deaf", "control"), ("python-urllib3", "default"))
    }


def test_a_killed_program_does_not_stop_the_run(aftermath: dict[str, Future[Aftermath]]) -> None:
    """Programs crash; that is a finding of the run, not its end."""
    assert aftermath["client program"].result().status == 0
