"""What a run says of its own speed."""

from __future__ import annotations

import time

from watcher.records import Began, Closed, LabReady, Program, Settled
from watcher.runner.figures import Figures


def test_waves_are_added_up() -> None:
    """Two repeats, one after the other, are no long start: the ratio would come out far too good."""
    began = time.monotonic()
    figures = Figures([])
    figures.see(LabReady(t=0, seconds=0.4, control_plane="embedded"))
    for wave in (10.0, 100.0):
        for cell, watching in (("a/b/c#1", 1.0), ("d/e/f#1", 3.0)):
            name = f"{cell}{wave:g}"
            figures.see(Began(t=wave, cell=name))
            figures.see(Program(t=wave + watching, cell=name, event="watching"))
            figures.see(Settled(t=wave + watching, cell=name, l0=wave + watching))
        for cell, watching, closed in (("d/e/f#1", 3.0, 13.0), ("a/b/c#1", 1.0, 31.0)):
            name = f"{cell}{wave:g}"
            figures.see(Program(t=wave + watching + 5, cell=name, event="watching"))
            figures.see(Closed(t=wave + closed, cell=name))
    said = figures.of_run(began + 70.0)
    assert said["setup_seconds"] == 0.4
    assert said["start_seconds"] == 6.0
    assert said["longest_cell_seconds"] == 60.0
    assert 1.0 < said["wall_ratio"] < 1.2
