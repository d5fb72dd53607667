"""The stage of one cluster, inside its sandbox: makes it, runs the soak, ends it in order, reads what it left.

``python -m watcher.rehearsal.inside`` reads its order from standard input, one line of JSON, and lives as long as that
pipe; another line asks for an early, orderly end. Its standard output carries what it has to say (``order.SAID``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from urllib3.exceptions import HTTPError

from watcher.errors import LabFailure, WatcherError
from watcher.lab import sandbox
from watcher.model import Value
from watcher.rehearsal import audit, reading
from watcher.rehearsal.cluster import Cluster
from watcher.rehearsal.order import Broken, ClusterOrder, Ended, Progress, Ready
from watcher.rehearsal.pod import Pod, Use
from watcher.rehearsal.reading import CONFIG_MAPS
from watcher.totals import Totals

MEASURED = "measured.json"
MEASURING_LOG = "measuring.log"
LOOK_SECONDS = 2.0
LAST_READING_SECONDS = 60.0
"""How long the API server may stay away when the soak has ended."""

Say = Callable[[Value], None]


class Watch:
    """Looks at a running soak now and then: at its totals, to say how far it is, and at what it uses."""

    def __init__(self, cluster: Cluster, pod: Pod, say: Say, began: float) -> None:
        self._cluster = cluster
        self._pod = pod
        self._say = say
        self._began = began
        self._shown: tuple[object, ...] = ()
        self.use = Use(0.0, 0.0)
        self.memory_mib = 0.0

    async def until(self, touches: int | None) -> None:
        """Returns when the totals have that many touches; never without a number."""
        while True:
            self.look()
            totals = await self._totals()
            if totals != self._shown:
                self._shown = totals
                self._say(Progress(seconds=time.monotonic() - self._began, totals=totals))
            if touches is not None and reading.touches(totals) >= touches:
                return
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        self.use = self._pod.use() or self.use
        self.memory_mib = max(self.memory_mib, self._pod.memory_mib() or 0.0)

    async def _totals(self) -> tuple[Totals, ...]:
        try:
            return reading.left(await self._cluster.config_maps()).totals
        except (HTTPError, LabFailure):  # away for a while, as it may be; the soak's own business
            return ()


async def stage(order: ClusterOrder, say: Say, stop: asyncio.Event, began: float) -> None:
    """One cluster from its making to its last reading. Raises WatcherError when the lab breaks."""
    async with Cluster.start(order) as cluster:
        pod = await cluster.run(order.command)
        started = time.monotonic()
        say(Ready(control_plane=cluster.control_plane.version, seconds=started - began))
        measuring = await cluster.run(order.measure, log=MEASURING_LOG, output=MEASURED) if order.measure else None
        watch = Watch(cluster, pod, say, started)
        problems = list(await _until_over(order, cluster, pod, watch, stop))
        watch.look()
        status = await pod.stop()
        if status != 0 and not problems:
            problems.append(f"the soak ended with status {status} when it was asked to end")
        measured = "" if measuring is None else await _measured(measuring, cluster.folder / MEASURED, problems)
        seconds = time.monotonic() - started
        config_maps = await _last_reading(cluster)
        text = json.dumps({"items": config_maps}, indent=1)
        await asyncio.to_thread((cluster.folder / CONFIG_MAPS).write_text, text + "\n")
        left = reading.left(config_maps)
        touches = cluster.touches()
        say(
            Ended(
                status=status,
                seconds=seconds,
                totals=left.totals,
                failures=len(left.failures),
                audit=touches,
                disagreements=audit.disagreements(left.totals, left.failures, touches),
                problems=(*problems, *left.problems),
                measured=measured,
                figures={
                    "supervisor_memory_mib": round(watch.use.memory_mib, 1),
                    "supervisor_cpu_share": round(watch.use.cpu_seconds / seconds, 5),
                    "pod_memory_mib": watch.memory_mib,
                    "packets_not_kept": float(cluster.path.not_kept),
                    **{f"packets on {name}": float(count) for name, count in cluster.path_log.packets.items()},
                },
            )
        )


async def _until_over(
    order: ClusterOrder, cluster: Cluster, pod: Pod, watch: Watch, stop: asyncio.Event
) -> tuple[str, ...]:
    """Waits for the end that was asked for, by time, touches or the user; returns problems where it came otherwise."""
    asked = [asyncio.create_task(stop.wait()), asyncio.create_task(watch.until(order.touches))]
    unasked = {
        asyncio.create_task(pod.ended()): "the soak",
        asyncio.create_task(cluster.control_plane.ended()): "the control plane",
    }
    keeping = asyncio.create_task(cluster.keep_token())
    everything = [*asked, *unasked, keeping]
    try:
        done, _ = await asyncio.wait(everything, timeout=order.seconds, return_when=asyncio.FIRST_COMPLETED)
        problems = []
        for task in done:
            result = task.result()  # the control plane's end raises, and so does a fault of our own
            if task in unasked:
                words = pod.last_words()
                problems.append(f"{unasked[task]} ended by itself (status {result}): {words[-500:]}")
        return tuple(problems)
    finally:
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)


async def _measured(measuring: Pod, file: Path, problems: list[str]) -> str:
    if measuring.running:
        await measuring.kill()
        problems.append("the soak was over before the path was measured")
        return ""
    try:
        return str(json.loads(await asyncio.to_thread(file.read_text))["words"])
    except (OSError, ValueError, LookupError):
        problems.append(f"the path was not measured: {measuring.last_words()[-500:]}")
        return ""


async def _last_reading(cluster: Cluster) -> list[dict[str, object]]:
    until = time.monotonic() + LAST_READING_SECONDS
    while True:
        try:
            return await cluster.config_maps()
        except (HTTPError, LabFailure) as error:
            if time.monotonic() > until:
                raise LabFailure(f"what the soak left cannot be read: {error}") from error
            await asyncio.sleep(0.5)


def main() -> int:
    began = time.monotonic()
    # What is said goes through a pipe of this process's alone: no child may write to it, or keep it open.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def say(what: Value) -> None:
        out.write(what.model_dump_json().encode() + b"\n")

    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return 3
        line += chunk
    order = ClusterOrder.model_validate_json(bytes(line))
    return _run(order, say, began)


def _run(order: ClusterOrder, say: Say, began: float) -> int:
    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def told() -> None:
            with contextlib.suppress(RuntimeError):  # it is over already
                loop.call_soon_threadsafe(stop.set)

        sandbox.live_by(0, lambda: None, told)
        await stage(order, say, stop, began)

    try:
        sandbox.furnish()
        _make_var_run()
        asyncio.run(run())
    except WatcherError as error:
        say(Broken(message=str(error)))
        return 3
    return 0


def _make_var_run() -> None:
    """Where /var/run is no link to /run, it is made one here: what a pod finds below it lies on the sandbox's tmpfs."""
    place = Path("/var/run")
    if place.resolve() != Path("/run"):
        sandbox.cover(place)


if __name__ == "__main__":
    sys.exit(main())
