"""One cell, from its namespaces to its last piece of evidence. All that is seen is journaled, nothing is judged."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watcher import faults
from watcher.errors import LabFailure
from watcher.lab import network, path, sockets
from watcher.lab.addresses import API_ADDRESS, API_PORT, VIRTUAL_ADDRESS, VIRTUAL_PORT
from watcher.lab.control_plane import kube_proxy
from watcher.lab.control_plane.kube_proxy import KubeProxy
from watcher.lab.control_plane.running import ControlPlane
from watcher.lab.namespace import Namespace
from watcher.lab.path import Emit, LabPath
from watcher.lab.sandbox import SCRATCH
from watcher.model import Balancer, CellPlan, Control, Touch
from watcher.plan import SETTLE_SECONDS
from watcher.programs import contract
from watcher.programs.probe import probe
from watcher.programs.process import Command, Process
from watcher.records import Began, Closed, Fault, LabError, Moment, Probed, Program, Settled, Sockets, Touched
from watcher.runner.gate import Gate
from watcher.runner.order import Launch, folder_of
from watcher.updater import ApiServer, Trigger, Updater, Watcher

START_SECONDS = 90.0
"""How long a program may take to say ``watching``; real time, since no scale shortens an import."""
CONTROL_SECONDS = 30.0
"""How long the control touch may take to be observed, and the link to fall quiet after it."""
MOST_FAULT_DELAY = 0.1
"""Of the gap: a fault that took longer to apply puts the touch off, so that the gap is what the scenario says."""
LOOK_BEFORE_SECONDS = 0.15
"""How long before the touch the path's kernel is asked what it knows."""
MOST_COMPLAINTS = 1_000
"""Of one program's ``ended`` and ``error`` lines in the journal: some libraries try again without a pause, hundreds of
times a second. The program's own output is kept beside it."""
GRACE_SECONDS = 1.0
"""How long a cell that is decided stays open, for the last packets."""


@dataclass(frozen=True)
class Lab:
    """What all cells of a stage share."""

    cluster: Namespace
    api: ApiServer
    control_plane: ControlPlane
    updater: Updater
    gate: Gate
    emit: Emit
    folder: Path
    launches: dict[str, Launch]
    kube_proxy: Path | None = None
    """The program, where there is one; the planner leaves cells out that need it without."""


class CellRun:
    """One execution of one cell."""

    def __init__(self, lab: Lab, plan: CellPlan, number: int) -> None:
        self._lab = lab
        self._plan = plan
        self._cell = str(plan.id)
        self._folder = lab.folder / folder_of(plan)
        self._network = network.CellNetwork.named(number)
        self._scratch = SCRATCH / "cells" / str(number)
        self._trigger = Trigger(namespace=f"cell-{number}")
        self._watcher = Watcher(cell=self._cell, stack=plan.id.stack, profile=plan.id.profile)
        self._path: LabPath | None = None
        self._kube_proxy: KubeProxy | None = None
        self._process: Process | None = None
        self._watching = asyncio.Event()
        self._exited = asyncio.Event()
        self._memory: float | None = None
        self._cpu_seconds: float | None = None
        self._complaints = 0
        self._reading: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def on_path(self) -> bool:
        """The perfect control watches outside the path."""
        return self._plan.control is not Control.PERFECT

    async def run(self) -> None:
        """Runs the cell to its end and records that it closed. Only cancellation leaves it unfinished."""
        self._emit_now(Began)
        try:
            try:
                await self._prepare()
                await self._play()
            finally:
                await self._clean_up()
        except Exception as error:  # whatever broke here broke in the lab: the cell says so and the run goes on
            self._lab.emit(LabError(t=time.monotonic(), cell=self._cell, message=f"{type(error).__name__}: {error}"))
        self._lab.emit(Closed(t=time.monotonic(), cell=self._cell, folder=folder_of(self._plan)))

    async def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._scratch.mkdir(parents=True, exist_ok=True)
        if self.on_path:
            async with self._lab.gate.preparation():
                await asyncio.to_thread(self._make_path)
            await self._balance()
            self._path = LabPath(self._plan, self._network, self._folder, self._lab.emit)
        await self._lab.updater.create(self._trigger)
        (self._scratch / "ca.pem").write_text(self._lab.api.ca_pem)
        token = await self._lab.control_plane.admit(self._trigger.namespace)
        (self._scratch / "kubeconfig").write_text(json.dumps(self._kubeconfig(token)))

    def _make_path(self) -> None:
        balanced = self._plan.balancer is Balancer.LAB
        network.make_cell(self._network, self._lab.cluster, owns_virtual=balanced)
        path.prepare(self._plan, self._network)

    async def _balance(self) -> None:
        """Starts the path's kube-proxy, where it has one; its rules are there when this returns."""
        if self._plan.balancer is Balancer.LAB:
            return
        if self._lab.kube_proxy is None:
            raise LabFailure("the cell needs kube-proxy, and there is none")
        node = self._network.path.name
        token = await self._lab.control_plane.admit_node(node, self._network.node_address)
        kubeconfig = kube_proxy.access(self._lab.api.ca_pem, token)
        async with self._lab.gate.start():
            self._kube_proxy = await KubeProxy.start(
                self._lab.kube_proxy, self._plan.balancer, self._network, kubeconfig, folder=self._folder
            )
            await self._kube_proxy.ready()

    async def _play(self) -> None:
        async with self._lab.gate.start():
            await self._spawn()
            await self._first(START_SECONDS, self._watching.wait(), self._exited.wait())
        if not self._watching.is_set() or self._exited.is_set():
            return
        settled = await self._control_touch()
        if settled is None:
            return
        self._tasks.append(asyncio.create_task(self._look_at_sockets("watching")))
        timing = self._plan.timing
        due = settled.l0 + timing.touch_after_seconds
        with self._lab.gate.touch_at(due):
            fault_due = settled.l0 + timing.fault_after_seconds
            applied = await self._fault(fault_due)
            if applied is not None and applied - fault_due > MOST_FAULT_DELAY * timing.gap_seconds:
                due = applied + timing.gap_seconds
            await _sleep_until(due - LOOK_BEFORE_SECONDS)
            if self._kube_proxy is not None:
                self._kube_proxy.check()
            if self._path is not None:
                await self._path.look("touch")
            await self._look_at_sockets("touch")
            await _sleep_until(due)
            await self._the_touch()

    async def _control_touch(self) -> Settled | None:
        updater = self._lab.updater
        touched = await updater.touch(self._trigger, Touch.CONTROL, [self._watcher])
        if touched.error is not None:
            raise LabFailure(f"the control touch failed: {touched.error}")
        await self._first(CONTROL_SECONDS, updater.wait(self._watcher, touched, CONTROL_SECONDS), self._exited.wait())
        seen_at = time.monotonic()
        seen = await updater.wait(self._watcher, touched, 0)
        updater.forget(touched, [self._watcher])
        if not seen:
            return None
        if self._process is not None and not self._exited.is_set():
            self._cpu_seconds = await asyncio.to_thread(sockets.cpu_seconds, self._process.pid)
        settled = await self._settle(touched, seen_at)
        self._lab.emit(settled)
        return settled

    async def _settle(self, touched: Touched, seen_at: float) -> Settled:
        """Waits until the flow that carried the control touch is quiet; its last packet is L0."""
        if self._path is None:
            return Settled(t=time.monotonic(), cell=self._cell, l0=seen_at)
        until = seen_at + CONTROL_SECONDS
        quiet_from = seen_at
        while True:
            await _sleep_until(quiet_from + SETTLE_SECONDS)
            self._path.drain()
            carried = {port: at for port, at in self._path.last_payload.items() if at >= touched.sent}
            if not carried:
                raise LabFailure("the control touch was observed, but no packet on the path carried it")
            port = max(carried, key=lambda port: carried[port])
            l0 = quiet_from = self._path.last_packet[port]
            if time.monotonic() - l0 >= SETTLE_SECONDS:
                return Settled(t=time.monotonic(), cell=self._cell, l0=l0, port=port)
            if time.monotonic() > until:
                raise LabFailure("the flow that carried the control touch did not fall quiet")

    async def _fault(self, due: float) -> float | None:
        """Applies the fault when it is due; returns when it was in force, or None where nothing had to be done."""
        if self._path is None:
            return None
        await _sleep_until(due)
        flows = await asyncio.to_thread(faults.load(self._plan.fault).apply, self._path)
        if flows is None:
            return None
        record = Fault(t=time.monotonic(), cell=self._cell, name=self._plan.fault, action="apply", flows=flows)
        self._lab.emit(record)
        return record.t

    async def _the_touch(self) -> None:
        updater = self._lab.updater
        if self._path is not None:
            self._tasks.append(asyncio.create_task(self._probe()))
        touched = await updater.touch(self._trigger, Touch.TOUCH, [self._watcher])
        if touched.error is None:
            misses = asyncio.create_task(updater.judge_misses(self._trigger, [self._watcher], touched))
            self._tasks.append(misses)
            left = max(0.0, touched.sent + self._plan.timing.window_seconds - time.monotonic())
            await self._first(left, updater.wait(self._watcher, touched, left), self._exited.wait())
            await misses
        await asyncio.gather(*self._tasks)
        updater.forget(touched, [self._watcher])
        await _sleep_until(touched.t + GRACE_SECONDS)

    async def _probe(self) -> None:
        result = await asyncio.to_thread(
            self._network.client.enter,
            lambda: probe(VIRTUAL_ADDRESS, VIRTUAL_PORT, self._lab.api.ca_pem, self._plan.timing.deadline_seconds),
        )
        self._lab.emit(
            Probed(
                t=time.monotonic(),
                cell=self._cell,
                port=result.port,
                ok=result.ok,
                seconds=result.seconds,
                error=result.error,
            )
        )

    async def _spawn(self) -> None:
        plan = self._plan
        if plan.control is not None:
            arguments: tuple[str, ...] = (sys.executable, "-m", f"watcher.programs.controls.{plan.control.value}")
        else:
            arguments = self._lab.launches[plan.id.stack].arguments
        environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ},
            "HOME": str(self._scratch),
            "TMPDIR": str(self._scratch),
            **contract.environment(
                plan.effective,
                plan.id.profile,
                str(self._scratch / "kubeconfig"),
                self._trigger.namespace,
                self._trigger.name,
            ),
        }
        namespace = self._network.client.path if self.on_path else None
        command = Command(arguments=arguments, environment=environment, folder=self._folder, namespace=namespace)
        self._process = await Process.spawn(command, limit=contract.MAX_LINE_BYTES)
        self._emit_now(Program, event="spawned")
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: Process) -> None:
        status = await process.read(self._line, self._overlong)
        self._emit_now(
            Program,
            event="exited",
            status=status,
            by_harness=process.stopped_by_harness,
            memory_mib=self._memory,
            cpu_seconds=self._cpu_seconds,
        )
        self._exited.set()

    def _line(self, line: bytes) -> None:
        at = time.monotonic()
        try:
            record = contract.record(line, at, self._cell)
        except contract.Violation as violation:
            self._violation(str(violation))
            return
        if record.event in ("ended", "error"):
            self._complaints += 1
            if self._complaints > MOST_COMPLAINTS:
                return
        self._lab.emit(record)
        if record.event == "watching":
            self._watching.set()
        elif record.event == "observed" and record.nonce is not None:
            self._lab.updater.observed(self._watcher, record.nonce)

    async def _overlong(self) -> None:
        self._violation(f"a line of more than {contract.MAX_LINE_BYTES} bytes")

    def _violation(self, message: str) -> None:
        if self._process is not None and not self._exited.is_set():
            self._emit_now(Program, event="violation", message=message)
            self._process.kill()

    async def _look_at_sockets(self, moment: Moment) -> None:
        if self._process is None or self._exited.is_set() or not self.on_path:
            return
        seen = await asyncio.to_thread(sockets.of_process, self._process.pid)
        self._lab.emit(Sockets(t=time.monotonic(), cell=self._cell, moment=moment, sockets=seen))
        served = await asyncio.to_thread(sockets.of_peer, self._lab.cluster, self._network.client_address)
        self._lab.emit(Sockets(t=time.monotonic(), cell=self._cell, moment=moment, side="server", sockets=served))

    async def _clean_up(self) -> None:
        """Last evidence, then everything of this cell away; in this order whatever happened before."""
        for task in self._tasks:
            task.cancel()
        if self._process is not None:
            if not self._exited.is_set():
                self._memory = await asyncio.to_thread(sockets.memory_mib, self._process.pid)
                if self._path is not None:
                    await self._look_at_sockets("close")
            await self._process.stop()
            if self._reading is not None:
                await self._reading
        if self._kube_proxy is not None:
            await self._kube_proxy.stop()
        if self._path is not None:
            await self._path.look("close")
            # Before the fault is undone: what the kernel still sends for an ended program would get through and be
            # taken for a fault that did not hold.
            self._path.close()
            with suppress(LabFailure):
                await asyncio.to_thread(faults.load(self._plan.fault).heal, self._path)
            await asyncio.to_thread(network.remove_cell, self._network)

    def _kubeconfig(self, token: str) -> dict[str, Any]:
        """As JSON, which every YAML reader reads too."""
        host, port = (VIRTUAL_ADDRESS, VIRTUAL_PORT) if self.on_path else (API_ADDRESS, API_PORT)
        # By file: given as data, libraries write it to temporary files of their own and leave them behind.
        authority = str(self._scratch / "ca.pem")
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [
                {"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": self._trigger.namespace}}
            ],
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {"server": f"https://{host}:{port}", "certificate-authority": authority},
                }
            ],
            "users": [{"name": "lab", "user": {"token": token}}],
        }

    def _emit_now(self, kind: type[Began] | type[Program], **fields: Any) -> None:
        self._lab.emit(kind(t=time.monotonic(), cell=self._cell, **fields))

    @staticmethod
    async def _first(seconds: float, *waits: Any) -> None:
        """Until the first of these is done, or the time is over."""
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _sleep_until(due: float) -> None:
    await asyncio.sleep(max(0.0, due - time.monotonic()))
