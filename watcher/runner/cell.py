"""One cell, from its namespaces to its last piece of evidence. All that is seen is journaled, nothing is judged."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from watcher import faults
from watcher.errors import LabFailure
from watcher.lab import network, path, sockets
from watcher.lab.addresses import (
    API_ADDRESS,
    API_KEEPALIVE_PORT,
    API_PORT,
    VIRTUAL_ADDRESS,
    VIRTUAL_PORT,
    Server,
    own_virtual,
)
from watcher.lab.control_plane import kube_proxy
from watcher.lab.control_plane.kube_proxy import KubeProxy
from watcher.lab.control_plane.running import ControlPlane
from watcher.lab.history import HistoryProxy
from watcher.lab.namespace import Namespace
from watcher.lab.path import Emit, LabPath
from watcher.lab.proxies import Proxies
from watcher.lab.sandbox import SCRATCH
from watcher.lab.scene import Scene
from watcher.model import Balancer, CellPlan, Control, Touch
from watcher.plan import SETTLE_SECONDS
from watcher.programs import contract, probe
from watcher.programs.probe import ProbeResult
from watcher.programs.process import Command
from watcher.protocols import Service, Tenant
from watcher.records import (
    Began,
    Closed,
    Fault,
    LabError,
    Moment,
    Probed,
    ProbedTo,
    Settled,
    Socket,
    Sockets,
    Touched,
)
from watcher.runner.client import Client
from watcher.runner.gate import Gate
from watcher.runner.group import Group, Together
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
    proxies: Proxies | None = None
    """Where a path of this stage has one."""
    services: Mapping[str, Service] = field(default_factory=dict)
    """By protocol."""
    history: HistoryProxy | None = None
    """Where a fault of this stage needs one."""
    groups: dict[str, Group] = field(default_factory=dict)
    """Of the wave that runs."""


class CellRun:
    """One execution of one cell."""

    def __init__(self, lab: Lab, plan: CellPlan, number: int) -> None:
        self._lab = lab
        self._plan = plan
        self._cell = str(plan.id)
        self._folder = lab.folder / folder_of(plan)
        self._group = lab.groups[plan.group] if plan.group is not None else None
        virtual, server = _way(lab, plan, self._group)
        self._network = network.CellNetwork.named(number, virtual, server)
        self._scratch = SCRATCH / "cells" / str(number)
        self._trigger = Trigger(namespace=f"cell-{number}")
        self._watcher = Watcher(cell=self._cell, stack=plan.id.stack, profile=plan.id.profile)
        self._client = Client(self._cell, lab.emit, lambda nonce: lab.updater.observed(self._watcher, nonce))
        self._path: LabPath | None = None
        self._scene: Scene | None = None
        self._kube_proxy: KubeProxy | None = None
        self._service = lab.services[plan.protocol]
        self._tenant = Tenant(
            cell=self._cell,
            trigger=self._trigger,
            scratch=self._scratch,
            virtual=Server(virtual, VIRTUAL_PORT) if self.on_path else Server(API_ADDRESS, API_PORT),
        )
        self._variables: Mapping[str, str] = {}
        self._version = ""
        """Of the trigger, after the control touch."""
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def on_path(self) -> bool:
        """The perfect control watches outside the path."""
        return self._plan.control is not Control.PERFECT

    async def run(self) -> None:
        """Runs the cell to its end and records that it closed. Only cancellation leaves it unfinished."""
        self._lab.emit(Began(t=time.monotonic(), cell=self._cell))
        try:
            try:
                await self._prepare()
                await self._play()
            finally:
                if self._group is not None:
                    self._group.leave(self._cell)
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
            self._scene = Scene(
                path=self._path,
                cluster=self._lab.cluster,
                shared=Server(API_ADDRESS, API_KEEPALIVE_PORT),
                pids=self._client.pids,
                own=Together(self._group, self._cell) if self._group is not None else None,
                proxy=self._lab.proxies if self._plan.proxy else None,
                forgetful=self._lab.history.server if self._lab.history is not None else None,
            )
        # Whatever its protocol: misses are written there.
        await self._lab.updater.create(self._trigger)
        self._variables = await self._service.admit(self._tenant)
        if self._group is not None:
            await asyncio.to_thread(self._group.own.honours, self._trigger.namespace)

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
        client, timing = self._client, self._plan.timing
        # Who asks is told by the first answer, who watches when the watch has begun.
        control = await self._touch(Touch.CONTROL) if timing.ask_after_seconds is not None else None
        async with self._lab.gate.start():
            await self._spawn()
            await self._first(START_SECONDS, client.watching.wait(), client.exited.wait())
        if not client.watching.is_set() or client.exited.is_set():
            return
        settled = await self._control_touch(control)
        if settled is None:
            return
        fault_due = settled.l0 + timing.fault_after_seconds
        if self._group is not None:
            settled = await self._meet(self._group, settled)
            fault_due = self._group.l0 + timing.fault_after_seconds
        self._tasks.append(asyncio.create_task(self._look_at_sockets("watching")))
        due = fault_due - timing.fault_after_seconds + timing.touch_after_seconds
        with self._lab.gate.touch_at(due):
            due = await self._harm(fault_due, due)
            await self._touch_often(settled.l0)
            await _sleep_until(due - LOOK_BEFORE_SECONDS)
            if self._kube_proxy is not None:
                self._kube_proxy.check()
            self._check_proxies()
            if self._path is not None:
                await self._path.look("touch")
            await self._look_at_sockets("touch")
            await _sleep_until(due)
            await self._the_touch(settled.l0)
            # Without them nothing new comes through, which no client could be blamed for; kube-proxy's rules stay.
            self._check_proxies()

    def _check_proxies(self) -> None:
        """Raises ControlPlaneFailure where one that this cell's path leads to has ended."""
        if self._plan.proxy and self._lab.proxies is not None:
            self._lab.proxies.check()
        if self._lab.history is not None and faults.FORGETFUL in faults.load(self._plan.fault).NEEDS:
            self._lab.history.check()

    async def _meet(self, group: Group, settled: Settled) -> Settled:
        """One more control touch for all cells that share a backend, at the same time; the deaf one is deaf by now."""
        await group.all_observe(self._cell)
        if self._plan.control is not Control.DEAF and self._client.alive:
            again = await self._control_touch()
            settled = again or settled
        await group.all_settled(self._cell, settled.l0)
        return settled

    async def _control_touch(self, touched: Touched | None = None) -> Settled | None:
        updater = self._lab.updater
        touched = touched or await self._touch(Touch.CONTROL)
        if touched.error is not None:
            raise LabFailure(f"the control touch failed: {touched.error}")
        seen = updater.wait(self._watcher, touched, CONTROL_SECONDS)
        await self._first(CONTROL_SECONDS, seen, self._client.exited.wait())
        seen_at = time.monotonic()
        observed = await updater.wait(self._watcher, touched, 0)
        updater.forget(touched, [self._watcher])
        if not observed:
            return None
        self._version = touched.resource_version or ""
        await self._client.note_cpu()
        settled = await self._settle(touched, seen_at)
        self._lab.emit(settled)
        return settled

    async def _touch(self, role: Touch) -> Touched:
        publish = partial(self._service.publish, self._tenant)
        return await self._lab.updater.touch(self._trigger, role, [self._watcher], publish=publish)

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

    async def _harm(self, fault_due: float, touch_due: float) -> float:
        """Applies the fault when it is due, and heals it where it lasts only a while; returns when the touch is due."""
        applied = await self._fault(fault_due)
        if applied is None:
            return touch_due
        timing = self._plan.timing
        if timing.fault_seconds is not None:
            healed = await self._wait_and_heal(applied, timing.fault_seconds)
            return healed + timing.gap_seconds
        if applied - fault_due > MOST_FAULT_DELAY * timing.gap_seconds:
            return applied + timing.gap_seconds
        return touch_due

    async def _fault(self, due: float) -> float | None:
        """Applies the fault when it is due; returns when it was in force, or None where nothing had to be done."""
        if self._scene is None:
            if self._group is not None:
                self._group.leave(self._cell)
            return None
        await _sleep_until(due)
        flows = await asyncio.to_thread(faults.load(self._plan.fault).apply, self._scene)
        if flows is None:
            return None
        record = Fault(t=time.monotonic(), cell=self._cell, name=self._plan.fault, action="apply", flows=flows)
        self._lab.emit(record)
        return record.t

    async def _wait_and_heal(self, applied: float, seconds: float) -> float:
        """Looks and probes in the midst of the fault; returns when it was undone."""
        assert self._path is not None
        assert self._scene is not None
        await _sleep_until(applied + seconds / 2)
        await self._client.look("fault")
        await self._path.look("fault")
        self._tasks.append(asyncio.create_task(self._probe("virtual", most_seconds=seconds / 3)))
        await _sleep_until(applied + seconds)
        await self._client.look("healed")
        await asyncio.to_thread(faults.load(self._plan.fault).heal, self._scene)
        record = Fault(t=time.monotonic(), cell=self._cell, name=self._plan.fault, action="heal")
        self._lab.emit(record)
        return record.t

    async def _touch_often(self, l0: float) -> None:
        """A busy scenario's touches before the last. One that fails is in the journal, and the judge's affair."""
        timing = self._plan.timing
        if timing.busy_interval_seconds is None:
            return
        due = l0 + timing.busy_interval_seconds
        while due < l0 + timing.touch_after_seconds - timing.busy_interval_seconds / 2 and self._client.alive:
            await _sleep_until(due)
            touched = await self._touch(Touch.BUSY)
            self._tasks.append(asyncio.create_task(self._miss(touched)))
            due += timing.busy_interval_seconds

    async def _miss(self, touched: Touched) -> None:
        updater = self._lab.updater
        if touched.error is None:
            await updater.judge_misses(self._trigger, [self._watcher], touched)
        updater.forget(touched, [self._watcher])

    async def _asked(self, due: float) -> float:
        """When the client asked after the touch, or should have."""
        client = self._client
        await self._first(due + CONTROL_SECONDS - time.monotonic(), client.asked.wait(), client.exited.wait())
        return time.monotonic() if client.asked.is_set() else due

    async def _the_touch(self, l0: float) -> None:
        updater = self._lab.updater
        if self._path is not None:
            probed: list[ProbedTo] = ["virtual"]
            probed += ["server"] if self._group is not None else []
            probed += ["history"] if "history-gone" in (*self._plan.proof.before, *self._plan.proof.after) else []
            self._tasks += [asyncio.create_task(self._probe(to)) for to in probed]
        self._client.asked.clear()
        touched = await self._touch(Touch.TOUCH)
        if touched.error is None:
            timing = self._plan.timing
            since = (
                touched.sent if timing.ask_after_seconds is None else await self._asked(l0 + timing.ask_after_seconds)
            )
            misses = updater.judge_misses(self._trigger, [self._watcher], touched, since=since)
            missed = asyncio.create_task(misses)
            self._tasks.append(missed)
            left = max(0.0, since + timing.window_seconds - time.monotonic())
            await self._first(left, updater.wait(self._watcher, touched, left), self._client.exited.wait())
            await missed
        await asyncio.gather(*self._tasks)
        updater.forget(touched, [self._watcher])
        await _sleep_until(touched.t + GRACE_SECONDS)

    async def _probe(self, to: ProbedTo, *, most_seconds: float | None = None) -> None:
        seconds = self._plan.timing.deadline_seconds
        if most_seconds is not None:
            seconds = min(seconds, most_seconds)
        result = await asyncio.to_thread(self._network.client.enter, lambda: self._probed(to, seconds))
        self._lab.emit(
            Probed(
                t=time.monotonic(),
                cell=self._cell,
                to=to,
                port=result.port,
                ok=result.ok,
                seconds=result.seconds,
                error=result.error,
            )
        )

    def _probed(self, to: ProbedTo, seconds: float) -> ProbeResult:
        assert self._path is not None
        if to == "server":
            return probe.connect(self._path.server.address, self._path.server.port, seconds)
        return self._service.probe(self._tenant, to, seconds, since=self._version)

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
            **self._variables,
            **contract.environment(
                plan.effective,
                plan.id.profile,
                self._trigger.namespace,
                self._trigger.name,
                ask_after_seconds=plan.timing.ask_after_seconds,
            ),
        }
        namespace = self._network.client.path if self.on_path else None
        command = Command(arguments=arguments, environment=environment, folder=self._folder, namespace=namespace)
        await self._client.start(command)

    async def _look_at_sockets(self, moment: Moment) -> None:
        if not self._client.alive or not self.on_path:
            return
        seen = await asyncio.to_thread(self._client.sockets)
        self._lab.emit(Sockets(t=time.monotonic(), cell=self._cell, moment=moment, sockets=seen))
        served = await asyncio.to_thread(self._served)
        self._lab.emit(Sockets(t=time.monotonic(), cell=self._cell, moment=moment, side="server", sockets=served))

    def _served(self) -> tuple[Socket, ...]:
        """The client's connections as the API servers' side has them: of the scenario's own, and of the shared one."""
        own = (self._group.own.namespace,) if self._group is not None else ()
        client = self._network.client_address
        return tuple(socket for space in (*own, self._lab.cluster) for socket in sockets.of_peer(space, client))

    async def _clean_up(self) -> None:
        """Last evidence, then everything of this cell away; in this order whatever happened before."""
        for task in self._tasks:
            task.cancel()
        if self._client.alive:
            await self._client.note_memory()
            if self._path is not None:
                await self._look_at_sockets("close")
        await self._client.stop()
        if self._kube_proxy is not None:
            await self._kube_proxy.stop()
        if self._path is not None:
            await self._path.look("close")
            # Before the fault is undone: what passes then is no evidence.
            self._path.close()
            if self._scene is not None:
                with suppress(LabFailure):
                    await asyncio.to_thread(faults.load(self._plan.fault).heal, self._scene)
            await asyncio.to_thread(network.remove_cell, self._network)

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


def _way(lab: Lab, plan: CellPlan, group: Group | None) -> tuple[str, Server | None]:
    """What the client connects to, and where its path leads; None is the API server of all cells."""
    if group is not None:
        virtual = VIRTUAL_ADDRESS if plan.balancer is Balancer.LAB else own_virtual(group.number)
        return virtual, group.own.server
    if plan.proxy and lab.proxies is not None:
        return VIRTUAL_ADDRESS, lab.proxies.server(plan)
    return VIRTUAL_ADDRESS, lab.services[plan.protocol].server
