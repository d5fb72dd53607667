"""What the protocols share whose server stands beside the API server: scenarios may have one more of it, to harm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from watcher.errors import LabFailure
from watcher.lab.addresses import Server
from watcher.lab.namespace import Namespace
from watcher.lab.own_served import OwnServed, P
from watcher.lab.scene import OwnServer
from watcher.protocols import Stage
from watcher.updater import Published

Own = Callable[..., AbstractAsyncContextManager[OwnServer]]
"""Starts one: its number, and by name whether there is a ``service`` for it and whether it should be ``deaf``."""

Serve = Callable[[Namespace, Server, str], AbstractAsyncContextManager[P]]
"""Starts a server: where it lives, where it listens, and what its name ends with."""


def own_by(
    stage: Stage, shared: Server, serve: Serve[P], *, serve_deaf: Serve[P] | None = None
) -> Callable[..., AbstractAsyncContextManager[OwnServed[P]]]:
    """The ``Own`` of a protocol whose server ``serve`` starts, from which ``shared`` takes over.

    ``serve_deaf`` starts one that ignores SIGTERM; None where the server cannot be told to.
    """

    def start(number: int, *, service: bool, deaf: bool) -> AbstractAsyncContextManager[OwnServed[P]]:
        deafly = serve_deaf if deaf else None
        return OwnServed.start(
            number,
            stage.cluster,
            deafly or serve,
            shared=shared,
            control_plane=stage.control_plane,
            service=service,
            deaf=deafly is not None,
        )

    return start


async def to_both(own: OwnServer | None, give: Callable[[OwnServed[Any] | None], Awaitable[Published]]) -> Published:
    """To the scenario's own server, too, while it lives: a client may be connected to either. None is the shared one.

    The first of the two may be observed before the second is sent, and only when both have it can it be missed.
    """
    try:
        if not isinstance(own, OwnServed) or not own.serves():
            return await give(None)
        its, shared = await asyncio.gather(give(own), give(None))
        if its.error is not None:
            # That it has ended meanwhile, as it was asked to, is no failure.
            return its if own.serves() else shared
    except LabFailure as error:
        return replace(await give(None), answered=None, status=None, error=str(error))
    if its.answered is None or shared.answered is None:
        return shared
    return replace(shared, sent=min(its.sent, shared.sent), answered=max(its.answered, shared.answered))


__all__ = ["Own", "Serve", "own_by", "to_both"]
