"""A run's own speed: how soon the lab stood, how long starting took, what all cost beyond the longest cell."""

from __future__ import annotations

import time
from collections.abc import Sequence

from watcher.model import CellPlan
from watcher.records import Began, Closed, Entry, LabReady, Program, Settled


class Figures:
    """Collects from the records as they come. Times are monotonic seconds."""

    def __init__(self, cells: Sequence[CellPlan]) -> None:
        self._real = {str(cell.id) for cell in cells if cell.control is None}
        self._began = time.monotonic()
        self._ready: float | None = None
        self._setup = 0.0
        self._last_start: float | None = None
        self._settled: dict[str, float] = {}
        self._longest = 0.0
        self._closed = 0

    def see(self, record: Entry) -> None:
        match record:
            case LabReady():
                self._ready, self._setup = record.t, record.seconds
            case Began():
                self._settled.pop(record.cell or "", None)
            case Program(event="watching") if record.cell is not None and record.cell not in self._settled:
                self._last_start = record.t
                self._settled[record.cell] = record.t
            case Settled() if record.cell is not None:
                self._settled[record.cell] = record.l0
            case Closed() if record.cell is not None:
                if record.cell in self._settled:
                    self._longest = max(self._longest, record.t - self._settled[record.cell])
                self._closed += record.cell in self._real

    def of_run(self, now: float) -> dict[str, float]:
        """``wall_ratio`` is what the run took, less the starting, in longest cells."""
        wall = now - self._began
        start = 0.0 if self._ready is None or self._last_start is None else self._last_start - self._ready
        return {
            "setup_seconds": round(self._setup, 3),
            "start_seconds": round(start, 3),
            "wall_seconds": round(wall, 3),
            "longest_cell_seconds": round(self._longest, 3),
            "wall_ratio": round((wall - start) / self._longest, 3) if self._longest else 0.0,
            "closed_cells": float(self._closed),
        }
