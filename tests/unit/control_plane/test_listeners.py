"""Sockets: keepalive, TLS, HTTP/2 turned away, quiet connections."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from pathlib import Path

import pytest

from tests.unit.control_plane.conftest import Client, Start, trust
from watcher.errors import UsageError
from watcher.lab.control_plane.listeners import Keepalive, Listener
from watcher.lab.control_plane.server import serve
from watcher.lab.control_plane.watches import Timers

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
NO_TIMER, KEEPALIVE_TIMER = "00", "02"
USER_HZ = 100


async def connect(client: Client, alpn: list[str], listener: int = 0) -> Streams:
    context = trust(client.server)
    if alpn:
        context.set_alpn_protocols(alpn)
    host, port = client.server.addresses[listener].split(":")
    return await asyncio.open_connection(host, int(port), ssl=context)


async def ask_version(streams: Streams) -> bytes:
    """The status line of an answer on a connection that stays open."""
    reader, writer = streams
    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line.split(b":")[1] for line in head.lower().splitlines() if line.startswith(b"content-length"))
    await reader.readexactly(int(length))
    return head.splitlines()[0]


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("127.0.0.1:6443,keepalive=off", Listener("127.0.0.1", 6443)),
        ("10.0.0.1:1,keepalive=180/15/9", Listener("10.0.0.1", 1, Keepalive(180, 15, 9))),
        ("[::1]:6443,keepalive=off", Listener("::1", 6443)),
        ("127.0.0.1:6443,keepalive=off,alpn=http/1.1", Listener("127.0.0.1", 6443, http1_only=True)),
    ],
)
def test_listeners_are_read(text: str, listener: Listener) -> None:
    """The lab says so where a path's server side has keepalive; misread, a scenario is another one."""
    assert Listener.parse(text) == listener


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:6443",
        "127.0.0.1,keepalive=off",
        "127.0.0.1:66000,keepalive=off",
        "127.0.0.1:6443,keepalive=0/1/1",
        "127.0.0.1:6443,keepalive=30/10",
        "127.0.0.1:6443,keepalive=2.5/1/3",
        "127.0.0.1:6443,keepalive=30/10/128",
    ],
)
def test_a_wrong_listener_is_a_usage_error(text: str) -> None:
    """What the kernel cannot do must not be rounded in silence: the plan relies on the numbers."""
    with pytest.raises(UsageError, match="no listener"):
        Listener.parse(text)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's timers from Linux's /proc")
async def test_keepalive_is_what_the_listener_says_and_off_where_it_is_off(start: Start) -> None:
    """A keepalive of the server's own keeps a 240 s path alive by itself: scenarios differ in nothing else."""
    listeners = [Listener("127.0.0.1"), Listener("127.0.0.1", keepalive=Keepalive(30, 10, 3))]
    client = await start(listeners=listeners)
    began = asyncio.get_running_loop().time()
    off, on = await connect(client, [], 0), await connect(client, [], 1)
    for streams in (off, on):
        await ask_version(streams)

    def timer(streams: Streams) -> tuple[str, float] | None:
        """The kernel's timer of the server's socket, and the seconds until it expires."""
        local = streams[1].get_extra_info("sockname")[1]
        remote = streams[1].get_extra_info("peername")[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if [int(address.split(":")[1], 16) for address in fields[1:3]] == [remote, local]:
                kind, when = fields[5].split(":")
                return kind, int(when, 16) / USER_HZ
        return None

    async def settled(streams: Streams) -> tuple[str, float]:
        """When all is acknowledged: no other timer runs then. The kernel may leave a line out while others come."""
        async with asyncio.timeout(30):
            while (found := timer(streams)) is None or found[0] not in (NO_TIMER, KEEPALIVE_TIMER):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return found

    await asyncio.sleep(0.3)  # a delayed acknowledgement is a timer of its own
    assert (await settled(off))[0] == NO_TIMER
    kind, seconds = await settled(on)
    assert kind == KEEPALIVE_TIMER
    gone_by = asyncio.get_running_loop().time() - began
    assert 29.5 - gone_by <= seconds <= 30.5
    for _, writer in (off, on):
        writer.close()
        await writer.wait_closed()


async def test_a_client_of_http_2_is_turned_away_and_reported(start: Start) -> None:
    """Served HTTP/1.1 instead it would be measured as something that it is not; its cell must become invalid."""
    client = await start()
    reader, writer = await connect(client, ["h2", "http/1.1"])
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    port = writer.get_extra_info("sockname")[1]
    assert await reader.read() == b""
    writer.close()
    assert client.reports == [{"event": "unserved", "peer": "127.0.0.1", "port": port, "what": "HTTP/2"}]


@pytest.mark.parametrize("alpn", [["http/1.1"], []])
async def test_a_client_of_http_1_is_served(start: Start, alpn: list[str]) -> None:
    """The other side of the check above: nobody else is turned away."""
    client = await start()
    streams = await connect(client, alpn)
    assert await ask_version(streams) == b"HTTP/1.1 200 OK"
    assert client.reports == []
    streams[1].close()
    await streams[1].wait_closed()


async def test_a_listener_of_http_1_alone_serves_clients_that_know_both(start: Start) -> None:
    """For kubectl, which would else need a real control plane to look at a run."""
    client = await start(listeners=[Listener("127.0.0.1", http1_only=True)])
    streams = await connect(client, ["h2", "http/1.1"])
    assert streams[1].get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    assert await ask_version(streams) == b"HTTP/1.1 200 OK"
    streams[1].close()
    await streams[1].wait_closed()


async def test_tls_older_than_1_2_is_refused(start: Start) -> None:
    """As kube-apiserver does: what cannot talk to a cluster must not talk to the imitation."""
    client = await start()
    context = trust(client.server)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, port = client.server.addresses[0].split(":")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(host, int(port), ssl=context)


async def test_a_quiet_connection_is_closed_after_the_idle_timeout_and_not_before(start: Start) -> None:
    """Closed early, it would be the server that broke the flow, not the path."""
    # Used more often than that by seconds, which a busy machine takes its time from, and for longer in all.
    client = await start(timers=Timers(idle_timeout_seconds=3))
    loop = asyncio.get_running_loop()
    reader, writer = await connect(client, ["http/1.1"])
    for _ in range(3):
        await ask_version((reader, writer))
        await asyncio.sleep(1.1)
    began = loop.time()
    await ask_version((reader, writer))
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    assert loop.time() - began >= 2.95
    writer.close()


async def test_the_idle_timeout_does_not_end_a_quiet_watch(start: Start) -> None:
    """Watches are quiet for hours; an idle timeout is for connections without a request."""
    client = await start(timers=Timers(idle_timeout_seconds=0.2))
    async with client.watch("timeoutSeconds=1") as response:
        assert await response.read() == b""
    [report] = await client.reports.of("watch-ended", 1)
    assert report["reason"] == "timeout"


async def test_a_port_in_use_is_an_error(start: Start) -> None:
    """Two servers on one port would share the clients between them."""
    client = await start()
    port = int(client.server.addresses[0].split(":")[1])
    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        await start(listeners=[Listener("127.0.0.1", port)])
    with socket.create_connection(("127.0.0.1", port)):
        pass


async def test_its_end_does_not_wait_for_clients_that_say_nothing_more() -> None:
    """Their connections outlive the server as half-closed sockets, which a later test then finds unclosed."""

    def asked(address: str) -> ssl.SSLSocket:
        host, port = address.split(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        stream = context.wrap_socket(socket.create_connection((host, int(port)), 60))
        stream.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.recv(1 << 16).startswith(b"HTTP/1.1 ")
        return stream

    async with serve((Listener("127.0.0.1"),)) as server:
        stream = await asyncio.to_thread(asked, server.addresses[0])
    with stream, socket.socket(fileno=os.dup(stream.fileno())) as beneath:
        beneath.setblocking(False)
        while beneath.recv(1 << 16):  # BlockingIOError where nobody has ended it
            pass
