"""What all cells of a stage share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watcher.lab.control_plane.running import ControlPlane
from watcher.lab.history import HistoryProxy
from watcher.lab.namespace import Namespace
from watcher.lab.path import Emit
from watcher.lab.proxies import Proxies
from watcher.model import CellPlan
from watcher.protocols import Service
from watcher.runner.gate import Gate
from watcher.runner.group import Group
from watcher.runner.order import Launch
from watcher.updater import ApiServer, Updater


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
    """By ``CellPlan.service``."""
    history: HistoryProxy | None = None
    """Where a fault of this stage needs one."""
    groups: dict[str, Group] = field(default_factory=dict)
    """Of the wave that runs."""

    def group_of(self, plan: CellPlan) -> Group | None:
        """Those that the cell shares a backend with."""
        return self.groups[plan.group] if plan.group is not None else None
