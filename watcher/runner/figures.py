"""A run's own speed: how soon the lab stood, how long starting took, what all cost beyond the longest cell."""

from __future__ import annotations

import time
from collections.abc import Sequence

from watcher.model import CellPlan
from watcher.records import Began, Closed, Entry, LabReady, Program, Settled


class Figures:
    """Collects from the records as they come. Times are monotonic seconds.

    Cells run in waves; a wave is over when no cell is open. Each wave starts its programs and has its longest cell, and
    the run's figures are the sums over its waves.
    """

    def __init__(self, cells: Sequence[CellPlan]) -> None:
        self._real = {str(cell.id) for cell in cells if cell.control is None}
        self._began = time.monotonic()
        self._setup = 0.0
        self._open: dict[str, float] = {}
        """Cell to when it stood: began, then watching, then L0."""
        self._started: set[str] = set()
        self._wave_began = 0.0
        self._wave_started = 0.0
        self._wave_longest = 0.0
        self._start = 0.0
        self._longest = 0.0
        self._closed = 0

    def see(self, record: Entry) -> None:
        match record:
            case LabReady():
                self._setup = record.seconds
            case Began() if record.cell is not None:
                if not self._open:
                    self._wave_began = self._wave_started = record.t
                self._open[record.cell] = record.t
            case Program(event="watching") if record.cell in self._open and record.cell not in self._started:
                self._started.add(record.cell)
                self._wave_started = record.t
                self._open[record.cell] = record.t
            case Settled() if record.cell in self._open:
                self._open[record.cell] = record.l0
            case Closed() if record.cell in self._open:
                self._close(record.cell, record.t)

    def _close(self, cell: str, at: float) -> None:
        self._closed += cell in self._real
        self._wave_longest = max(self._wave_longest, at - self._open.pop(cell))
        if not self._open:
            self._start += self._wave_started - self._wave_began
            self._longest += self._wave_longest
            self._wave_longest = 0.0

    def of_run(self, now: float) -> dict[str, float]:
        """``wall_ratio`` is what the run took, less the starting, in longest cells."""
        wall = now - self._began
        return {
            "setup_seconds": round(self._setup, 3),
            "start_seconds": round(self._start, 3),
            "wall_seconds": round(wall, 3),
            "longest_cell_seconds": round(self._longest, 3),
            "wall_ratio": round((wall - self._start) / self._longest, 3) if self._longest else 0.0,
            "closed_cells": float(self._closed),
        }
