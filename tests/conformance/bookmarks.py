"""Probes: bookmarks, by the server's own clock: the slowest of all, so asked while the others are."""

from __future__ import annotations

import asyncio
import time

from tests.conformance.client import Json, Watch
from tests.conformance.probe import DIFFERS, Plane, config_map, probe, revision, told

_SLACK_SECONDS = 4.0
"""A real one looks once a second which bookmarks are due; a busy machine is later still."""


async def _bookmarks(watch: Watch, seconds: float) -> list[tuple[float, Json]]:
    """Those that come in this time, or until the end, and when, on the monotonic clock."""
    found = []
    try:
        async with asyncio.timeout(seconds):
            while (event := await watch.next(seconds)) is not None:
                if event["type"] == "BOOKMARK":
                    found.append((time.monotonic(), event))
    except TimeoutError:
        pass
    return found


@probe(
    {
        "asked for": {
            "count": 1,
            "in time": True,
            "event": {
                "type": "BOOKMARK",
                "object": {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"resourceVersion": "a version"},
                },
            },
            "as new as the last change": True,
        },
        "not asked for": 0,
        "after it": ["ADDED later"],
    },
    slow=True,
)
async def a_bookmark_each_minute(plane: Plane) -> Json:
    """Otherwise the real one's minute hides, or fakes, what keeps a client's connection alive."""
    maps = await plane.maps("bookmarks-minute")
    wait = plane.pace.bookmark_seconds + min(_SLACK_SECONDS, plane.pace.bookmark_seconds / 2)
    # From a version: else there is one more bookmark at the end of the initial events.
    start = str((await plane.api.get(maps)).revision)
    async with (
        plane.api.watch(maps, allowWatchBookmarks="true", resourceVersion=start) as asked,
        plane.api.watch(maps, resourceVersion=start) as not_asked,
    ):
        made = await plane.api.create(maps, config_map(v="1"))
        began = time.monotonic()
        first, none = await asyncio.gather(_bookmarks(asked, wait), _bookmarks(not_asked, wait))
    found: Json = {"asked for": {"count": len(first)}, "not asked for": len(none)}
    if first:
        at, event = first[0]
        version = revision(event)
        event["object"]["metadata"]["resourceVersion"] = "a version"
        due = plane.pace.bookmark_seconds
        found["asked for"] |= {
            "in time": due * 0.95 - 1 < at - began < due + _SLACK_SECONDS,
            "event": event,
            "as new as the last change": version >= made.revision,
        }
        await plane.api.create(maps, config_map("later"))
        async with plane.api.watch(maps, resourceVersion=str(version)) as resumed:
            found["after it"] = [told(each) for each in await resumed.take(1)]
    return found


async def _before_the_end(plane: Plane, path: str, change: bool) -> Json:
    """Bookmarks of a watch of some seconds, and whether the only one came two seconds before its end."""
    before = (await plane.api.get(path)).revision
    lead = plane.pace.lead_seconds
    began = time.monotonic()
    async with plane.api.watch(
        path, allowWatchBookmarks="true", timeoutSeconds=str(plane.pace.watch_seconds), resourceVersion=str(before)
    ) as watch:
        version = before
        if change:
            version = (await plane.api.create(path, config_map(v="1"))).revision
        found = await _bookmarks(watch, 20)
        ended = time.monotonic()
    return {
        # A real one reckons in whole seconds, so that two of its looks can be early enough.
        "any": len(found) in (1, 2),
        "in time": all(0 < (ended - at) - lead + 1.75 < 3.5 for at, _ in found),
        "as new as the last change": all(revision(event) >= version for _, event in found),
        "ended in time": -0.2 < ended - began - plane.pace.watch_seconds < 10,
    }


@probe({"any": True, "in time": True, "as new as the last change": True, "ended in time": True}, slow=True)
async def a_bookmark_before_the_end(plane: Plane) -> Json:
    """Otherwise a client begins its next watch at an old version and is sent what it has seen."""
    return await _before_the_end(plane, await plane.maps("bookmarks-end"), change=True)


@probe(DIFFERS, quiet=True)
async def a_bookmark_without_a_change(plane: Plane) -> Json:
    """Otherwise a watch is believed to be kept alive by bookmarks that a real cluster only sends after changes."""
    return await _before_the_end(plane, "/api/v1/namespaces", change=False)
