"""The probe on the real control plane, as the sandbox's first process: an order comes in, a report goes out."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from watcher.errors import LabFailure, WatcherError
from watcher.lab import sandbox
from watcher.lab.control_plane.binaries import Binaries
from watcher.model import Profile, Stack, Value
from watcher.probe.findings import ProbeReport
from watcher.probe.kubernetes import KubernetesTarget
from watcher.probe.probing import Candidate, probe


class Order(Value):
    """What to probe, and with which control plane."""

    candidates: tuple[tuple[Stack, tuple[str, ...]], ...]
    profiles: dict[str, Profile]
    quiet_seconds: float
    binaries: Binaries


def probe_inside(
    candidates: Sequence[Candidate], profiles: Mapping[str, Profile], quiet_seconds: float, binaries: Binaries
) -> ProbeReport:
    """Makes the sandbox, and waits. Raises LabFailure with what was said inside, and LabUnavailable."""
    order = Order(
        candidates=tuple((each.stack, tuple(each.command)) for each in candidates),
        profiles=dict(profiles),
        quiet_seconds=quiet_seconds,
        binaries=binaries,
    )
    with tempfile.TemporaryDirectory(prefix="watcher-probe-") as folder:
        log = Path(folder) / "lab.log"
        process = sandbox.start([sys.executable, "-m", "watcher.probe.inside"], log)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # Its input stays open: it lives by it.
            process.stdin.write(order.model_dump_json().encode() + b"\n")
            process.stdin.flush()
            with process.stdout:
                said = process.stdout.read()
        finally:
            process.stdin.close()
            process.wait()
        if process.returncode != 0:
            raise LabFailure("the probe failed inside the sandbox", advice=log.read_text(errors="replace")[-2000:])
    return ProbeReport.model_validate_json(said)


async def _stage(order: Order) -> ProbeReport:
    candidates = [Candidate(stack, command) for stack, command in order.candidates]
    with tempfile.TemporaryDirectory(prefix="control-plane-") as folder:
        async with KubernetesTarget.start(Path(folder), order.binaries) as target:
            return await probe(candidates, order.profiles, quiet_seconds=order.quiet_seconds, target=target)


def main() -> int:
    # The report's pipe is this process's alone: no child may write to it.
    report = os.dup(1)
    os.dup2(2, 1)
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return 3
        line += chunk
    sandbox.live_by(0, lambda: None)
    try:
        sandbox.furnish()
        found = asyncio.run(_stage(Order.model_validate_json(bytes(line))))
    except WatcherError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    with os.fdopen(report, "w") as out:
        out.write(found.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
