"""What the command outside hands to the stage inside the sandbox: one JSON document, its first line of input."""

from __future__ import annotations

from watcher.lab.control_plane.binaries import Binaries
from watcher.model import CellPlan, Value


class Launch(Value):
    """How a stack's program is started; environment and folder are filled in already."""

    arguments: tuple[str, ...]


class Order(Value):
    """One stage's work."""

    run: str
    folder: str
    """The run's folder, absolute."""
    scale: float
    deadline_seconds: float
    """The deadline that this run applies."""
    jobs: int | None = None
    control_plane: Binaries | None = None
    """The real one; None is the embedded one."""
    launches: dict[str, Launch]
    """By stack."""
    cells: tuple[CellPlan, ...]


def folder_of(cell: CellPlan) -> str:
    """Where a cell's evidence lies, relative to the run's folder."""
    place = f"cells/{cell.id.stack}/{cell.id.profile}/{cell.id.scenario}"
    return place if cell.id.repeat == 1 else f"{place}/repeat-{cell.id.repeat}"
