"""The totals of one instance, in the ConfigMap ``totals-<instance>``: read, add, replace what was read.

A ConfigMap that cannot be read is never overwritten. Where somebody has damaged it, all it holds is first copied to
``totals-<instance>-unreadable-<hash>`` (its hash, so that there is one copy however often that is tried), and counting
begins anew: counting on is worth more than waiting for a person, and whoever repairs the copy has both. Where a newer
version of this software has written it, nothing is changed and the portion is kept and tried again, since two
versions that push each other's totals aside would leave neither whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from watcher.api import UNANSWERED, Answer, Credentials, request
from watcher.errors import WatcherError
from watcher.failure_object import INSTANCE_LABEL, KIND_LABEL, label_value
from watcher.soak.totals_merge import merge
from watcher.totals import TOTALS_VERSION, Totals

KEY = "totals.json"
PREFIX = "totals-"
KIND = "totals"
UNREADABLE_KIND = "totals-unreadable"
REQUEST_SECONDS = 15.0
_ATTEMPTS = 5


class StoreUnavailable(WatcherError):
    """The portion is not in the totals, or nobody knows: to be sent again as it is."""


@dataclass(frozen=True)
class Portion:
    """``delta`` is what was counted since the portion before; ``number`` counts a spool's portions from 1."""

    session: str
    number: int
    delta: Totals


class TotalsStore:
    """For one event loop; each request in a thread, on a connection of its own."""

    def __init__(self, credentials: Credentials, namespace: str, instance: str) -> None:
        self._credentials = credentials
        self._instance = instance
        self._name = f"{PREFIX}{instance}"
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps"
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="totals")

    async def merge(self, portion: Portion) -> Totals:
        """The totals with this portion in them: once, however often it is sent. Raises StoreUnavailable."""
        for _ in range(_ATTEMPTS):
            found = await self._ask("GET", f"{self._path}/{self._name}", expected=(200, 404))
            present = found.body if found.status == 200 else None
            before = await self._totals(present)
            after = merge(before, portion.session, portion.number, portion.delta)
            if after is before:
                return after
            written = await self._write(present, after)
            if written.status != 409:  # somebody was faster
                return after
        raise StoreUnavailable(
            f"ConfigMap {self._name} is changed again and again",
            advice="give each soak of a namespace a WATCHER_INSTANCE of its own",
        )

    async def _totals(self, present: dict[str, Any] | None) -> Totals | None:
        text = (present or {}).get("data", {}).get(KEY)
        if text is None:
            return None
        try:
            return Totals.model_validate_json(text)
        except ValidationError as error:
            if _newer(text, error):
                raise StoreUnavailable(
                    f"ConfigMap {self._name} was written by a newer version",
                    advice="run that version again, or save the ConfigMap and delete it",
                ) from error
            await self._copy((present or {})["data"])
            return None

    async def _copy(self, data: dict[str, str]) -> None:
        digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
        metadata = self._metadata(f"{self._name}-unreadable-{digest}", UNREADABLE_KIND)
        await self._ask("POST", self._path, {"metadata": metadata, "data": data}, expected=(201, 409))

    async def _write(self, present: dict[str, Any] | None, totals: Totals) -> Answer:
        text = totals.model_dump_json(exclude_defaults=True)
        # What model_dump leaves out as default must be there for whoever reads the version first.
        text = json.dumps({"totals_version": TOTALS_VERSION} | json.loads(text), ensure_ascii=False)
        if present is None:
            body = {"metadata": self._metadata(self._name, KIND), "data": {KEY: text}}
            return await self._ask("POST", self._path, body, expected=(201, 409))
        metadata = present["metadata"]
        ours = self._metadata(self._name, KIND)["labels"]
        body = present | {
            "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}
            | {"labels": (metadata.get("labels") or {}) | ours},
            "data": present.get("data", {}) | {KEY: text},
        }
        return await self._ask("PUT", f"{self._path}/{self._name}", body, expected=(200, 409))

    def _metadata(self, name: str, kind: str) -> dict[str, Any]:
        labels = {
            "app.kubernetes.io/name": "watcher",
            KIND_LABEL: kind,
            INSTANCE_LABEL: label_value(self._instance),
        }
        return {"name": name, "labels": labels}

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, expected: tuple[int, ...]
    ) -> Answer:
        send = partial(_send, self._credentials, method, path, body)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, send)
        except (*UNANSWERED, WatcherError) as error:
            raise StoreUnavailable(f"{method} {path}: {type(error).__name__}: {error}") from error
        if answer.status not in expected:
            raise StoreUnavailable(f"{method} {path}: {answer.problem}")
        return answer


def _send(credentials: Credentials, method: str, path: str, body: dict[str, Any] | None) -> Answer:
    """In the thread, for the credentials may have to be read from files."""
    return request(credentials(), method, path, body, timeout_seconds=REQUEST_SECONDS)


def _newer(text: str, error: ValidationError) -> bool:
    """Told by a higher version, or by nothing being wrong but keys that this version does not know."""
    try:
        version = json.loads(text).get("totals_version")
    except (ValueError, AttributeError, RecursionError):
        return False
    if isinstance(version, int) and version > TOTALS_VERSION:
        return True
    return all(detail["type"] == "extra_forbidden" for detail in error.errors(include_url=False, include_input=False))
