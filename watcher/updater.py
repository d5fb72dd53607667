"""The updater: touches the trigger, waits for every watcher, writes down who missed it. Lab and soak run this code.

A touch goes over a connection of its own, opened for it and closed after it, so that no touch depends on the health
of an older one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from watcher.api import JSON, MERGE_PATCH, UNANSWERED, Answer, ApiServer, Credentials, request
from watcher.errors import UsageError
from watcher.failure_object import object_of
from watcher.model import Touch
from watcher.records import Entry, FailureWritten, Touched
from watcher.totals import Failure

__all__ = ["ApiServer", "Publish", "Published", "Trigger", "Updater", "Watcher", "schedule_of"]

DEADLINE_SECONDS = 10.0
_MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Trigger:
    """The ConfigMap that is touched."""

    namespace: str
    name: str = "trigger"


@dataclass(frozen=True)
class Published:
    """What became of a nonce on its way to the server. Times are CLOCK_MONOTONIC; ``answered`` is None without one."""

    sent: float
    answered: float | None = None
    status: int | None = None
    """As HTTP has them: below 300 the server has taken it."""
    resource_version: str | None = None
    error: str | None = None


Publish = Callable[[str], Awaitable[Published]]
"""Gives a nonce to a server. Never raises for the network."""


@dataclass(frozen=True)
class Watcher:
    """One who must observe a trigger's touches: a cell in the lab, a stack and profile in the soak."""

    cell: str
    stack: str
    profile: str


def schedule_of(expression: str) -> IntervalTrigger | CronTrigger:
    """``600`` (seconds) or a cron expression of five fields. Raises UsageError for anything else."""
    try:
        seconds = float(expression)
    except ValueError:
        try:
            return CronTrigger.from_crontab(expression, timezone=UTC)
        except ValueError as error:
            raise UsageError(
                f"not a schedule: {expression!r}: {error}",
                advice="give seconds (600) or a cron expression ('*/10 * * * *')",
            ) from error
    if not 0 < seconds < 10 * 365 * 86400:
        raise UsageError(
            f"not an interval: {expression!r}", advice="give a positive number of seconds, for example 600"
        )
    return IntervalTrigger(seconds=seconds, timezone=UTC)


class Updater:
    """Touches triggers through one API server. Not thread-safe: belongs to one event loop."""

    def __init__(
        self,
        api: ApiServer | Credentials,
        emit: Callable[[Entry], object],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        user_agent: str = "watcher",
    ) -> None:
        """``user_agent`` is what the API server's audit log calls the updates."""
        self._api: Credentials = partial(_same, api) if isinstance(api, ApiServer) else api
        self._emit = emit
        self._user_agent = user_agent
        self.deadline_seconds = deadline_seconds
        self._threads = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="updater")
        self._waiting: dict[tuple[str, str], asyncio.Event] = {}
        self._scheduler: AsyncIOScheduler | None = None

    async def create(self, trigger: Trigger) -> None:
        """Makes the trigger and its namespace, where they are missing. Raises ConnectionError when refused."""
        names = [
            ("/api/v1/namespaces", {"metadata": {"name": trigger.namespace}}),
            (
                f"/api/v1/namespaces/{trigger.namespace}/configmaps",
                {"metadata": {"name": trigger.name}, "data": {"nonce": f"initial-{secrets.token_hex(8)}"}},
            ),
        ]
        for path, body in names:
            answer = await self._request("POST", path, body)
            if answer.status not in (201, 409):
                raise ConnectionError(f"POST {path}: {answer.status} {answer.body.get('message', '')}")

    def observed(self, watcher: Watcher, nonce: str) -> None:
        """To be called for whatever a watcher says it has seen; only the current nonce means anything."""
        event = self._waiting.get((watcher.cell, nonce))
        if event is not None:
            event.set()

    async def touch(
        self,
        trigger: Trigger,
        role: Touch,
        watchers: Sequence[Watcher] = (),
        *,
        nonce: str | None = None,
        publish: Publish | None = None,
    ) -> Touched:
        """Gives the trigger a fresh nonce. Watchers may be waited for with ``wait`` from the moment it is sent.

        ``nonce`` is given by who has to know it before it is sent; it must come from ``new_nonce``. ``publish`` gives
        it to another server than the API server.
        """
        nonce = nonce or new_nonce()
        for watcher in watchers:
            self._waiting[watcher.cell, nonce] = asyncio.Event()
        cell = watchers[0].cell if len(watchers) == 1 else None
        published = await (publish(nonce) if publish is not None else self.patch(trigger, nonce))
        touched = Touched(
            t=time.monotonic(),
            cell=cell,
            role=role,
            nonce=nonce,
            sent=published.sent,
            answered=published.answered,
            status=published.status,
            resource_version=published.resource_version,
            error=published.error,
        )
        self._emit(touched)
        return touched

    async def patch(self, trigger: Trigger, nonce: str) -> Published:
        """Writes the nonce into the ConfigMap."""
        path = f"/api/v1/namespaces/{trigger.namespace}/configmaps/{trigger.name}"
        began = time.monotonic()
        try:
            answer = await self._request("PATCH", path, {"data": {"nonce": nonce}}, MERGE_PATCH)
        except UNANSWERED as error:
            return Published(sent=began, error=f"{type(error).__name__}: {error}")
        failed = answer.status != 200
        return Published(
            sent=answer.sent,
            answered=answer.answered,
            status=answer.status,
            resource_version=None if failed else answer.body.get("metadata", {}).get("resourceVersion"),
            error=str(answer.body.get("message", "no reason given")) if failed else None,
        )

    async def wait(self, watcher: Watcher, touched: Touched, seconds: float) -> bool:
        """Whether the watcher observes this touch within ``seconds`` from now."""
        event = self._waiting[watcher.cell, touched.nonce]
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True

    def forget(self, touched: Touched, watchers: Sequence[Watcher]) -> None:
        """Ends the waiting for a touch; later observations of it go unheard here (the journal has them)."""
        for watcher in watchers:
            self._waiting.pop((watcher.cell, touched.nonce), None)

    async def round(self, trigger: Trigger, watchers: Sequence[Watcher], role: Touch = Touch.TOUCH) -> Touched:
        """One touch, then up to the deadline for every watcher; each miss is written as a ``failure-<ts>`` ConfigMap.

        An update that failed is nobody's miss.
        """
        touched = await self.touch(trigger, role, watchers)
        if touched.error is None:
            await self.judge_misses(trigger, watchers, touched)
        self.forget(touched, watchers)
        return touched

    async def judge_misses(
        self, trigger: Trigger, watchers: Sequence[Watcher], touched: Touched, *, since: float | None = None
    ) -> None:
        """Waits for each watcher until the deadline, counted from the sending, or from ``since`` where that is later,
        and writes down who missed it.
        """
        left = max(0.0, max(touched.sent, since or 0.0) + self.deadline_seconds - time.monotonic())
        seen = await asyncio.gather(*(self.wait(watcher, touched, left) for watcher in watchers))
        for watcher, observed in zip(watchers, seen, strict=True):
            if not observed:
                await self.write_failure(trigger, watcher, touched)

    async def write_failure(self, trigger: Trigger, watcher: Watcher, touched: Touched) -> None:
        """Writes ``failure-<ts>``: who missed which touch, and when. That it could not be written is a record too."""
        now = datetime.now(UTC)
        age = time.monotonic() - touched.sent
        body = object_of(
            Failure(
                stack=watcher.stack,
                profile=watcher.profile,
                nonce=touched.nonce,
                resource_version=touched.resource_version or "",
                touched_at=datetime.fromtimestamp(now.timestamp() - age, UTC).isoformat(),
                missed_at=now.isoformat(),
                deadline_seconds=self.deadline_seconds,
                reason=f"not observed within {self.deadline_seconds:g} s",
            )
        )
        name = body["metadata"]["name"]
        path = f"/api/v1/namespaces/{trigger.namespace}/configmaps"
        status, error = None, None
        try:
            answer = await self._request("POST", path, body)
            status = answer.status
            error = None if status == 201 else str(answer.body.get("message"))
        except UNANSWERED as problem:
            error = f"{type(problem).__name__}: {problem}"
        self._emit(FailureWritten(t=time.monotonic(), cell=watcher.cell, name=name, status=status, error=error))

    def start(self, expression: str, job: Callable[[], Awaitable[object]]) -> None:
        """Runs ``job``, a round, by schedule (see ``schedule_of``) until ``close``; one is never overtaken by the next.

        A due time that comes while a round is still waiting is left out.
        """

        async def due() -> None:  # what the scheduler knows to be a coroutine
            await job()

        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._scheduler.add_job(
            due,
            schedule_of(expression),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
        self._scheduler.start()

    def pause(self) -> None:
        """No due time counts any more; a job that runs goes on."""
        if self._scheduler is not None:
            self._scheduler.pause()

    def close(self) -> None:
        """Ends the job that runs, too."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _request(self, method: str, path: str, body: dict[str, Any], content_type: str = JSON) -> Answer:
        # Far longer than the deadline: an update that is slow must be seen to be slow, not be cut off.
        seconds = 6 * self.deadline_seconds + 10
        send = partial(
            _request_as,
            self._api,
            method,
            path,
            body,
            content_type=content_type,
            timeout_seconds=seconds,
            user_agent=self._user_agent,
        )
        return await asyncio.get_running_loop().run_in_executor(self._threads, send)


def new_nonce() -> str:
    """Nobody can guess it: to say it is to have seen it."""
    return secrets.token_hex(16)


def _request_as(credentials: Credentials, *arguments: Any, **keywords: Any) -> Answer:
    """In the thread, for the credentials may have to be read from files."""
    return request(credentials(), *arguments, **keywords)


def _same(api: ApiServer) -> ApiServer:
    return api
