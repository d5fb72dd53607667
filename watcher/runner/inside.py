"""The stage, inside the sandbox: makes the cluster, runs the cells wave by wave, sends every record outside.

``python -m watcher.runner.inside`` reads its order from standard input, one line of JSON, and lives as long as that
pipe; its standard output carries the journal's records. It is the first process of its PID namespace, so that when it
ends, for whatever reason, the kernel ends all that it started.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from watcher import faults, plan, protocols
from watcher.errors import WatcherError
from watcher.lab import network, sandbox, sysctls
from watcher.lab.addresses import cell_number
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane
from watcher.lab.control_plane.launch import EmbeddedControlPlane, Unservable
from watcher.lab.control_plane.running import ControlPlane
from watcher.lab.history import HistoryProxy
from watcher.lab.namespace import Namespace
from watcher.lab.proxies import Proxies
from watcher.model import Balancer, CellPlan
from watcher.records import Began, Closed, Entry, LabError, LabReady, Unserved
from watcher.runner.cell import CellRun
from watcher.runner.gate import Gate
from watcher.runner.group import Group
from watcher.runner.lab import Lab
from watcher.runner.order import Order
from watcher.updater import ApiServer, Updater

MOST_THREADS = 256
"""More than the cells of any wave that a machine has the memory for; made as they are needed."""


class Outlet:
    """Sends records outside from a thread of its own: a slow reader must not delay a touch."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, name="outlet", daemon=True)
        self._thread.start()

    def __call__(self, record: Entry) -> None:
        self._queue.put(record)

    def close(self) -> None:
        """Returns when everything has been sent."""
        self._queue.put(None)
        self._thread.join()

    def _send(self) -> None:
        with os.fdopen(self._fd, "wb", buffering=0) as file:
            while (record := self._queue.get()) is not None:
                line = record.model_dump_json(exclude_none=True).encode() + b"\n"
                while line:
                    line = line[file.write(line) or 0 :]


async def stage(order: Order, emit: Outlet, began: float) -> None:
    """Runs all cells of the order. Raises WatcherError when the lab cannot be made."""
    folder = Path(order.folder)
    # A fault may hold its cell's thread for seconds; the other cells' faults and looks must not wait behind it.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="stage"))
    cells_by_number: dict[int, str] = {}

    def unserved(what: Unservable) -> None:
        number = cell_number(what.peer)
        emit(Unserved(t=time.monotonic(), cell=None if number is None else cells_by_number.get(number), what=what.what))

    cluster = network.make_cluster()
    cluster.write_sysctls(sysctls.endpoint(order.scale))
    starting: AbstractAsyncContextManager[ControlPlane]
    if order.control_plane is None:
        starting = EmbeddedControlPlane.start(cluster, folder, scale=order.scale, unserved=unserved)
    else:
        starting = KubernetesControlPlane.start(cluster, folder, binaries=order.control_plane, scale=order.scale)
    async with starting as control_plane:
        access = control_plane.access
        api = ApiServer(host=access.host, port=access.port, ca_pem=access.ca_pem, token=access.token)
        updater = Updater(api, emit, deadline_seconds=order.deadline_seconds)
        emit(LabReady(t=time.monotonic(), seconds=time.monotonic() - began, control_plane=control_plane.version))
        lab = Lab(
            cluster=cluster,
            api=api,
            control_plane=control_plane,
            updater=updater,
            gate=Gate(os.cpu_count() or 1),
            emit=emit,
            folder=folder,
            launches=order.launches,
            kube_proxy=None if order.control_plane is None else order.control_plane.kube_proxy,
        )
        number = 0
        surroundings = protocols.Stage(
            cluster,
            folder,
            sandbox.SCRATCH,
            order.scale,
            api=api,
            control_plane=control_plane,
            updater=updater,
            emit=emit,
        )
        try:
            async with (
                _services(surroundings, order.cells) as services,
                _stand_ins(control_plane, cluster, folder, order.cells, services) as (proxies, history),
            ):
                for wave in plan.waves(order.cells, memory_mib=_available_mib(), jobs=order.jobs):
                    numbered = dict(enumerate(wave, start=number + 1))
                    number += len(wave)
                    cells_by_number.update({index: str(cell.id) for index, cell in numbered.items()})
                    async with _groups(services, wave, emit) as groups:
                        await _wave(
                            replace(lab, proxies=proxies, history=history, services=services, groups=groups),
                            {index: cell for index, cell in numbered.items() if cell.group in (None, *groups)},
                            control_plane,
                        )
        finally:
            updater.close()


@asynccontextmanager
async def _services(stage: protocols.Stage, cells: Sequence[CellPlan]) -> AsyncIterator[dict[str, protocols.Service]]:
    """Each server that a cell of the order speaks to."""
    async with AsyncExitStack() as running:
        yield {
            cell.service: await running.enter_async_context(
                protocols.load(cell.protocol).start(replace(stage, variant=cell.variant or ""))
            )
            for cell in {cell.service: cell for cell in cells}.values()
        }


@asynccontextmanager
async def _stand_ins(
    control_plane: ControlPlane,
    cluster: Namespace,
    folder: Path,
    cells: Sequence[CellPlan],
    services: Mapping[str, protocols.Service],
) -> AsyncIterator[tuple[Proxies | None, HistoryProxy | None]]:
    """What paths lead to besides API servers, for the whole stage: each where a cell's path or fault needs it."""
    async with AsyncExitStack() as running:
        servers = {name: service.server for name, service in services.items()}
        proxies = await running.enter_async_context(Proxies.start(cluster, folder, cells, servers))
        history = None
        if any(faults.FORGETFUL in faults.load(cell.fault).NEEDS for cell in cells):
            history = await running.enter_async_context(HistoryProxy.start(cluster, folder, control_plane))
        yield proxies, history


@asynccontextmanager
async def _groups(
    services: Mapping[str, protocols.Service], wave: Sequence[CellPlan], emit: Outlet
) -> AsyncIterator[dict[str, Group]]:
    """A server of its own for each group of the wave, all started at once.

    Where one does not get ready, the cells of its group say so, and the others go on.
    """
    members: dict[str, list[CellPlan]] = {}
    for cell in wave:
        if cell.group is not None:
            members.setdefault(cell.group, []).append(cell)
    async with AsyncExitStack() as running:
        starting = [
            running.enter_async_context(
                services[cells[0].service].own_server(
                    number,
                    service=cells[0].balancer is not Balancer.LAB,
                    deaf=faults.DEAF in faults.load(cells[0].fault).NEEDS,
                )
            )
            for number, cells in enumerate(members.values(), 1)
        ]
        owns = await asyncio.gather(*starting, return_exceptions=True)
        groups = {}
        for number, (own, (name, cells)) in enumerate(zip(owns, members.items(), strict=True), 1):
            if isinstance(own, WatcherError):
                _failed(cells, own, emit)
            elif isinstance(own, BaseException):
                raise own
            else:
                groups[name] = Group((str(cell.id) for cell in cells), own, number)
        yield groups


def _failed(cells: Sequence[CellPlan], error: WatcherError, emit: Outlet) -> None:
    for cell in cells:
        name = str(cell.id)
        emit(Began(t=time.monotonic(), cell=name))
        emit(LabError(t=time.monotonic(), cell=name, message=str(error)))
        emit(Closed(t=time.monotonic(), cell=name))


async def _wave(lab: Lab, cells: dict[int, CellPlan], control_plane: ControlPlane) -> None:
    networks = [network.CellNetwork.named(number) for number in cells]
    await asyncio.to_thread(Namespace.create, [space.name for each in networks for space in (each.client, each.path)])
    running = {asyncio.create_task(CellRun(lab, cell, number).run()) for number, cell in cells.items()}
    ended = asyncio.create_task(control_plane.ended())
    try:
        while running:
            done, _ = await asyncio.wait({*running, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended in done:
                ended.result()  # raises: a control plane never ends of its own accord
            for task in done & running:
                running.discard(task)
                task.result()
    finally:
        for task in {*running, ended}:
            task.cancel()
        await asyncio.gather(*running, ended, return_exceptions=True)


def _available_mib() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return 1024.0


def main() -> int:
    began = time.monotonic()
    # The records' pipe is this process's alone: no child may write to it, or keep it open.
    emit = Outlet(os.dup(1))
    os.dup2(2, 1)
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return 3
        line += chunk
    order = Order.model_validate_json(bytes(line))
    sandbox.live_by(0, lambda: None)
    try:
        sandbox.furnish()
        asyncio.run(stage(order, emit, began))
    except WatcherError as error:
        emit(LabError(t=time.monotonic(), message=str(error)))
        return 3
    finally:
        emit.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
