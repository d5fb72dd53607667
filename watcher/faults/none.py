"""Nothing goes wrong: what a healthy, quiet watch looks like."""

from __future__ import annotations

from watcher.lab.path import LabPath
from watcher.records import FlowKey

NEEDS: frozenset[str] = frozenset()


def apply(_path: LabPath) -> tuple[FlowKey, ...] | None:
    return None


def heal(_path: LabPath) -> None:
    return None
