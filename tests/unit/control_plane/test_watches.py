"""Watches: what is sent, when bookmarks come, how they end, and that nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from tests.unit.control_plane.conftest import Client, Start, events, trust
from watcher.lab.control_plane.objects import CONFIG_MAPS
from watcher.lab.control_plane.options import Selector
from watcher.lab.control_plane.watches import Timers, Watch, next_bookmark

DEADLINE_SECONDS = 60


def summary(event: dict[str, Any]) -> tuple[str, str]:
    return event["type"], event["object"].get("data", {}).get("nonce", "")


async def reasons(client: Client, count: int) -> list[object]:
    """The reasons of the first ``count`` watches that ended."""
    return [report["reason"] for report in await client.reports.of("watch-ended", count)]


@pytest.mark.parametrize("query", ["", "resourceVersion=0"])
async def test_a_watch_without_a_version_starts_with_the_state(start: Start, query: str) -> None:
    """The Python ``Watch`` asks so: without the state it never learns the control touch's nonce."""
    client = await start()
    await client.create(nonce="1")
    async with client.watch(f"fieldSelector=metadata.name%3Dtrigger&{query}") as response:
        await client.create("other", nonce="9")
        await client.touch("2")
        assert [summary(event) for event in await events(response, 2)] == [("ADDED", "1"), ("MODIFIED", "2")]


async def test_a_watch_from_a_version_sees_only_what_comes_after_it(start: Start) -> None:
    """An informer resumes so after a break: a change in the break must be among what it gets."""
    client = await start()
    made = await client.create(nonce="1")
    await client.touch("2")
    async with client.watch(f"resourceVersion={made['metadata']['resourceVersion']}") as response:
        await client.touch("3")
        await client.ask("DELETE", "/api/v1/namespaces/default/configmaps/trigger")
        seen = [summary(event) for event in await events(response, 3)]
    assert seen == [("MODIFIED", "2"), ("MODIFIED", "3"), ("DELETED", "3")]


async def test_a_version_too_old_is_an_error_event_in_a_good_response(start: Start) -> None:
    """As kube-apiserver's watch cache does it: clients look for code 410 in the event and list again."""
    client = await start(history_limit=2)
    made = await client.create(nonce="1")
    for nonce in "234":
        await client.touch(nonce)
    async with client.watch(f"resourceVersion={made['metadata']['resourceVersion']}") as response:
        assert response.status == 200
        [line] = (await response.text()).splitlines()
    event = json.loads(line)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert await reasons(client, 1) == ["error"]


async def test_a_version_of_the_future_waits_for_what_comes_after_it(start: Start) -> None:
    """As the real one does for plain watches: no error, and nothing before that version."""
    client = await start()
    made = await client.create(nonce="1")
    later = int(made["metadata"]["resourceVersion"]) + 1
    async with client.watch(f"resourceVersion={later}") as response:
        await client.touch("2")
        await client.touch("3")
        assert [summary(event) for event in await events(response, 1)] == [("MODIFIED", "3")]


async def test_headers_come_before_the_first_event(start: Start) -> None:
    """A client counts as watching from the headers on; held back, its start would wait for a touch."""
    client = await start()
    async with asyncio.timeout(DEADLINE_SECONDS), client.watch("") as response:
        assert response.headers["Transfer-Encoding"] == "chunked"


async def test_timeout_ends_the_watch_cleanly_and_keeps_the_connection(start: Start) -> None:
    """The profile watch-timeout lives by it; a broken end would count as the server's fault."""
    client = await start()
    await client.create(nonce="1")
    ports = set()
    for _ in range(2):
        async with client.watch("timeoutSeconds=1") as response:
            assert response.connection is not None
            ports.add(response.connection.transport.get_extra_info("sockname")[1])  # type: ignore[union-attr]
            assert (await response.read()).count(b"\n") == 1
    assert len(ports) == 1
    assert await reasons(client, 2) == ["timeout", "timeout"]


async def test_without_a_timeout_the_server_chooses(start: Start) -> None:
    """No watch is endless at a real server, and clients must cope."""
    client = await start(timers=Timers(watch_timeout_seconds=(0.2, 0.4)))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with client.watch("") as response:
        assert await response.read() == b""
    assert 0.2 <= loop.time() - began < DEADLINE_SECONDS
    assert await reasons(client, 1) == ["timeout"]


async def test_bookmarks_for_those_who_ask_and_one_before_the_end(start: Start) -> None:
    """Bookmarks are an accidental keepalive: one too many, or to a client that did not ask, falsifies a cell."""
    # Only a machine that stands still for most of a second could leave one out.
    client = await start(timers=Timers(bookmark_interval_seconds=1, bookmark_lead_seconds=1.2))
    made = await client.create(nonce="1")

    async def read(query: str) -> list[dict[str, Any]]:
        async with client.watch(f"timeoutSeconds=4&{query}") as response:
            return [json.loads(line) for line in (await response.text()).splitlines()]

    version = int(made["metadata"]["resourceVersion"]) - 1
    asked, not_asked = await asyncio.gather(
        read(f"resourceVersion={version}&allowWatchBookmarks=true"), read(f"resourceVersion={version}")
    )
    assert [event["type"] for event in not_asked] == ["ADDED"]
    assert [event["type"] for event in asked] == ["ADDED"] + ["BOOKMARK"] * 3  # at 1, 2 and, before the end, 2.8
    assert asked[1]["object"] == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": made["metadata"]["resourceVersion"]},
    }


def test_the_schedule_of_bookmarks() -> None:
    """As kube-apiserver's: every interval, a last one before the end, none after that."""
    timers = Timers(bookmark_interval_seconds=60, bookmark_lead_seconds=2)
    assert next_bookmark(0, 100, timers) == 60
    assert next_bookmark(60, 100, timers) == 98
    assert next_bookmark(98, 100, timers) is None
    assert next_bookmark(0, 1, timers) is None


async def test_a_streaming_list_ends_with_its_marked_bookmark(start: Start) -> None:
    """Informers of client-go wait for this bookmark before they count as synchronised."""
    client = await start()
    await client.create(nonce="1")
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with client.watch(query) as response:
        added, bookmark = await events(response, 2)
        await client.touch("2")
        [modified] = await events(response, 1)
    assert summary(added) == ("ADDED", "1")
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert summary(modified) == ("MODIFIED", "2")


@pytest.mark.parametrize("version", ["", "resourceVersion=0&"])
async def test_who_allows_bookmarks_learns_where_the_state_ends(start: Start, version: str) -> None:
    """kube-apiserver takes such a watch for a streaming list; a client that waits for its end would wait for ever."""
    client = await start()
    await client.create()
    async with client.watch(f"{version}allowWatchBookmarks=true&timeoutSeconds=1") as response:
        first = [json.loads(await response.content.readline()) for _ in range(2)]
    assert [event["type"] for event in first] == ["ADDED", "BOOKMARK"]
    assert first[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_streaming_list_of_the_future_waits_for_it(start: Start) -> None:
    """Moved to an API server that is behind, a client must get the state that it asked for, not an error at once."""

    async def begun(freshness_seconds: float) -> tuple[Client, str]:
        client = await start(timers=Timers(freshness_seconds=freshness_seconds))
        later = int((await client.create())["metadata"]["resourceVersion"]) + 1
        ask = f"sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion={later}&timeoutSeconds=1"
        return client, ask

    async def first(client: Client, ask: str) -> dict[str, Any]:
        async with client.watch(ask) as response:
            event: dict[str, Any] = json.loads(await response.content.readline())
            return event

    assert (await first(*await begun(0.2)))["object"]["reason"] == "Timeout"
    client, ask = await begun(3)
    waiting = asyncio.create_task(first(client, ask))
    await asyncio.sleep(0.2)
    await client.create("another")
    assert (await waiting)["type"] == "ADDED"


async def test_a_client_that_goes_is_noticed_without_any_event(start: Start) -> None:
    """Otherwise the watches of dead clients pile up over a run."""
    client = await start()
    async with client.watch("") as response:
        assert len(client.server.watches) == 1
        response.close()
    assert await reasons(client, 1) == ["client"]
    assert len(client.server.watches) == 0


async def test_a_watcher_that_does_not_read_is_ended_and_holds_up_nobody(start: Start) -> None:
    """A client stopped by its fault must not delay the other cells' touches, nor eat the machine's memory."""
    client = await start(watch_limit=3, history_limit=3)
    await client.create(nonce="0")
    host, port = client.server.addresses[0].split(":")
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect((host, int(port)))
    context = trust(client.server)
    context.set_alpn_protocols(["http/1.1"])
    with await asyncio.to_thread(context.wrap_socket, plain, server_hostname=host) as deaf:
        request = (
            f"GET /api/v1/configmaps?watch=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.server.token}\r\n\r\n"
        )
        await asyncio.to_thread(deaf.sendall, request.encode())
        async with client.watch("resourceVersion=0") as response:
            await events(response, 1)
            for number in range(60):
                nonce = f"{number}-" + "x" * 500_000
                await client.touch(nonce)
                async with asyncio.timeout(DEADLINE_SECONDS):
                    assert [summary(event) for event in await events(response, 1)] == [("MODIFIED", nonce)]
                if "slow" in (report.get("reason") for report in client.reports):
                    break
    [report] = [report for report in client.reports if report.get("reason") == "slow"]
    assert report["port"] != 0
    assert (await reasons(client, 2)).count("slow") == 1


async def test_a_queue_takes_no_more_than_its_limit(start: Start) -> None:
    """The bound itself, to the number."""
    client = await start()
    for nonce in "12345":
        await (client.touch(nonce) if nonce > "1" else client.create(nonce=nonce))
    changes = client.server.store.after(CONFIG_MAPS, 4)
    told: list[str] = []
    watch = Watch(Selector(), after=0, limit=4, told=told.append)
    assert [watch.offer(change) for change in changes] == [True] * 4 + [False]
    assert (told, watch.ended, list(watch.pending)) == (["slow"], "slow", [])


async def test_shutdown_ends_watches_with_their_last_chunk(start: Start) -> None:
    """A server that goes down in good order must look so to its clients."""
    client = await start()
    async with client.watch("") as response:
        client.server.watches.close()
        assert await response.read() == b""
    assert await reasons(client, 1) == ["shutdown"]


async def test_a_half_sent_tls_hello_holds_up_nobody(start: Start) -> None:
    """A path that loses a client's packets leaves such connections behind."""
    client = await start()
    host, port = client.server.addresses[0].split(":")
    with socket.create_connection((host, int(port))) as half:
        half.sendall(b"\x16\x03\x01")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await client.create(nonce="1")
