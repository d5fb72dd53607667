"""The path forgets a flow that has been idle for its timeout, by its own clock; nobody has to do anything."""

from __future__ import annotations

from watcher.lab.path import LabPath
from watcher.records import FlowKey

NEEDS = frozenset({"path", "idle-timeout"})


def apply(_path: LabPath) -> tuple[FlowKey, ...] | None:
    return None


def heal(_path: LabPath) -> None:
    return None
