"""Misses on their way into the cluster: spooled first, then written as ``failure-<ts>`` however long that takes.

Nothing is written twice and nothing is lost with a lost answer: an object's name is computed from the miss, so that
writing it again finds it there. 403, a full quota or a full etcd are no end, only a longer pause.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import Field, ValidationError

from watcher.api import JSON, MERGE_PATCH, UNANSWERED, Answer, Credentials, request
from watcher.errors import WatcherError
from watcher.failure_object import (
    INSTANCE_LABEL,
    KIND,
    KIND_LABEL,
    label_value,
    late_of,
    name_of,
    object_of,
    same,
    touched_at_of,
)
from watcher.model import Value
from watcher.soak.pending import Pending
from watcher.totals import Failure

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
REQUEST_SECONDS = 15.0
LEAST_BETWEEN_TRIMS_SECONDS = 60.0
MOST_BETWEEN_TRIMS_SECONDS = 3600.0
"""Age is a reason, too, when nothing is written."""
MOST_REMEMBERED = 2048
"""Names of misses that may still be seen late; for those forgotten the cluster is asked."""
MOST_AMENDMENTS = 1024
PAGE = 100
_ATTEMPTS = 3
_HOPELESS_FOR_ALL = (401, 403, 404, 408, 429)
"""What one request is answered with, the next one is as well; any 5xx, too."""
_LIST = "the list of failures"


class _Amendment(Value):
    """A late observation of a miss that may be in the cluster already."""

    nonce: str = Field(max_length=200)
    watcher: str = Field(max_length=500)
    observed_at: str = Field(max_length=40)
    delay_seconds: float = Field(ge=0, le=10**10)


class _Stop(Exception):
    """The way out of a pass the rest of which would fail as well."""


class FailureWriter:
    """For one event loop; only ``run`` and ``flush`` use the network, each request in a thread."""

    def __init__(
        self,
        credentials: Credentials,
        namespace: str,
        spool: Path,
        *,
        keep: int,
        keep_days: float,
        now: Callable[[], datetime],
        on_written: Callable[[str, int | None, str | None], None],
        instance: str | None = None,
    ) -> None:
        """``now`` has a time zone. ``on_written`` hears of every try: name, status, and the problem or None.

        ``instance`` is whose old failures are removed; where it is not given, that of the first miss. No more misses
        wait than would be kept: when there are more than ``keep``, the oldest are dropped, and counted.
        """
        self._credentials = credentials
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps"
        self._keep = keep
        self._keep_days = keep_days
        self._now = now
        self._on_written = on_written
        self._instance = instance
        self._misses = Pending(spool, keep)
        self._late = Pending(spool / "late", MOST_AMENDMENTS)
        self._names: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._removed = 0
        self._wake = asyncio.Event()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="failures")
        self._trim_due = True
        self._trimmed_at = -MOST_BETWEEN_TRIMS_SECONDS

    @property
    def pending(self) -> int:
        """What the cluster does not know yet: misses, and late observations of misses."""
        return len(self._misses) + len(self._late)

    @property
    def dropped(self) -> int:
        """Misses whose record this process has removed or could not keep; grows only."""
        return self._removed + self._misses.dropped

    @property
    def disk_problem(self) -> str | None:
        return self._misses.problem or self._late.problem

    def miss(self, failure: Failure) -> None:
        """Returns when it is on disk, or in memory where the disk is full. The same miss again changes nothing."""
        name = name_of(failure)
        self._instance = self._instance or failure.instance
        self._remember(failure, name)
        self._misses.put(name, failure.model_dump_json(exclude_defaults=True))
        self._wake.set()

    def seen_late(self, nonce: str, watcher: str, observed_at: str, delay_seconds: float) -> None:
        """The miss of ``watcher`` (``stack/profile``) was observed after all. The first word stands."""
        late = _Amendment(
            nonce=nonce, watcher=watcher, observed_at=observed_at, delay_seconds=min(max(delay_seconds, 0.0), 1e10)
        )
        self._late.put(_key(nonce, watcher), late.model_dump_json())
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Begins with what an earlier process has left."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._wake.clear()
            if await self._pass(REQUEST_SECONDS) and self.disk_problem is None:
                pause = FIRST_PAUSE_SECONDS
                await self._sleep(LEAST_BETWEEN_TRIMS_SECONDS if self._trim_due else MOST_BETWEEN_TRIMS_SECONDS)
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def flush(self, seconds: float) -> bool:
        """Tries until nothing is pending, for ``seconds`` at most; the rest is in the spool then."""
        until = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                while self.pending:
                    left = max(0.1, min(until - time.monotonic(), REQUEST_SECONDS))
                    if not await self._pass(left, trim=False):
                        await asyncio.sleep(0.5)
        except TimeoutError:
            pass
        return not self.pending

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _pass(self, seconds: float, *, trim: bool = True) -> bool:
        """Each pending thing once, oldest first. Whether all of them are done."""
        self._misses.settle()
        self._late.settle()
        done = True
        try:
            for name in self._misses:
                done &= await self._write(name, seconds)
            for key in self._late:
                done &= await self._amend(key, seconds)
            if trim and self._may_trim():
                await self._trim(seconds)
        except _Stop:
            return False
        return done

    async def _write(self, name: str, seconds: float) -> bool:
        failure = self._read(name)
        if failure is None:
            return True
        key = _key(failure.nonce, f"{failure.stack}/{failure.profile}")
        late = self._read_late(key)
        if late is not None:
            failure = failure.model_copy(update={"observed_at": late.observed_at, "delay_seconds": late.delay_seconds})
        for attempt in range(1, _ATTEMPTS + 1):
            body = object_of(failure, attempt)
            at = body["metadata"]["name"]
            answer = await self._ask(at, "POST", self._path, body, seconds=seconds)
            if answer.status in (200, 201):
                self._written(failure, name, at, answer.status)
                if late is not None:
                    self._late.remove(key)
                return True
            if answer.status == 409:
                answer = await self._ask(at, "GET", f"{self._path}/{at}", seconds=seconds)
                if answer.status == 200 and not same(failure, answer.body.get("data")):
                    continue  # somebody else's object of this name
                if answer.status == 200:
                    # A late observation stays pending: this object may have been written before it came.
                    self._written(failure, name, at, 409)
                    return True
            self._on_written(at, answer.status, answer.problem)
            return False
        self._on_written(name, 409, "objects of other origin have this name and the next ones")
        return False

    def _written(self, failure: Failure, name: str, at: str, status: int) -> None:
        self._remember(failure, at)
        self._misses.remove(name)
        self._trim_due = True
        self._on_written(at, status, None)

    async def _amend(self, key: str, seconds: float) -> bool:
        late = self._read_late(key)
        if late is None:
            self._late.set_aside(key)
            return True
        known = self._names.get((late.nonce, late.watcher))
        if known in self._misses:
            return False  # not there yet; it will be written with this
        name = known or await self._find(late, seconds)
        if name is not None:
            patch = {"data": late_of(late.observed_at, late.delay_seconds)}
            path = f"{self._path}/{name}"
            answer = await self._ask(name, "PATCH", path, patch, MERGE_PATCH, seconds=seconds, fine=(404,))
            if answer.status not in (200, 404):
                self._on_written(name, answer.status, answer.problem)
                return False
            self._on_written(name, answer.status, None)
        # Else, as with 404: removed meanwhile, for its age or by hand.
        self._late.remove(key)
        return True

    async def _find(self, late: _Amendment, seconds: float) -> str | None:
        """A miss in the cluster that this process does not know, since an earlier one has written it."""
        async for name, data in self._ours(seconds):
            if data.get("nonce") == late.nonce and f"{data.get('stack')}/{data.get('profile')}" == late.watcher:
                return name
        return None

    def _may_trim(self) -> bool:
        since = time.monotonic() - self._trimmed_at
        least = LEAST_BETWEEN_TRIMS_SECONDS if self._trim_due else MOST_BETWEEN_TRIMS_SECONDS
        return bool(self._instance) and since >= least

    async def _trim(self, seconds: float) -> None:
        """Removes our oldest failures: those above the number, those above the age. Nobody else's, ever."""
        newest_first = sorted([name async for name, _ in self._ours(seconds)], reverse=True)
        oldest = self._now() - timedelta(days=self._keep_days)
        for number, name in enumerate(newest_first):
            touched_at = touched_at_of(name)
            if number < self._keep and (touched_at is None or touched_at >= oldest):
                continue
            answer = await self._ask(name, "DELETE", f"{self._path}/{name}", seconds=seconds, fine=(404,))
            self._removed += answer.status in (200, 202)
        self._trim_due, self._trimmed_at = False, time.monotonic()

    async def _ours(self, seconds: float) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Names and data, page by page: all at once they could be larger than everything else in this process."""
        labels = {KIND_LABEL: KIND}
        if self._instance:
            labels[INSTANCE_LABEL] = label_value(self._instance)
        selector = quote(",".join(f"{name}={value}" for name, value in labels.items()))
        query, following = f"limit={PAGE}&labelSelector={selector}", ""
        while True:
            answer = await self._ask(_LIST, "GET", f"{self._path}?{query}{following}", seconds=seconds, fine=(501,))
            if answer.status == 501:  # the lab's embedded control plane has no selectors
                query = f"limit={PAGE}"
                continue
            if answer.status != 200:
                self._on_written(_LIST, answer.status, answer.problem)
                raise _Stop
            for metadata, data in _items(answer.body):
                # Selected once more here: what is deleted afterwards must be ours whatever the server made of that.
                if labels.items() <= (metadata.get("labels") or {}).items():
                    yield str(metadata["name"]), data
            token = (answer.body.get("metadata") or {}).get("continue")
            if not token:
                return
            following = f"&continue={quote(str(token), safe='')}"

    async def _ask(
        self,
        name: str,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        content_type: str = JSON,
        *,
        seconds: float,
        fine: tuple[int, ...] = (),
    ) -> Answer:
        """One request on a fresh connection. Raises ``_Stop`` where the next one would fare no better."""
        send = partial(_send, self._credentials, method, path, body, content_type, seconds)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, send)
        except (*UNANSWERED, WatcherError) as error:
            self._on_written(name, None, f"{type(error).__name__}: {error}")
            raise _Stop from error
        if answer.status not in fine and (answer.status in _HOPELESS_FOR_ALL or answer.status >= 500):
            self._on_written(name, answer.status, answer.problem)
            raise _Stop
        return answer

    def _read(self, name: str) -> Failure | None:
        """What is spooled under this name; one that cannot be read is set aside, and counts as dropped."""
        text = self._misses.get(name)
        try:
            failure = None if text is None else Failure.model_validate_json(text)
        except ValidationError:
            failure = None
        if failure is None or name_of(failure) != name:
            if name in self._misses:
                self._misses.set_aside(name)
                self._removed += 1
                self._on_written(name, None, "its file in the spool cannot be read; it is set aside")
            return None
        self._instance = self._instance or failure.instance
        self._remember(failure, name)
        return failure

    def _read_late(self, key: str) -> _Amendment | None:
        text = self._late.get(key)
        try:
            return None if text is None else _Amendment.model_validate_json(text)
        except ValidationError:
            return None

    def _remember(self, failure: Failure, name: str) -> None:
        key = (failure.nonce, f"{failure.stack}/{failure.profile}")
        self._names[key] = name
        self._names.move_to_end(key)
        while len(self._names) > MOST_REMEMBERED:
            self._names.popitem(last=False)


def _send(
    credentials: Credentials, method: str, path: str, body: dict[str, Any] | None, content_type: str, seconds: float
) -> Answer:
    """In the thread, for the credentials may have to be read from files."""
    return request(credentials(), method, path, body, content_type=content_type, timeout_seconds=seconds)


def _items(body: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Metadata and data of each."""
    items = body.get("items")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(item.get("metadata"), dict) and "name" in item["metadata"]:
            yield item["metadata"], item.get("data") or {}


def _key(nonce: str, watcher: str) -> str:
    """A file's name for a late observation."""
    return hashlib.sha256(f"{nonce} {watcher}".encode()).hexdigest()[:32]
