"""Which cells run at the same time: as many as memory and the machine allow. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from watcher.lab.addresses import MOST_OWN_SERVERS
from watcher.model import CellPlan

OWN_SERVER_MEMORY_MIB = 300
"""Reserved for an API server of a scenario's own; 257 to 278 were measured."""
OTHER_SERVER_MEMORY_MIB = 60
"""Any other server of a scenario's own; the largest is the one that is polled, in Python."""
MEMORY_SHARE = 0.7
MOST_TOUCHES_PER_SECOND = 100.0
"""Real time, of all busy cells of a wave together: more of them would wait for each other, and be late for that. With
73 on two loaded cores 99 of 100 were answered within 0.25 s."""


def waves(cells: Iterable[CellPlan], *, memory_mib: float, jobs: int | None) -> list[list[CellPlan]]:
    """Cells to run at once: one repeat a wave, within memory, jobs, addresses and busy cells' touches, longest first.

    A scenario's controls go with its first cells: they hold for the repeat they were run in. Cells that share a backend
    are never parted.
    """
    result: list[list[CellPlan]] = []
    by_repeat: dict[int, dict[str, list[CellPlan]]] = {}
    for cell in cells:
        if cell.skip is None:
            by_repeat.setdefault(cell.id.repeat, {}).setdefault(cell.group or str(cell.id), []).append(cell)
    for repeat in sorted(by_repeat):
        wave: list[CellPlan] = []
        used = touches = 0.0
        for together in sorted(by_repeat[repeat].values(), key=lambda cells: -cells[0].timing.length_seconds):
            needed = sum(cell.memory_mib for cell in together) + _server_mib(together[0])
            often = sum(1 / (cell.timing.busy_interval_seconds or math.inf) for cell in together)
            if wave and (
                used + needed > memory_mib * MEMORY_SHARE
                or (often and touches + often > MOST_TOUCHES_PER_SECOND)
                or (jobs is not None and len(wave) + len(together) > jobs)
                or (together[0].group and len({cell.group for cell in wave} - {None}) == MOST_OWN_SERVERS)
            ):
                result.append(wave)
                wave, used, touches = [], 0.0, 0.0
            wave += together
            used += needed
            touches += often
        if wave:
            result.append(wave)
    return result


def _server_mib(cell: CellPlan) -> int:
    if cell.group is None:
        return 0
    return OWN_SERVER_MEMORY_MIB if cell.protocol == "watch" else OTHER_SERVER_MEMORY_MIB
