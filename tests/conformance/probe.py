"""A probe: one question to a control plane, and its answer in a form in which two control planes can be compared."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.conformance.client import Answer, Api, Json

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Pace:
    """The server's own timers, in seconds: kube-apiserver's constants, or those of a quicker imitation of it."""

    bookmark_seconds: float = 61.0
    lead_seconds: float = 2.0
    watch_seconds: int = 6
    """How long a watch lives whose last bookmark is looked at."""
    idle_seconds: float = 20.0
    """For which a connection without a request must be kept at least (kube-apiserver: 90 s)."""


@dataclass
class Plane:
    """A control plane being asked."""

    api: Api
    forget: Callable[[], Awaitable[None]]
    """Makes it forget the changes up to now, the way it does so by itself: no watch can resume from them."""
    pace: Pace = field(default_factory=Pace)

    async def maps(self, namespace: str) -> str:
        """The path of the ConfigMaps of a new namespace: each probe has one, or more, of its own."""
        made = await self.api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        assert made.status == 201, made.body
        return f"/api/v1/namespaces/{namespace}/configmaps"


Ask = Callable[[Plane], Awaitable[Json]]


@dataclass(frozen=True)
class Probe:
    name: str
    ask: Ask
    expected: Json
    """What both control planes answer; None where they differ (``differences.py`` has then what each answers)."""
    slow: bool
    """Takes more than some seconds: asked while the others are."""
    quiet: bool
    """Needs a control plane at rest: asked after the others, while the slow ones wait."""
    disturbs: bool
    """Changes the control plane for all: asked after all others."""

    @property
    def user_impact(self) -> str:
        return (self.ask.__doc__ or "").strip()


PROBES: dict[str, Probe] = {}
DIFFERS: Json = None


def probe(expected: Json, *, slow: bool = False, quiet: bool = False, disturbs: bool = False) -> Callable[[Ask], Ask]:
    """Adds a probe under the function's name."""

    def add(ask: Ask) -> Ask:
        name = getattr(ask, "__name__", "").replace("_", " ")
        assert name not in PROBES, name
        assert ask.__doc__, f"{name} does not say what it is for"
        PROBES[name] = Probe(name, ask, expected, slow, quiet, disturbs)
        return ask

    return add


def config_map(name: str = "one", /, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}} | ({"data": data} if data else {})


def told(event: Json) -> str:
    """An event in short."""
    item = event["object"]
    return f"{event['type']} {item['metadata'].get('name', item['kind'])} {item.get('data', {}).get('v', '')}".strip()


def growing(revisions: list[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(revisions))


def revision(event_or_object: Json) -> int:
    return int(event_or_object.get("object", event_or_object)["metadata"]["resourceVersion"])


def normalised(observation: Json) -> Json:
    """``observation`` without what differs from one run to the next: versions as ranks, ids numbered, times as such.

    Fields that only a real one keeps a record in (managedFields) are left out; a probe of its own is about them.
    """
    revisions = sorted({int(v) for k, v in _fields(observation) if k == "resourceVersion" and str(v).isdigit()})
    ranks = {str(value): f"version {rank}" for rank, value in enumerate(revisions, 1)}
    ids = {value: f"id {rank}" for rank, value in enumerate(dict.fromkeys(_uids(observation)), 1)}

    def plain(value: Json, key: str = "") -> Json:
        if isinstance(value, Answer):
            return {"status": value.status, "body": plain(value.body)}
        if isinstance(value, dict):
            return {k: plain(v, k) for k, v in sorted(value.items()) if k != "managedFields"}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        if isinstance(value, str) and key == "resourceVersion":
            return ranks.get(value, value)
        if isinstance(value, str) and key == "uid":
            return ids.get(value, value)
        if isinstance(value, str) and key == "creationTimestamp" and _TIMESTAMP.fullmatch(value):
            age = (datetime.now(UTC) - datetime.fromisoformat(value)).total_seconds()
            return "now" if -5 < age < 200 else value
        return value

    return plain(observation)


def _fields(value: Json) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Answer):
        value = value.body
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _fields(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _fields(inner)


def _uids(value: Json) -> list[str]:
    return [v for k, v in _fields(value) if k == "uid" and isinstance(v, str) and _UID.fullmatch(v)]


@contextmanager
def _as_finding(found: dict[str, Json], name: str) -> Iterator[None]:
    """A probe that fails is an answer, too: the others go on, and the comparison shows it."""
    try:
        yield
    except Exception as error:
        found[name] = {"the probe failed": f"{type(error).__name__}: {error}"}


async def ask_all(
    plane: Plane, names: set[str] | None = None, *, beside: Awaitable[object] | None = None
) -> dict[str, Json]:
    """What each probe (of these names) found. ``beside``: other work, over before the quiet ones are asked."""
    chosen = [each for each in PROBES.values() if names is None or each.name in names]
    found: dict[str, Json] = {}

    async def ask(each: Probe) -> None:
        with _as_finding(found, each.name):
            found[each.name] = normalised(await each.ask(plane))

    async with asyncio.TaskGroup() as group:
        for each in chosen:
            if each.slow:
                group.create_task(ask(each))
        for each in chosen:
            if not (each.slow or each.quiet or each.disturbs):
                await ask(each)
        if beside is not None:
            await beside
        for each in chosen:
            if each.quiet:
                await ask(each)
    for each in chosen:
        if each.disturbs:
            await ask(each)
    return found
