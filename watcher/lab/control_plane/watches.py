"""One watch: a bounded queue between the store and a client's connection, and the stream that empties it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import Literal

from aiohttp import web

from watcher.lab.control_plane.objects import Resource
from watcher.lab.control_plane.options import ListOptions, Selector
from watcher.lab.control_plane.statuses import ApiError, from_the_future
from watcher.lab.control_plane.store import Change, Store, Version

Reason = Literal["timeout", "client", "slow", "shutdown", "error"]
INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}

_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Timers:
    """The server's own timers, in real seconds; the defaults are kube-apiserver's."""

    bookmark_interval_seconds: float = 61
    """kube-apiserver asks itself once a second which bookmarks are a minute old; 61 s is what one sees."""
    bookmark_lead_seconds: float = 2
    """The last bookmark comes this long before a watch's time is up."""
    watch_timeout_seconds: tuple[float, float] = (1800, 3600)
    """A watch without timeoutSeconds ends at a random time in this range."""
    idle_timeout_seconds: float = 90
    """An HTTP connection without a request is closed."""
    freshness_seconds: float = 3
    """A list of a version that does not exist yet waits so long for it."""


class Watch:
    """What a watcher has still to be sent. Over ``limit`` changes it is ended, so that it holds up nobody else."""

    def __init__(self, selector: Selector, *, after: int, limit: int, told: Callable[[Reason], None]) -> None:
        self.pending: deque[Change] = deque()
        self.ended: Reason | None = None
        self._selector = selector
        self._after = after
        self._limit = limit
        self._told = told
        self._wake = asyncio.Event()

    def offer(self, change: Change) -> bool:
        """Called by the store with each change, in order; False when this watch has ended."""
        if self.ended is None and change.revision > self._after and self._selector.matches(change.version):
            if len(self.pending) < self._limit:
                self.pending.append(change)
                self._wake.set()
            else:
                self.pending.clear()
                self.end("slow")
        return self.ended is None

    def end(self, reason: Reason) -> None:
        """The first reason is the one that counts."""
        if self.ended is None:
            self.ended = reason
            self._told(reason)
            self._wake.set()

    async def wait(self, until: float) -> None:
        """Returns when there is something to send, when the watch has ended, or at ``until`` (loop time)."""
        try:
            async with asyncio.timeout_at(until):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()


def next_bookmark(now: float, ends_at: float, timers: Timers) -> float | None:
    """When the next bookmark is due; None when there is no further one."""
    due = min(now + timers.bookmark_interval_seconds, ends_at - timers.bookmark_lead_seconds)
    return due if due > now else None


def line(change_type: str, encoded: bytes) -> bytes:
    return b'{"type":"' + change_type.encode() + b'","object":' + encoded + b"}\n"


def bookmark(resource: Resource, revision: int, annotations: dict[str, str] | None = None) -> bytes:
    metadata: dict[str, object] = {"resourceVersion": str(revision)}
    if annotations:
        metadata["annotations"] = annotations
    value = {"kind": resource.kind, "apiVersion": "v1", "metadata": metadata}
    return line("BOOKMARK", json.dumps(value, separators=(",", ":")).encode())


def opening(store: Store, resource: Resource, options: ListOptions) -> list[bytes]:
    """What a watch sends before anything new happens. Raises 410 where that is no longer known, 504 for the future."""

    def selected(versions: list[Version]) -> list[bytes]:
        return [line("ADDED", version.encoded) for version in versions if options.selector.matches(version)]

    if options.starts_with_state:
        if options.revision is not None and options.revision > store.revision:
            raise from_the_future(options.revision, store.revision)
        first = selected(list(store.versions(resource)))
        if options.initial_events and options.bookmarks:
            first.append(bookmark(resource, store.revision, INITIAL_EVENTS_END))
        return first
    changes = store.after(resource, options.revision) if options.revision else []
    return [line(change.type, change.version.encoded) for change in changes if options.selector.matches(change.version)]


class Watches:
    """All watches of a server."""

    def __init__(self, store: Store, timers: Timers, *, limit: int) -> None:
        self._store = store
        self._timers = timers
        self._limit = limit
        self._open: set[Watch] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """Ends all watches cleanly: each gets the last chunk of its response."""
        self._closing = True
        self.end_all("shutdown")

    def end_all(self, reason: Reason) -> None:
        """Those that are open now, cleanly, as at the end of their time."""
        for watch in tuple(self._open):
            watch.end(reason)

    async def serve(
        self, request: web.Request, resource: Resource, options: ListOptions, *, ended: Callable[[Reason], None]
    ) -> web.StreamResponse:
        """Streams until the time is up, the client goes, it is too slow, or the server ends; ``ended`` is told which.

        What is wrong with a watch that is otherwise well-formed comes as an ERROR event in a response of 200, as
        kube-apiserver does it: a version too old is such a case.
        """
        watch = Watch(options.selector, after=options.revision or 0, limit=self._limit, told=ended)
        if options.initial_events and options.revision is not None and options.revision > self._store.revision:
            await asyncio.sleep(self._timers.freshness_seconds)  # as a list does
        try:
            first = opening(self._store, resource, options)
            self._store.subscribe(resource, watch)
        except ApiError as error:
            first = [line("ERROR", json.dumps(error.body, separators=(",", ":")).encode())]
            watch.end("error")
        self._open.add(watch)
        if self._closing:
            watch.end("shutdown")
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            for event in first:
                await response.write(event)
            await self._follow(response, resource, options, watch)
        except ConnectionError:
            watch.end("client")
        except asyncio.CancelledError:
            watch.end("client")
            raise
        finally:
            self._open.discard(watch)
            self._store.unsubscribe(resource, watch)
        return response

    async def _follow(
        self, response: web.StreamResponse, resource: Resource, options: ListOptions, watch: Watch
    ) -> None:
        time = asyncio.get_running_loop().time
        ends_at = time() + (options.timeout_seconds or _random.uniform(*self._timers.watch_timeout_seconds))
        bookmark_at = next_bookmark(time(), ends_at, self._timers) if options.bookmarks else None
        while watch.ended is None:
            now = time()
            if now >= ends_at:
                watch.end("timeout")
            elif watch.pending:
                change = watch.pending.popleft()
                await response.write(line(change.type, change.version.encoded))
            elif bookmark_at is not None and now >= bookmark_at:
                # Nothing is pending, so the client has seen all up to here. On a cluster at work others' changes and
                # lists keep kube-apiserver's cache moving, and so its bookmarks coming; here they come anyway.
                if self._store.revision >= (options.revision or 0):
                    await response.write(bookmark(resource, self._store.revision))
                bookmark_at = next_bookmark(now, ends_at, self._timers)
            else:
                await watch.wait(ends_at if bookmark_at is None else min(ends_at, bookmark_at))
