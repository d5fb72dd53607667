"""Probes: what a watch sends, from which version on, and how it ends."""

from __future__ import annotations

import asyncio
import time

from tests.conformance.client import Api, Json
from tests.conformance.probe import Plane, config_map, growing, probe, revision, told

LAST = "last"


async def _mark_end(plane: Plane, maps: str) -> None:
    """A change that every watch of these must send: what has not come before it, does not come."""
    await plane.api.create(maps, config_map(LAST))


def _is_last(event: Json) -> bool:
    return told(event) == f"ADDED {LAST}"


async def _story(plane: Plane, maps: str) -> list[int]:
    """Added, modified twice, deleted, and another added: the versions after each."""
    one = f"{maps}/one"
    versions = [
        (await plane.api.create(maps, config_map(v="1"))).revision,
        (await plane.api.patch(one, {"data": {"v": "2"}})).revision,
        (await plane.api.put(one, config_map(v="3"))).revision,
    ]
    await plane.api.delete(one)
    return [*versions, (await plane.api.create(maps, config_map("two", v="4"))).revision]


_OBJECT = {"apiVersion": "v1", "kind": "ConfigMap"}
_META = {"creationTimestamp": "now", "name": "one", "namespace": "watches-shape", "uid": "id 1"}


def _event(kind: str, version: int, v: str) -> Json:
    metadata = _META | {"resourceVersion": f"version {version}"}
    return {"type": kind, "object": _OBJECT | {"data": {"v": v}, "metadata": metadata}}


@probe([_event("ADDED", 1, "1"), _event("MODIFIED", 2, "2"), _event("MODIFIED", 3, "3"), _event("DELETED", 4, "3")])
async def the_shape_of_events(plane: Plane) -> Json:
    """Otherwise a client does not see a change that came, or does not know what was deleted."""
    maps = await plane.maps("watches-shape")
    async with plane.api.watch(maps) as watch:
        await _story(plane, maps)
        return await watch.take(4)


@probe({"status": 200, "type": "application/json", "encoding": "chunked", "length": None, "before any event": True})
async def the_head_of_a_watch(plane: Plane) -> Json:
    """Otherwise a client waits for headers until the first change, and times out."""
    maps = await plane.maps("watches-head")
    async with plane.api.watch(maps) as watch:
        return {
            "status": watch.status,
            "type": watch.headers.get("Content-Type"),
            "encoding": watch.headers.get("Transfer-Encoding"),
            "length": watch.headers.get("Content-Length"),
            "before any event": True,  # or this would not have been reached
        }


_STATE = ["ADDED a 1", "ADDED b 2"]


@probe(
    {
        "unset": [*_STATE, "ADDED last"],
        "0": [*_STATE, "ADDED last"],
        "current": ["ADDED last"],
        "of the list": ["ADDED last"],
    }
)
async def where_a_watch_begins(plane: Plane) -> Json:
    """Otherwise a change between list and watch is lost or seen twice."""
    maps = await plane.maps("watches-begin")
    await plane.api.create(maps, config_map("a", v="0"))
    await plane.api.create(maps, config_map("b", v="2"))
    current = (await plane.api.patch(f"{maps}/a", {"data": {"v": "1"}})).revision
    listed = (await plane.api.get(maps)).revision
    queries: dict[str, dict[str, str]] = {
        "unset": {},
        "0": {"resourceVersion": "0"},
        "current": {"resourceVersion": str(current)},
        "of the list": {"resourceVersion": str(listed)},
    }
    await plane.api.get(maps)
    await _settled(plane, maps, current)

    async def seen(query: dict[str, str]) -> list[str]:
        async with plane.api.watch(maps, **query) as watch:
            ready.release()
            return [told(event) for event in await watch.until(_is_last)]

    ready = asyncio.Semaphore(0)
    tasks = {what: asyncio.create_task(seen(query)) for what, query in queries.items()}
    for _ in tasks:
        await ready.acquire()
    await _mark_end(plane, maps)
    return {what: await task for what, task in tasks.items()}


async def _settled(plane: Plane, maps: str, version: int) -> None:
    """A real one's cache, which answers a watch from "any version", may be some milliseconds behind."""
    answer = await plane.api.get(maps, resourceVersion=str(version))
    assert answer.status == 200


@probe(
    {
        "after none": ["ADDED one 1", "MODIFIED one 2", "MODIFIED one 3", "DELETED one 3", "ADDED two 4"],
        "after 1": ["MODIFIED one 2", "MODIFIED one 3", "DELETED one 3", "ADDED two 4"],
        "after 2": ["MODIFIED one 3", "DELETED one 3", "ADDED two 4"],
        "after 3": ["DELETED one 3", "ADDED two 4"],
        "after 4": [],
        "versions": {"grow": True, "of writes": True},
    }
)
async def resuming_from_an_older_version(plane: Plane) -> Json:
    """Otherwise a client that was cut off misses the change made meanwhile, or gets one twice."""
    maps = await plane.maps("watches-older")
    before = (await plane.api.get(maps)).revision
    versions = [before, *await _story(plane, maps)]
    await _settled(plane, maps, versions[-1])
    found: Json = {}
    for name, version in zip(("after none", "after 1", "after 2", "after 3", "after 4"), versions, strict=True):
        async with plane.api.watch(maps, resourceVersion=str(version)) as watch:
            if version == versions[-1]:
                events = await plane.api.changes(maps, resourceVersion=str(version))
            else:
                events = await watch.until(lambda event: told(event) == "ADDED two 4")
        found[name] = [told(event) for event in events]
        if version == before:
            seen = [revision(event) for event in events]
            found["versions"] = {"grow": growing(seen), "of writes": [*seen[:3], seen[4]] == versions[1:]}
    return found


@probe({"nothing yet": [], "only after it": True, "the last": True, "far": []})
async def a_version_of_the_future(plane: Plane) -> Json:
    """Otherwise a client that moves between API servers is shown changes that it has seen, or an error."""
    maps = await plane.maps("watches-future")
    asked = (await plane.api.get(maps)).revision + 20  # more than others write meanwhile
    async with plane.api.watch(maps, resourceVersion=str(asked)) as watch:
        quiet = await plane.api.changes(maps, resourceVersion=str(asked))
        for number in range(40):
            await plane.api.create(maps, config_map(f"n{number}"))
        await _mark_end(plane, maps)
        events = await watch.until(_is_last)
    return {
        "nothing yet": quiet,
        "only after it": all(revision(event) > asked for event in events) and 0 < len(events) < 41,
        "the last": _is_last(events[-1]),
        "far": await plane.api.changes(maps, resourceVersion=str(asked + 1_000_000)),
    }


@probe(
    {
        "one name": ["ADDED a 1", "MODIFIED a 2", "DELETED a 2"],
        "all but one": ["ADDED b 1", "ADDED last"],
        "everywhere": ["ADDED a 1", "ADDED b 1", "MODIFIED a 2", "DELETED a 2", "ADDED last"],
        "namespaces": ["ADDED watches-select", "MODIFIED watches-select"],
    }
)
async def watches_of_a_selection(plane: Plane) -> Json:
    """Otherwise a watcher of one trigger is woken by another, or misses its own."""
    spaces = "/api/v1/namespaces"
    async with plane.api.watch(spaces, fieldSelector="metadata.name=watches-select") as of_namespace:
        maps = await plane.maps("watches-select")
        await plane.api.patch(f"{spaces}/watches-select", {"metadata": {"labels": {"l": "1"}}})
        start = str((await plane.api.get(maps)).revision)
        await plane.api.create(maps, config_map("a", v="1"))
        await plane.api.create(maps, config_map("b", v="1"))
        await plane.api.patch(f"{maps}/a", {"data": {"v": "2"}})
        await plane.api.delete(f"{maps}/a")
        await _mark_end(plane, maps)
        found: Json = {"namespaces": [told(event) for event in await of_namespace.take(2)]}
    async with plane.api.watch(maps, resourceVersion=start, fieldSelector="metadata.name=a") as watch:
        found["one name"] = [told(event) for event in await watch.take(3)]
    async with plane.api.watch(maps, resourceVersion=start, fieldSelector="metadata.name!=a") as watch:
        found["all but one"] = [told(event) for event in await watch.until(_is_last)]
    query = {"resourceVersion": start, "fieldSelector": "metadata.namespace=watches-select"}
    async with plane.api.watch("/api/v1/configmaps", **query) as watch:
        found["everywhere"] = [told(event) for event in await watch.until(_is_last)]
    return found


@probe({"first": True, "second": True, "versions grow": True, "in order": True})
async def many_changes_to_several_watches(plane: Plane) -> Json:
    """Otherwise changes that come quickly are lost, merged or out of order."""
    maps = await plane.maps("watches-many")
    await plane.api.create(maps, config_map(v="0"))
    async with plane.api.watch(maps) as first, plane.api.watch(maps) as second:
        for number in range(1, 101):
            await plane.api.patch(f"{maps}/one", {"data": {"v": str(number)}})
        seen = [await watch.until(lambda event: told(event).endswith(" 100")) for watch in (first, second)]
    wanted = ["ADDED one 0", *(f"MODIFIED one {number}" for number in range(1, 101))]
    return {
        "first": len(seen[0]) == 101,
        "second": seen[0] == seen[1],
        "in order": [told(event) for event in seen[0]] == wanted,
        "versions grow": growing([revision(event) for event in seen[0]]),
    }


@probe({"events": [], "ended in time": True, "connection": "the same"})
async def the_end_of_a_watch(plane: Plane) -> Json:
    """Otherwise each end looks like a broken connection to the client: an error in its log, and a new handshake."""
    maps = await plane.maps("watches-end")
    async with Api.connect(plane.api.address, connections=1) as api:
        began = time.monotonic()
        async with api.watch(maps, timeoutSeconds="2") as watch:
            port = watch.local_port
            events = await watch.rest()  # which raises where the last chunk is missing
            seconds = time.monotonic() - began
        async with api.watch(maps, timeoutSeconds="1") as again:
            same = again.local_port == port is not None
    return {
        "events": events,
        "ended in time": 1.8 < seconds < 10,
        "connection": "the same" if same else "another",
    }


def _initial(query: dict[str, str]) -> dict[str, str]:
    return {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"} | query


_END = {
    "type": "BOOKMARK",
    "object": {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"annotations": {"k8s.io/initial-events-end": "true"}, "resourceVersion": "a version"},
    },
}


@probe(
    {
        "state": ["ADDED a 1", "ADDED b 1"],
        "end": _END,
        "end is not older": True,
        "then": "ADDED last",
        "without bookmarks": ["ADDED a 1", "ADDED b 1", "ADDED last"],
        "from a version": ["ADDED a 1", "ADDED b 1", "BOOKMARK ConfigMap", "ADDED last"],
        "declined": ["ADDED last"],
        "not mentioned": ["ADDED a 1", "ADDED b 1", "BOOKMARK ConfigMap", "ADDED last"],
        "not mentioned, any version": ["ADDED a 1", "ADDED b 1", "BOOKMARK ConfigMap", "ADDED last"],
    }
)
async def initial_events(plane: Plane) -> Json:
    """Otherwise a client that asks for a streaming list never learns that it has all."""
    maps = await plane.maps("watches-initial")
    await plane.api.create(maps, config_map("a", v="1"))
    last = (await plane.api.create(maps, config_map("b", v="1"))).revision
    async with plane.api.watch(maps, **_initial({"allowWatchBookmarks": "true"})) as watch:
        state = await watch.take(2)
        end = await watch.next()
        assert end is not None
        found: Json = {"end is not older": revision(end) >= last}
        await _mark_end(plane, maps)
        found["then"] = told((await watch.take(1))[0])
    end["object"]["metadata"]["resourceVersion"] = "a version"
    found |= {"state": [told(event) for event in state], "end": end}
    await plane.api.delete(f"{maps}/{LAST}")
    marked = {"allowWatchBookmarks": "true"}
    version = str((await plane.api.get(maps)).revision)
    asked = {
        "without bookmarks": _initial({}),
        "from a version": _initial(marked | {"resourceVersion": version}),
        "declined": _initial(marked | {"sendInitialEvents": "false", "resourceVersion": version}),
        "not mentioned": marked,
        "not mentioned, any version": marked | {"resourceVersion": "0"},
    }
    for what, query in asked.items():
        async with plane.api.watch(maps, **query) as watch:
            seen = await watch.take({"declined": 0, "without bookmarks": 2}.get(what, 3))
            await _mark_end(plane, maps)
            found[what] = [told(event) for event in seen + await watch.until(_is_last)]
        await plane.api.delete(f"{maps}/{LAST}")
        await _settled(plane, maps, (await plane.api.get(maps)).revision)
    return found


@probe({"status": 200, "events": [["ERROR", 504, "Timeout"]], "at once": False})
async def initial_events_of_a_future_version(plane: Plane) -> Json:
    """Otherwise such a client is answered at once here and after three seconds there."""
    maps = await plane.maps("watches-initial-future")
    later = str((await plane.api.get(maps)).revision + 1_000_000)
    query = _initial({"resourceVersion": later, "allowWatchBookmarks": "true", "timeoutSeconds": "5"})
    began = time.monotonic()
    async with plane.api.watch(maps, **query) as watch:
        events = await watch.rest()
    return {
        "status": watch.status,
        "events": [[event["type"], event["object"].get("code"), event["object"].get("reason")] for event in events],
        "at once": time.monotonic() - began < 1,
    }


@probe(
    {
        "status": 200,
        "events": [
            {
                "type": "ERROR",
                "object": {
                    "apiVersion": "v1",
                    "code": 410,
                    "kind": "Status",
                    "message": "too old resource version: ",
                    "metadata": {},
                    "reason": "Expired",
                    "status": "Failure",
                },
            }
        ],
        "a new list": 200,
        "from there": ["ADDED last"],
    },
    disturbs=True,
)
async def a_version_too_old(plane: Plane) -> Json:
    """Otherwise a client that was away for long misses changes and never knows, or never finds back."""
    maps = await plane.maps("watches-old")
    old = (await plane.api.create(maps, config_map(v="1"))).revision
    await plane.api.patch(f"{maps}/one", {"data": {"v": "2"}})
    await plane.forget()
    async with plane.api.watch(maps, resourceVersion=str(old), timeoutSeconds="5") as watch:
        events = await watch.rest()
    for event in events:
        message = event["object"].get("message", "")
        event["object"]["message"] = message[: message.find(": ") + 2]
    listed = await plane.api.get(maps)
    async with plane.api.watch(maps, resourceVersion=str(listed.revision)) as again:
        await _mark_end(plane, maps)
        later = await again.until(_is_last)
    return {
        "status": watch.status,
        "events": events,
        "a new list": listed.status,
        "from there": [told(event) for event in later],
    }
