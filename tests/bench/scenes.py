"""What the benchmark measures inside the sandbox, or with the allocator watched."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Iterable

from watcher.judge.fold import Judge
from watcher.lab import network, nftables
from watcher.lab.addresses import API_ADDRESS, API_PORT, Server
from watcher.lab.namespace import Namespace
from watcher.model import Ending
from watcher.records import Record

SAMPLE = 20


async def networks(cells: int) -> tuple[float, float]:
    """Seconds for one cell's network: mean of the first ``SAMPLE``, and of the last beyond ``cells`` others."""
    return await asyncio.to_thread(_networks, cells)


def _networks(cells: int) -> tuple[float, float]:
    cluster = network.make_cluster()
    took = []
    for number in range(1, cells + SAMPLE + 1):
        began = time.perf_counter()
        nets = network.CellNetwork.named(number)
        Namespace.create([nets.client.name, nets.path.name])
        network.make_cell(nets, cluster)
        nftables.load(nets.path, nftables.rules(Ending.SILENT, nets.virtual, Server(API_ADDRESS, API_PORT)))
        took.append(time.perf_counter() - began)
    return sum(took[:SAMPLE]) / SAMPLE, sum(took[-SAMPLE:]) / SAMPLE


def judge_peak_mib(records: Iterable[Record]) -> float:
    """What the judge holds at most while it folds, in MiB, without its outcomes."""
    judge = Judge()
    tracemalloc.start()
    for record in records:
        judge.feed(record)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (1 << 20)
