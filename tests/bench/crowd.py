"""Many clients of one timer server: what a tick of all of them costs it, and its memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp

from watcher.kernel.processes import family
from watcher.lab import network, sandbox, sockets
from watcher.lab.addresses import API_ADDRESS
from watcher.lab.served import Served

FEW, MANY = 50, 500
PORT, PERIOD_SECONDS, PERIODS = 8005, 2.0, 6
"""Long enough that one tick is over before the next."""


async def measured() -> tuple[float, float, float, float]:
    """To be run inside the sandbox. Its CPU in ms for a tick of few and of many clients, with nothing else to do; its
    largest memory in MiB without any client and with many."""
    cluster, folder = network.make_cluster(), Path(mkdtemp())
    arguments = ("timer", "--address", API_ADDRESS, "--port", f"{PORT}={PERIOD_SECONDS:g}")
    before = set(family(os.getpid()))
    async with Served.start("bench", arguments, namespace=cluster, folder=folder, scratch=sandbox.SCRATCH):
        [pid] = set(family(os.getpid())) - before
        alone = sockets.memory_mib(pid) or 0.0
        async with _clients(FEW):
            few = await _tick_ms(pid)
        async with _clients(MANY):
            many = await _tick_ms(pid)
            crowded = sockets.memory_mib(pid) or 0.0
    return few, many, alone, crowded


@asynccontextmanager
async def _clients(number: int) -> AsyncIterator[None]:
    made = [await asyncio.open_connection(API_ADDRESS, PORT) for _ in range(number)]
    greeted = await asyncio.gather(*(reader.readline() for reader, _ in made))
    assert all(greeted), "one was refused"
    yield
    for _, writer in made:
        writer.close()


async def _tick_ms(pid: int) -> float:
    began = sockets.cpu_seconds(pid) or 0.0
    await asyncio.sleep(PERIODS * PERIOD_SECONDS)
    return ((sockets.cpu_seconds(pid) or 0.0) - began) / PERIODS * 1000
