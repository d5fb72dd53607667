"""One cell, from its namespaces to its last piece of evidence. All that is seen is journaled, nothing is judged."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from watcher import faults
from watcher.errors import LabFailure
from watcher.lab.addresses import API_ADDRESS, API_PORT, Server
from watcher.lab.sandbox import SCRATCH
from watcher.model import CellPlan, Control, Touch
from watcher.plan import SETTLE_SECONDS
from watcher.programs import contract, probe
from watcher.programs.probe import ProbeResult
from watcher.programs.process import Command
from watcher.protocols import Tenant
from watcher.records import Began, Closed, Fault, LabError, Probed, ProbedTo, Settled, Touched
from watcher.runner.client import Client
from watcher.runner.group import Group
from watcher.runner.lab import Lab
from watcher.runner.order import folder_of
from watcher.runner.place import Place
from watcher.updater import Trigger, Watcher

START_SECONDS = 90.0
"""How long a program may take to say ``watching``; real time, since no scale shortens an import."""
CONTROL_SECONDS = 30.0
"""How long the control touch may take to be observed, and the link to fall quiet after it."""
LOOK_BEFORE_SECONDS = 0.15
"""How long before the touch the path's kernel is asked what it knows."""
GRACE_SECONDS = 1.0
"""How long a cell that is decided stays open, for the last packets."""


class CellRun:
    """One execution of one cell."""

    def __init__(self, lab: Lab, plan: CellPlan, number: int) -> None:
        self._lab = lab
        self._plan = plan
        self._cell = str(plan.id)
        self._folder = lab.folder / folder_of(plan)
        self._group = lab.group_of(plan)
        self._scratch = SCRATCH / "cells" / str(number)
        self._trigger = Trigger(namespace=f"cell-{number}")
        self._watcher = Watcher(cell=self._cell, stack=plan.id.stack, profile=plan.id.profile)
        self._client = Client(self._cell, lab.emit, lambda nonce: lab.updater.observed(self._watcher, nonce))
        # The perfect control watches outside every path.
        on_path = plan.control is not Control.PERFECT
        self._place = Place(lab, plan, number, self._client, self._folder, self._scratch) if on_path else None
        self._service = lab.services[plan.service]
        self._tenant = Tenant(
            cell=self._cell,
            trigger=self._trigger,
            scratch=self._scratch,
            virtual=Server(API_ADDRESS, API_PORT) if self._place is None else self._place.front,
            client_address="" if self._place is None else self._place.network.client_address,
            own=self._group.own if self._group is not None else None,
        )
        self._variables: Mapping[str, str] = {}
        self._version = ""
        """Of the trigger, after the control touch."""
        self._tasks: list[asyncio.Task[Any]] = []

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
        if self._place is not None:
            await self._place.make()
        # Whatever its protocol: misses are written there.
        await self._lab.updater.create(self._trigger)
        self._variables = await self._service.admit(self._tenant)
        if self._group is not None:
            await asyncio.to_thread(self._group.own.honours, self._trigger.namespace)

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
        if self._place is not None:
            self._tasks.append(asyncio.create_task(self._place.look_at_sockets("watching")))
        due = fault_due - timing.fault_after_seconds + timing.touch_after_seconds
        with self._lab.gate.touch_at(due):
            due = await self._harm(fault_due, due)
        with self._lab.gate.touch_at(due):
            await self._touch_often(settled.l0)
            await _sleep_until(due - LOOK_BEFORE_SECONDS)
            if self._place is not None:
                self._place.check()
                await self._place.path.look("touch")
                await self._place.look_at_sockets("touch")
            await _sleep_until(due)
            await self._the_touch(settled.l0)
            # Where something new connections go through has ended, no client can be blamed for what it missed.
            if self._place is not None:
                self._place.check(rules=False)

    async def _meet(self, group: Group, settled: Settled) -> Settled:
        """One more control touch for all cells that share a backend, at the same time; the deaf one is deaf by now, and
        who asks would not be told."""
        await group.all_observe(self._cell)
        told = self._plan.timing.ask_after_seconds is None and self._plan.control is not Control.DEAF
        if told and self._client.alive:
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
        if self._place is None:
            return Settled(t=time.monotonic(), cell=self._cell, l0=seen_at)
        path, until = self._place.path, seen_at + CONTROL_SECONDS
        quiet_from = seen_at
        while True:
            await _sleep_until(quiet_from + SETTLE_SECONDS)
            path.drain()
            carried = {port: at for port, at in path.last_payload.items() if at >= touched.sent}
            if not carried:
                raise LabFailure("the control touch was observed, but no packet on the path carried it")
            port = max(carried, key=lambda port: carried[port])
            l0 = quiet_from = path.last_packet[port]
            if time.monotonic() - l0 >= SETTLE_SECONDS:
                return Settled(t=time.monotonic(), cell=self._cell, l0=l0, port=port)
            if time.monotonic() > until:
                raise LabFailure("the flow that carried the control touch did not fall quiet")

    async def _harm(self, fault_due: float, touch_due: float) -> float:
        """Applies the fault when it is due, and heals it where it lasts only a while; returns when the touch is due.

        A fault that is in force later than it is due puts the touch off, so that the gap is no shorter than the
        scenario says: how far a keepalive or a read timeout comes in that time decides cells.
        """
        applied = await self._fault(fault_due)
        if applied is None:
            return touch_due
        timing = self._plan.timing
        if timing.fault_seconds is not None:
            healed = await self._wait_and_heal(applied, timing.fault_seconds)
            return healed + timing.gap_seconds
        # An idle path's touch is due by the path's timeout, long after.
        return max(touch_due, applied + timing.gap_seconds)

    async def _fault(self, due: float) -> float | None:
        """Applies it, to be in force when it is due; returns when it was, or None where nothing had to be done."""
        if self._place is None:
            if self._group is not None:
                self._group.leave(self._cell)
            return None
        await _sleep_until(due - faults.takes_seconds(self._plan.fault))
        flows = await asyncio.to_thread(faults.load(self._plan.fault).apply, self._place.scene)
        if flows is None:
            return None
        record = Fault(t=time.monotonic(), cell=self._cell, name=self._plan.fault, action="apply", flows=flows)
        self._lab.emit(record)
        return record.t

    async def _wait_and_heal(self, applied: float, seconds: float) -> float:
        """Looks and probes in the midst of the fault; returns when it was undone."""
        assert self._place is not None
        await _sleep_until(applied + seconds / 2)
        self._tasks.append(asyncio.create_task(self._probe("virtual", most_seconds=seconds / 3)))
        await self._client.look("fault")
        await self._place.path.look("fault")
        await _sleep_until(applied + seconds)
        await self._client.look("healed")
        await asyncio.to_thread(faults.load(self._plan.fault).heal, self._place.scene)
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
        if self._place is not None:
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
        assert self._place is not None
        client, server = self._place.network.client, self._place.path.server
        result = await asyncio.to_thread(client.enter, lambda: self._probed(to, server, seconds))
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

    def _probed(self, to: ProbedTo, server: Server, seconds: float) -> ProbeResult:
        if to == "server":
            return probe.connect(server.address, server.port, seconds)
        assert self._place is not None
        tenant = replace(self._tenant, virtual=self._place.front_now)
        return self._service.probe(tenant, to, seconds, since=self._version)

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
        namespace = self._place.network.client.path if self._place is not None else None
        names = self._place.names if self._place is not None else None
        command = Command(
            arguments=arguments,
            environment=environment,
            folder=self._folder,
            namespace=namespace,
            hosts=names.file if names is not None else None,
        )
        await self._client.start(command)

    async def _clean_up(self) -> None:
        """Last evidence, then everything of this cell away; in this order whatever happened before."""
        for task in self._tasks:
            task.cancel()
        if self._client.alive:
            await self._client.note_memory()
            if self._place is not None:
                await self._place.look_at_sockets("close")
        await self._client.stop()
        if self._place is not None:
            await self._place.remove()

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
