"""The probe catches programs that break their contract, each in its own way, and passes one that keeps it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from watcher import cli
from watcher.catalog import Catalog
from watcher.model import Stack
from watcher.probe import probing
from watcher.probe.findings import ProbeReport
from watcher.probe.probing import Candidate, probe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at sockets through Linux's /proc")

PROFILES = Catalog.load().profiles

# Keeps the contract in `default`, but for what {…} says.
PROGRAM = """
import os, subprocess, sys, time
from watcher.programs.controls.session import Session, emit, end_on_sigterm, nonce_of

{before}
if os.environ["WATCHER_PROFILE"] {known}:
    sys.exit(127)
{first}
emit("started", library="example", version="1.0", runtime="Python", settings={settings})
session = Session(connect_timeout_seconds=20)
for event in session.watch():
    {each}
    emit("observed", nonce=nonce_of(event["object"]), resourceVersion=event["object"]["metadata"]["resourceVersion"])
    {after}
"""
RIGHT = {
    "before": "end_on_sigterm()",
    "known": '!= "default"',
    "first": "",
    "settings": "{}",
    "each": "pass",
    "after": "pass",
}
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
CHILD = "subprocess.Popen(['sh', '-c', 'trap \"\" TERM; while :; do sleep 60; done'], stdout=subprocess.DEVNULL)"
REFUSES = "end_on_sigterm()\nif os.environ['WATCHER_PROFILE'] != 'default': sys.exit(1)"
# A while after the touch: counted from its start, a busy machine would not have touched it by then.
LEAVES = {
    "first": "import itertools, threading; number = itertools.count(1)",
    "after": "next(number) == 2 and threading.Timer(1.5, os._exit, (1,)).start()",
}
EVERYTHING = "os.environ['WATCHER_NAME'] = 'another'"

MISTAKES = {
    "ignores SIGTERM": ({"before": IGNORES}, "SIGTERM", "python"),
    "ends with a status of its own": ({"before": ""}, "SIGTERM", "signal 15"),
    "leaves a child behind": ({"first": CHILD}, "SIGTERM", "sh, sleep"),
    "never says that it has started": ({"first": "time.sleep(60)"}, "starts, watches", "no started"),
    "writes before it": ({"first": "emit('watching')"}, "starts, watches", "first line is 'watching'"),
    "prints garbage": ({"first": "print('Hello', flush=True)"}, "starts, watches", "not JSON"),
    "prints garbage later": ({"after": "print('Hello', flush=True)"}, "touch is observed", "not JSON"),
    "prints a line without end": ({"first": "print('x' * 1100000, flush=True)"}, "starts, watches", "bytes"),
    "knows every profile": ({"known": "== ''"}, "exit 127", "as if it knew"),
    "knows no profile": ({"known": "!= ''"}, "starts, watches", "status 127"),
    "gives another status": ({"before": REFUSES}, "exit 127", "status 1"),
    "claims what it has not set": ({"settings": "{'keepalive': True}"}, "started says", "is not of this profile"),
    "watches something else": ({"first": EVERYTHING}, "touch is observed", "it is not"),
    "invents what it saw": ({"each": "emit('observed', nonce='1', resourceVersion=1)"}, "starts", "must be a string"),
    "goes after a while": (LEAVES, "quiet", "status 1"),
}


def stack(**fields: object) -> Stack:
    base = {
        "name": "mine",
        "description": "mine",
        "language": "Python",
        "library": "example",
        "version": "1.0",
        "command": ("python",),
        "profiles": ("default",),
        "default_source": "nowhere",
        "memory_mib": 20,
    }
    return Stack.model_validate(base | fields)


def program(folder: Path, changes: dict[str, str]) -> list[str]:
    file = folder / "program.py"
    file.write_text(PROGRAM.format(**RIGHT | changes))
    return [sys.executable, str(file)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a user's machine is given, and still enough for one that starts other things, too."""
    monkeypatch.setattr(probing, "PATIENCE_SECONDS", 25.0)


async def probed(command: list[str], it: Stack, quiet_seconds: float = 0.5) -> ProbeReport:
    chosen = {name: PROFILES[name] for name in ("default", "tcp-keepalive")}
    return await probe([Candidate(it, command)], chosen, quiet_seconds=quiet_seconds)


def wrong(report: ProbeReport) -> list[str]:
    return [
        f"{finding.check}: {finding.said}"
        for one in report.stacks
        for each in one.profiles
        for finding in each.findings
        if not finding.ok
    ]


async def test_a_program_that_keeps_the_contract_passes(tmp_path: Path) -> None:
    """A probe that finds fault with everybody is switched off."""
    report = await probed(program(tmp_path, {}), stack())
    assert wrong(report) == []
    assert report.ok
    (one,) = report.stacks
    assert (one.version, one.runtime) == ("1.0", "Python")
    checks = [finding.check for each in one.profiles for finding in each.findings]
    for said in ("127", "started says", "sockets", "touch", "no other", "quiet", "SIGTERM", "does not answer"):
        assert any(said in check for check in checks), said


@pytest.mark.timeout(300)
async def test_programs_that_break_it_are_caught(tmp_path: Path) -> None:
    """Their authors would be told that all is well, and the matrix would hold rows about something else."""
    candidates = []
    for number, (changes, _, _) in enumerate(MISTAKES.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        candidates.append(Candidate(stack(name=f"mistake-{number}"), program(folder, changes)))
    chosen = {name: PROFILES[name] for name in ("default", "tcp-keepalive")}
    report = await probe(candidates, chosen, quiet_seconds=8.0)
    missed = {}
    for (mistake, (_, check, said)), one in zip(MISTAKES.items(), report.stacks, strict=True):
        found = wrong(ProbeReport.model_validate({**dict(report), "stacks": (one,)}))
        assert one.ok is (found == [])
        if not any(check in each and said in each for each in found):
            missed[mistake] = found
    assert missed == {}


async def test_an_end_that_the_manifest_names_is_reported_not_charged(tmp_path: Path) -> None:
    """A library whose own timer ends a quiet watch is what users have: its program is right, and readers must know."""
    timer = {"name": "idle timeout", "seconds": 1.5, "source": "example.py, IDLE"}
    report = await probed(program(tmp_path, LEAVES), stack(timers=(timer,)), 8.0)
    assert wrong(report) == []
    (note,) = [each for one in report.stacks for p in one.profiles for each in p.findings if each.note]
    assert "idle timeout of 1.5 s (example.py, IDLE)" in note.said
    assert "status 1" in note.said


async def test_a_profile_that_the_manifest_forgot_is_found(tmp_path: Path) -> None:
    """Else the manifest says `unsupported` of what the program does."""
    report = await probed(program(tmp_path, {"known": "not in ('default', 'tcp-keepalive')"}), stack())
    assert any("as if it knew" in each for each in wrong(report))


async def test_a_program_that_cannot_be_started_is_a_finding() -> None:
    """A mistyped command in a manifest ends in a traceback instead of a sentence."""
    report = await probed(["/nowhere/program"], stack())
    assert any("can be started" in each for each in wrong(report))


@pytest.mark.parametrize("right", [True, False])
def test_the_command(right: bool, tmp_path: Path) -> None:
    """Scripts and CI of a library's maintainers go by the exit status and the JSON."""
    command = program(tmp_path, {} if right else {"settings": "{'bookmarks': True}"})
    manifest = stack(command=tuple(command)).model_dump(exclude_unset=True)
    lines = [f"{key} = {json.dumps(value)}" for key, value in manifest.items()]
    (tmp_path / "client.toml").write_text('[build]\nkind = "none"\n[[stack]]\n' + "\n".join(lines) + "\n")
    arguments = ["probe", str(tmp_path), "--quiet", "0.2", "--profiles", "default"]
    result = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert result.exit_code == (0 if right else 1)
    report = json.loads(result.stdout)
    assert report["ok"] is right
    assert report["stacks"][0]["profiles"][1]["profile"] == "default"
    shown = CliRunner().invoke(cli.app, arguments)
    assert shown.exit_code == (0 if right else 1)
    assert ("keeps the contract in default" if right else "bookmarks = True is not of this profile") in shown.stdout


def test_a_folder_that_is_not_there() -> None:
    """A typing error must not be taken for the name of a stack."""
    result = CliRunner().invoke(cli.app, ["probe", "./nowhere"])
    assert result.exit_code == 2
    assert "there is no folder ./nowhere" in result.stderr
