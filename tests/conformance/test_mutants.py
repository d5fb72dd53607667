"""Each probe that matters notices a control plane that is wrong in just that: the suite is no formality.

The embedded control plane, in this process and with quicker timers, is broken in one place at a time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import web

from tests.conformance import client, scene
from tests.conformance.client import Address, Api, Json
from tests.conformance.differences import DIFFERENCES
from tests.conformance.probe import PROBES, Pace, Plane, ask_all, config_map
from watcher.lab.control_plane import listeners, objects, options, routes, server, store, watches
from watcher.lab.control_plane.listeners import Listener
from watcher.lab.control_plane.server import serve
from watcher.lab.control_plane.watches import Timers

assert scene.PROBES_ARE_IN  # imported: else there would be no probes

PACE = Pace(bookmark_seconds=4.0, lead_seconds=2.0, watch_seconds=3, idle_seconds=1.5)
TIMERS = Timers(bookmark_interval_seconds=PACE.bookmark_seconds)
HISTORY_CHANGES = 200

Break = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    noticed_by: str
    breaks: Break = lambda _: None
    timers: Timers = TIMERS


async def ask(names: set[str], timers: Timers) -> dict[str, Json]:
    async with serve([Listener("127.0.0.1")], timers=timers, history_limit=HISTORY_CHANGES) as running:
        host, _, port = running.addresses[0].rpartition(":")
        async with Api.connect(Address(host, int(port), running.ca_pem, running.token)) as api:

            async def forget() -> None:
                maps = "/api/v1/namespaces/default/configmaps"
                await api.create(maps, config_map("busy"))
                for number in range(HISTORY_CHANGES + 1):
                    await api.patch(f"{maps}/busy", {"data": {"v": str(number)}})

            return await ask_all(Plane(api, forget, PACE), names)


def wanted(name: str) -> Json:
    return DIFFERENCES[name].embedded if name in DIFFERENCES else PROBES[name].expected


def no_conflicts(patch: pytest.MonkeyPatch) -> None:
    accept = objects.accept

    def forgetful(*arguments: Any) -> Json:
        accepted = accept(*arguments)
        accepted["metadata"].pop("resourceVersion", None)
        return accepted

    patch.setattr(store, "accept", forgetful)


def no_preconditions(patch: pytest.MonkeyPatch) -> None:
    delete = store.Store.delete
    patch.setattr(store.Store, "delete", lambda self, resource, space, name, _: delete(self, resource, space, name, {}))


def every_write_is_a_change(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        store.Store,
        "_replace",
        lambda self, resource, present, body: self._write(
            "MODIFIED", resource, present.namespace, present.value | {"data": body.get("data", {})}
        ),
    )


def resumes_from_now(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store.History, "after", lambda *_: [])


def resumes_one_too_early(patch: pytest.MonkeyPatch) -> None:
    after = store.History.after
    patch.setattr(store.History, "after", lambda self, revision: after(self, revision - 1))


def never_too_old(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        store.History, "after", lambda self, revision: [each for each in self._changes if each.revision > revision]
    )


def deletions_have_no_version(patch: pytest.MonkeyPatch) -> None:
    encode = watches.line

    def line(change: str, encoded: bytes) -> bytes:
        return encode(change, encoded) if change != "DELETED" else encode(change, _older(encoded))

    patch.setattr(watches, "line", line)


def _older(encoded: bytes) -> bytes:
    value = json.loads(encoded)
    value["metadata"]["resourceVersion"] = str(int(value["metadata"]["resourceVersion"]) - 1)
    return json.dumps(value).encode()


def modified_is_added(patch: pytest.MonkeyPatch) -> None:
    encode = watches.line
    patch.setattr(watches, "line", lambda change, encoded: encode(change.replace("MODIFIED", "ADDED"), encoded))


def merges_changes(patch: pytest.MonkeyPatch) -> None:
    offer = watches.Watch.offer
    count = 0

    def lossy(self: watches.Watch, change: store.Change) -> bool:
        nonlocal count
        count += 1
        return True if count % 50 == 49 else offer(self, change)

    patch.setattr(watches.Watch, "offer", lossy)


def selects_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        options.Selector, "matches", lambda self, version: self.namespace is None or version.namespace == self.namespace
    )


def with_options(**changes: object) -> Break:
    parse = options.parse

    def breaks(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(routes, "parse", lambda *arguments: replace(parse(*arguments), **changes))  # type: ignore[arg-type]

    return breaks


def ends_abruptly(patch: pytest.MonkeyPatch) -> None:
    follow = watches.Watches._follow

    async def cut(self: watches.Watches, response: Any, *arguments: Any) -> None:
        await follow(self, response, *arguments)
        response._req.transport.abort()

    patch.setattr(watches.Watches, "_follow", cut)


def no_marked_bookmark(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watches, "INITIAL_EVENTS_END", {})


def waits_for_the_first_event(patch: pytest.MonkeyPatch) -> None:
    prepare = web.StreamResponse.prepare

    async def late(self: Any, request: Any) -> Any:
        if "watch" in request.query:
            await asyncio.sleep(1)
        return await prepare(self, request)

    patch.setattr(web.StreamResponse, "prepare", late)


def offers_http_1_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(server, "tls", lambda *files, **_: listeners.tls(*files, http1_only=True))


def lets_all_in(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(routes.Api, "_authorize", lambda *_: None)


def accepts_any_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(objects, "_may_be_a_name", lambda *_: True)


def accepts_any_label(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(objects, "_check_qualified", lambda *_: None)


def items_say_what_they_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store.Version, "encoded_in_list", property(lambda self: self.encoded))


MUTANTS: dict[str, Mutant] = {
    "no conflicts": Mutant("conflicts", no_conflicts),
    "no preconditions": Mutant("preconditions", no_preconditions),
    "every write is a change": Mutant("a write that changes nothing makes no version", every_write_is_a_change),
    "resumes from now": Mutant("resuming from an older version", resumes_from_now),
    "resumes one too early": Mutant("resuming from an older version", resumes_one_too_early),
    "never too old": Mutant("a version too old", never_too_old),
    "deletions have no version": Mutant("the shape of events", deletions_have_no_version),
    "modified is added": Mutant("the shape of events", modified_is_added),
    "merges changes": Mutant("many changes to several watches", merges_changes),
    "selects everything": Mutant("field selectors", selects_everything),
    "watches everything": Mutant("watches of a selection", selects_everything),
    "always with the state": Mutant("where a watch begins", with_options(revision=None, initial_events=True)),
    "never with the state": Mutant("where a watch begins", with_options(initial_events=False)),
    "the future is now": Mutant("a version of the future", with_options(revision=None)),
    "ends abruptly": Mutant("the end of a watch", ends_abruptly),
    "ends when it likes": Mutant(
        "the end of a watch", with_options(timeout_seconds=0), replace(TIMERS, watch_timeout_seconds=(4.0, 4.1))
    ),
    "bookmarks for all": Mutant("a bookmark each minute", with_options(bookmarks=True)),
    "bookmarks too often": Mutant("a bookmark each minute", timers=replace(TIMERS, bookmark_interval_seconds=0.8)),
    "no bookmarks": Mutant("a bookmark each minute", with_options(bookmarks=False)),
    "no bookmark before the end": Mutant(
        "a bookmark before the end", timers=replace(TIMERS, bookmark_interval_seconds=60, bookmark_lead_seconds=7)
    ),
    "no marked bookmark": Mutant("initial events", no_marked_bookmark),
    "the future at once": Mutant("versions of lists", timers=replace(TIMERS, freshness_seconds=0.1)),
    "closes what is idle": Mutant("a connection that is kept", timers=replace(TIMERS, idle_timeout_seconds=1)),
    "offers HTTP/1.1 alone": Mutant("what the handshake agrees on", offers_http_1_alone),
    "lets all in": Mutant("a wrong token", lets_all_in),
    "accepts any name": Mutant("objects that cannot be", accepts_any_name),
    "accepts any label": Mutant("objects that cannot be", accepts_any_label),
    "items say what they are": Mutant("the shape of a list", items_say_what_they_are),
}


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_wrong_control_plane_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Otherwise the two control planes drift apart while the suite is green."""
    mutant = MUTANTS[name]
    mutant.breaks(monkeypatch)
    monkeypatch.setattr(client, "EVENT_SECONDS", 3.0)
    found = (await ask({mutant.noticed_by}, mutant.timers))[mutant.noticed_by]
    assert found != wanted(mutant.noticed_by)
    failed = str(found.get("the probe failed", "")) if isinstance(found, dict) else ""
    # What never comes, or is cut off, ends a probe; anything else would be a mistake of its own.
    assert not failed or failed.startswith(("TimeoutError", "ClientPayloadError", "ServerDisconnectedError")), failed


async def test_the_right_one_passes_them_all() -> None:
    """Otherwise what the mutants are noticed by is something else than what is wrong with them."""
    names = {mutant.noticed_by for mutant in MUTANTS.values()} - {"a bookmark before the end"}
    found = await ask(names, TIMERS)
    assert found == {name: wanted(name) for name in names}


async def test_the_right_one_passes_with_the_real_ones_minute() -> None:
    """The bookmark before the end comes alone only where no other falls into the watch's seconds."""
    name = "a bookmark before the end"
    assert await ask({name}, Timers()) == {name: wanted(name)}
