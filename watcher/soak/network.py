"""What a round asks of the network and of ``/proc``: blocking work in threads of its own, errors as answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from watcher.api import UNANSWERED, Answer, ApiServer, Credentials, request
from watcher.errors import WatcherError
from watcher.model import Touch
from watcher.records import Entry, QuietMeasured, Touched
from watcher.soak.access import Access
from watcher.soak.child import Child
from watcher.totals import Keepalive, Tried
from watcher.updater import Trigger, Updater

CREATE_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 30.0
_THREADS = 4

T = TypeVar("T")


class Idle(Protocol):
    """``watcher.idle.connection.IdleConnection``."""

    def open(self) -> None: ...
    @property
    def idle_seconds(self) -> float: ...
    def try_(self, seconds: float) -> tuple[Tried, float]: ...
    def close(self) -> None: ...


class Quiet(Protocol):
    """``watcher.idle.quiet.QuietWatch``."""

    def look(self, pid: int) -> None: ...
    def pause(self) -> None: ...
    def measured(self) -> Keepalive: ...


class Network:
    """``Asking`` for real."""

    def __init__(
        self,
        access: Access,
        updater: Updater,
        trigger: Trigger,
        *,
        emit: Callable[[Entry], Any],
        say: Callable[..., None],
        problem: Callable[[str | None], None],
        version: Callable[[str, str], None],
        idle: Callable[[ApiServer], Idle],
        quiet: Mapping[str, Quiet],
        children: Sequence[Child],
        user_agent: str,
    ) -> None:
        self._access = access
        self._updater = updater
        self._trigger = trigger
        self._emit = emit
        self._say = say
        self._problem = problem
        self._version = version
        self._make_idle = idle
        self._idle: Idle | None = None
        self._idle_problem = ""
        self._quiet = quiet
        self._children = children
        self._user_agent = user_agent
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="network")

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self._trigger.namespace}/configmaps"

    async def prepare(self) -> None:
        """Returns when the trigger is there, however long the API server is away; then opens the idle connection."""
        pause = 1.0
        while (problem := await self._create()) is not None:
            self._problem(problem)
            self._say("the trigger cannot be made yet", problem=problem)
            await asyncio.sleep(pause)
            pause = min(LONGEST_RETRY_SECONDS, 2 * pause)
        self._problem(None)
        await self._in_thread(self._open_idle)

    async def touch(self, nonce: str) -> Touched:
        touched = await self._updater.touch(self._trigger, Touch.TOUCH, nonce=nonce)
        self._problem(None if touched.error is None else f"the update failed: {touched.error[:200]}")
        if touched.status == 401:
            self._access.refused()
        elif touched.status == 404:
            self._say("the trigger is gone and is made anew")
            await self._create()
        return touched

    async def look(self, seconds: float) -> tuple[str | None, str | None]:
        answer = await self._ask("GET", f"{self._path}/{self._trigger.name}", None, seconds)
        if isinstance(answer, str):
            return None, answer
        if answer.status != 200:
            return None, answer.problem
        data = answer.body.get("data")
        return (str(data.get("nonce", "")) if isinstance(data, dict) else ""), None

    async def probe(self, seconds: float) -> tuple[bool, float, str | None]:
        began = time.monotonic()
        answer = await self._ask("GET", "/version", None, seconds)
        took = time.monotonic() - began
        if isinstance(answer, str):
            return False, took, answer
        if answer.status == 200:
            self._version("kubernetes", str(answer.body.get("gitVersion", "")))
        return True, took, None  # whatever it said, it said it over a connection that works

    async def try_idle(self, seconds: float) -> tuple[str, float, float] | None:
        return await self._in_thread(partial(self._try_idle, seconds))

    async def measure(self, *, before_touch: bool) -> None:
        pids = {child.watcher.cell: pid for child in self._children if (pid := child.pid) is not None}
        measured = await self._in_thread(partial(self._measure, pids, before_touch))
        for name, keepalive in measured.items():
            self._emit(QuietMeasured(t=time.monotonic(), cell=name, keepalive=keepalive))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._idle is not None:
            self._idle.close()

    def _measure(self, pids: Mapping[str, int], before_touch: bool) -> dict[str, Keepalive]:
        found = {}
        for name, pid in pids.items():
            quiet = self._quiet.get(name)
            if quiet is None:
                continue
            quiet.look(pid)
            if before_touch:
                found[name] = quiet.measured()
                quiet.pause()
        return found

    def _try_idle(self, seconds: float) -> tuple[str, float, float] | None:
        found = None
        if self._idle is not None:
            try:
                outcome, took = self._idle.try_(seconds)
                found = str(outcome), self._idle.idle_seconds, took
            except (OSError, WatcherError) as error:
                self._say("the idle connection cannot be tried", problem=str(error)[:200])
            self._idle.close()
            self._idle = None
        self._open_idle()
        return found

    def _open_idle(self) -> None:
        """A new one for each touch, so that it was idle since the touch before and nothing else."""
        try:
            idle = self._make_idle(self._access.credentials())
            idle.open()
        except (OSError, ValueError, WatcherError) as error:
            problem = str(error).splitlines()[0][:200]
            if problem != self._idle_problem:
                self._say("no idle connection", problem=problem)
            self._idle_problem = problem
            return
        self._idle, self._idle_problem = idle, ""

    async def _create(self) -> str | None:
        """Makes the trigger where it is missing; what stands in the way, or None."""
        body = {"metadata": {"name": self._trigger.name}, "data": {"nonce": "initial"}}
        answer = await self._ask("POST", self._path, body, CREATE_SECONDS)
        if isinstance(answer, str):
            return answer
        if answer.status in (201, 409):
            return None
        if answer.status == 403:  # perhaps it may only be read and changed, and is there
            found = await self._ask("GET", f"{self._path}/{self._trigger.name}", None, CREATE_SECONDS)
            if not isinstance(found, str) and found.status == 200:
                return None
        return f"POST {self._path}: {answer.problem}"

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None, seconds: float) -> Answer | str:
        """The answer, or why there was none."""
        ask = partial(_request, self._access.credentials, method, path, body, seconds, self._user_agent)
        try:
            answer = await self._in_thread(ask)
        except UNANSWERED as error:
            return f"{type(error).__name__}: {error}"[:500]
        if answer.status == 401:
            self._access.refused()
        return answer

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _request(
    credentials: Credentials, method: str, path: str, body: dict[str, Any] | None, seconds: float, user_agent: str
) -> Answer:
    return request(credentials(), method, path, body, timeout_seconds=seconds, user_agent=user_agent)
