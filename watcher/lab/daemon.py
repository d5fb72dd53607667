"""A released server in the cluster's namespace: awaited by its own words, and gone when it is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from watcher.errors import LabFailure
from watcher.lab.control_plane.component import Component
from watcher.lab.namespace import Namespace

READY_SECONDS = 30.0
"""Where the machine is busy; below 0.1 s where it is not."""
_PAUSE_SECONDS = 0.02


@asynccontextmanager
async def serving(
    name: str, arguments: Sequence[str], ready: str, *, namespace: Namespace, log: Path, folder: Path
) -> AsyncIterator[Component]:
    """Ready when entered, that is: its log says ``ready``. A connection that works would not tell whose server it is.

    Raises LabFailure with its last words when it ends before, or does not get there. Its later end is nobody's
    exception: who needs it asks ``need``.
    """
    said_before = len(_said(log))
    component = await Component.start(name, arguments, namespace=namespace, log=log, folder=folder)
    try:
        await _ready(component, ready, said_before)
        yield component
    finally:
        await component.stop()


def need(component: Component) -> None:
    """Raises LabFailure where it has ended."""
    if not component.running:
        raise LabFailure(f"{component.name} has ended", advice=f"its log: {component.log}")


async def _ready(component: Component, ready: str, said_before: int) -> None:
    ended = asyncio.create_task(component.ended())
    try:
        async with asyncio.timeout(READY_SECONDS):
            while ready.encode() not in _said(component.log)[said_before:]:
                if ended.done():
                    ended.result()
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError as error:
        raise LabFailure(
            f"{component.name} was not ready after {READY_SECONDS:g} s", advice=f"its log: {component.log}"
        ) from error
    finally:
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)


def _said(log: Path) -> bytes:
    """A few lines: a resumed run goes on in the same log."""
    return log.read_bytes() if log.exists() else b""
