"""Runs the programs and puts the questions: every profile of every stack at once, as far as memory allows."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from watcher.model import Profile, Settings, Stack
from watcher.probe import checks
from watcher.probe.findings import Finding, ProbeReport, ProfileReport, StackReport
from watcher.probe.target import ANOTHER, TRIGGER, EmbeddedTarget, Target
from watcher.probe.trial import Trial
from watcher.programs import contract

QUIET_SECONDS = 150.0
PATIENCE_SECONDS = 60.0
"""For a start, on a machine that starts many."""
DEADLINE_SECONDS = 10.0
"""From a touch to its observation."""
LEAD_SECONDS = 0.5
"""The touch of the other ConfigMap is this much ahead: whoever sees it has seen it by the time of the trigger's."""
MEMORY_SHARE = 0.7

OnReport = Callable[[str, ProfileReport], None]


@dataclass(frozen=True)
class Candidate:
    """A stack to probe, with its command complete."""

    stack: Stack
    command: Sequence[str]


async def probe(
    candidates: Sequence[Candidate],
    profiles: Mapping[str, Profile],
    *,
    quiet_seconds: float = QUIET_SECONDS,
    target: Target | None = None,
    on_report: OnReport = lambda _stack, _report: None,
) -> ProbeReport:
    """``profiles`` are all that there are; those that a manifest does not name must be refused. Without a target it is
    the embedded control plane.
    """
    if target is None:
        async with EmbeddedTarget.start() as embedded:
            return await probe(candidates, profiles, quiet_seconds=quiet_seconds, target=embedded, on_report=on_report)
    room = _Room(candidates)
    with tempfile.TemporaryDirectory(prefix="watcher-probe-") as folder, target.listen() as silence:
        host, port = silence.getsockname()
        prober = _Prober(target, f"{host}:{port}", Path(folder), room, quiet_seconds)

        async def one(candidate: Candidate, profile: Profile | None) -> tuple[ProfileReport, Sequence[str | None]]:
            report, said = await prober.profile(candidate, profile)
            on_report(candidate.stack.name, report)
            return report, said

        async def stack(candidate: Candidate) -> StackReport:
            results = await asyncio.gather(*(one(candidate, profile) for profile in (None, *profiles.values())))
            said = next((words for _, words in results if words[0] is not None), (None, None))
            return StackReport(
                stack=candidate.stack.name,
                library=candidate.stack.library,
                version=said[0] or candidate.stack.version,
                runtime=said[1],
                profiles=tuple(report for report, _ in results),
            )

        reports = await asyncio.gather(*(stack(candidate) for candidate in candidates))
    return ProbeReport(
        contract_version=contract.CONTRACT_VERSION,
        control_plane=target.control_plane,
        quiet_seconds=quiet_seconds,
        stacks=tuple(reports),
    )


class _Room:
    """As many starts at once as there are cores, as many programs as memory has room for."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._free = max(
            MEMORY_SHARE * _available_mib(), max((candidate.stack.memory_mib for candidate in candidates), default=0)
        )
        self._changed = asyncio.Condition()
        self._starts = asyncio.Semaphore(os.cpu_count() or 1)

    @asynccontextmanager
    async def program(self, memory_mib: int) -> AsyncIterator[asyncio.Semaphore]:
        """Gives what is to be held while the program starts."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= memory_mib)
            self._free -= memory_mib
        try:
            yield self._starts
        finally:
            async with self._changed:
                self._free += memory_mib
                self._changed.notify_all()


class _Prober:
    """One control plane, many programs."""

    def __init__(self, target: Target, silent: str, folder: Path, room: _Room, quiet_seconds: float) -> None:
        self._target = target
        self._silent = silent
        self._folder = folder
        self._room = room
        self._quiet_seconds = quiet_seconds

    async def profile(
        self, candidate: Candidate, profile: Profile | None
    ) -> tuple[ProfileReport, tuple[str | None, str | None]]:
        """None: a random name that no program can know. Returns also the version and runtime that it said."""
        name = profile.name if profile is not None else f"x{secrets.token_hex(4)}"
        folder = self._folder / candidate.stack.name / name
        said: tuple[str | None, str | None] = (None, None)
        async with self._room.program(candidate.stack.memory_mib) as start:
            try:
                if profile is None or profile.name not in candidate.stack.profiles:
                    findings = [await self._refusal(candidate, name, profile, folder, start)]
                else:
                    findings, said = await self._life(candidate, profile, folder / "life", start)
                    if profile.name == "default":
                        findings.append(await self._unanswered(candidate, profile, folder / "unanswered", start))
            except OSError as error:
                findings = [Finding(check="it can be started", ok=False, said=str(error))]
        shown = profile.name if profile is not None else "(a random name)"
        supported = profile is not None and profile.name in candidate.stack.profiles
        return ProfileReport(profile=shown, supported=supported, findings=tuple(findings)), said

    async def _refusal(
        self, candidate: Candidate, name: str, profile: Profile | None, folder: Path, start: asyncio.Semaphore
    ) -> Finding:
        settings = profile.settings if profile is not None else Settings()
        namespace = await self._target.make_namespace()
        async with start, self._run(candidate, name, settings, folder, namespace) as trial:
            await trial.until(lambda: bool(trial.records), PATIENCE_SECONDS)
            if not trial.records and trial.violation is None:
                await trial.ends(PATIENCE_SECONDS)
            else:
                await trial.ends(1.0)
            return checks.unsupported(trial.status, trial.records, trial.violation, trial.how_it_ended())

    async def _life(
        self, candidate: Candidate, profile: Profile, folder: Path, start: asyncio.Semaphore
    ) -> tuple[list[Finding], tuple[str | None, str | None]]:
        """From its start over a quiet time to its end; findings so far where it goes no further."""
        stack, findings = candidate.stack, list[Finding]()
        namespace = await self._target.make_namespace()
        await start.acquire()
        try:
            async with self._run(candidate, profile.name, profile.settings, folder, namespace) as trial:
                try:
                    watching = await trial.until(
                        lambda: bool(trial.events("watching") and trial.nonces()), PATIENCE_SECONDS
                    )
                finally:
                    start.release()
                if trial.records:
                    findings.append(checks.claims(stack, profile, trial.records[0]))
                said = (trial.records[0].version, trial.records[0].runtime) if trial.records else (None, None)
                if not watching:
                    lacks = [event for event in ("started", "watching", "observed") if not trial.events(event)]
                    seen = f"no {' and no '.join(lacks)} within {PATIENCE_SECONDS:g} s" if trial.status is None else ""
                    findings.append(_seen(trial, "it starts, watches and sees the trigger as it is", seen))
                    return findings, said
                if sys.platform == "linux":  # only its kernel tells
                    from watcher.lab import sockets

                    found = await asyncio.to_thread(sockets.of_process, trial.pid)
                    established = tuple(one for one in found if one.state == "ESTABLISHED")
                    findings.append(checks.sockets(stack, profile.name, profile.settings, established))
                findings += await self._touches(trial, namespace)
                if not all(finding.ok for finding in findings[-2:]):
                    return findings, said
                findings.append(await self._quiet(stack, profile.name, trial, namespace))
                if trial.violation is not None:
                    findings.append(_seen(trial, "its lines are those of the contract", ""))
                if trial.status is None:
                    if sys.platform == "linux":
                        from watcher.lab import sockets

                        if mib := await asyncio.to_thread(sockets.memory_mib, trial.pid):
                            findings.append(checks.memory(stack, mib))
                    findings.append(await _end(trial, when="with status 0 within 3 s"))
                return findings, said
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _touches(self, trial: Trial, namespace: str) -> list[Finding]:
        """One of another ConfigMap, which is none of the program's business, then one of the trigger."""
        other = await self._target.touch(namespace, ANOTHER)
        await asyncio.sleep(LEAD_SECONDS)
        nonce = await self._target.touch(namespace)
        began = time.monotonic()
        seen = await trial.until(lambda: nonce in trial.nonces(), DEADLINE_SECONDS)
        took = time.monotonic() - began
        check = f"a touch is observed within {DEADLINE_SECONDS:g} s"
        observed = (
            Finding(check=check, ok=True, said=f"after {took:.2f} s") if seen else _seen(trial, check, "it is not")
        )
        strange = other in trial.nonces()
        said = (
            "it printed one of another's: its watch lacks the field selector" if strange else "none but the trigger's"
        )
        return [observed, Finding(check="no other ConfigMap's event is seen", ok=not strange, said=said)]

    async def _quiet(self, stack: Stack, profile: str, trial: Trial, namespace: str) -> Finding:
        began = time.monotonic()
        ended = await trial.ends(self._quiet_seconds)
        seconds, how = time.monotonic() - began, trial.how_it_ended()
        survived = False
        if not ended:
            nonce = await self._target.touch(namespace)
            survived = await trial.until(lambda: nonce in trial.nonces(), DEADLINE_SECONDS)
            how = f"it did not observe a touch within {DEADLINE_SECONDS:g} s"
        return checks.quiet(stack, profile, self._quiet_seconds, survived, seconds, how)

    async def _unanswered(
        self, candidate: Candidate, profile: Profile, folder: Path, start: asyncio.Semaphore
    ) -> Finding:
        """Connected to somebody who never says a word."""
        when = "while a server does not answer"
        namespace = await self._target.make_namespace()
        async with (
            start,
            self._run(candidate, profile.name, profile.settings, folder, namespace, self._silent) as trial,
        ):
            if not await trial.until(lambda: bool(trial.records), PATIENCE_SECONDS):
                return _seen(trial, f"SIGTERM ends it {when}", "it does not even start")
            await trial.ends(1.0)  # let it connect
            return await _end(trial, when=when)

    @asynccontextmanager
    async def _run(
        self,
        candidate: Candidate,
        profile: str,
        settings: Settings,
        folder: Path,
        namespace: str,
        address: str | None = None,
    ) -> AsyncIterator[Trial]:
        kubeconfig = self._target.kubeconfig(namespace, folder, address)
        variables = {"KUBECONFIG": str(kubeconfig), **contract.environment(settings, profile, namespace, TRIGGER)}
        async with Trial.start(candidate.command, variables, folder, self._target.network) as trial:
            yield trial


def _seen(trial: Trial, check: str, otherwise: str) -> Finding:
    """Why something that was waited for did not come."""
    if trial.violation is not None:
        return Finding(check=check, ok=False, said=f"protocol violation: {trial.violation}")
    return Finding(check=check, ok=False, said=otherwise if trial.status is None else trial.how_it_ended())


async def _end(trial: Trial, *, when: str) -> Finding:
    seconds = await trial.terminate()
    left = await asyncio.to_thread(trial.left_behind)
    return checks.end(seconds, trial.status, left, trial.how_it_ended(), when=when)


def _available_mib() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 4096.0  # no Linux
