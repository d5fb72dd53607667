"""Message protocols without their servers: what is missing, what is configured, what a broken one looks like."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from watcher import protocols
from watcher.catalog import Catalog
from watcher.errors import WatcherError
from watcher.lab import sandbox
from watcher.lab.addresses import Server
from watcher.programs import environments
from watcher.programs.environments.together import Wanted
from watcher.programs.probe import ProbeResult
from watcher.protocols import Service, Tenant, mqtt, nats
from watcher.runner import run
from watcher.updater import Trigger

NOBODY: Any = None
"""In the place of a server's process, which none of these asks."""


@contextmanager
def server(says: bytes) -> Iterator[Server]:
    """Accepts one connection after the other, says this and no more."""
    open_ones: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    made, _ = listener.accept()
                except OSError:
                    return
                open_ones.append(made)
                with suppress(ConnectionError):  # who asks has given up
                    made.sendall(says)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield Server("127.0.0.1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for each in open_ones:
            each.close()


def tenant(at: Server) -> Tenant:
    return Tenant("a/b/c#1", Trigger("cell-1"), Path("unused"), at)


def service(protocol: str, at: Server) -> Service:
    if protocol == "nats":
        return nats.NatsService(NOBODY, at, NOBODY)
    return mqtt.MqttService(NOBODY, at, NOBODY)


PROTOCOLS = pytest.mark.parametrize("protocol", ["nats", "mqtt"])


@PROTOCOLS
@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["nothing", "another's words"])
async def test_a_server_that_does_not_take_it(protocol: str, says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A touch that waits for ever stops its cell, and one that counts as taken makes every client deaf."""
    monkeypatch.setattr(nats, "PUBLISH_SECONDS", 0.5)
    monkeypatch.setattr(mqtt.published, "__defaults__", (0.5,))
    with server(says) as at:
        async with asyncio.timeout(60):
            said = await service(protocol, at).publish(tenant(at), "n")
        assert said.error is not None
        assert (said.answered, said.status) == (None, None)
        probed = await asyncio.to_thread(probe, protocol, at)
        assert not probed.ok
        assert probed.port is not None, "a probe's packets would be taken for the program's"


@PROTOCOLS
async def test_nobody_there(protocol: str) -> None:
    """The same where nobody listens: an error that says so, at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen: nobody else can meanwhile
        at = Server("127.0.0.1", taken.getsockname()[1])
        async with asyncio.timeout(60):
            said = await service(protocol, at).publish(tenant(at), "n")
        assert "refused" in (said.error or "").lower() or "Connect call failed" in (said.error or "")
        probed = await asyncio.to_thread(probe, protocol, at)
    assert (probed.ok, probed.port is not None) == (False, True)


def probe(protocol: str, at: Server) -> ProbeResult:
    return service(protocol, at).probe(tenant(at), "virtual", 0.5, since="")


def test_who_needs_what() -> None:
    """A run that only watches must neither build nor miss anybody's server."""
    assert protocols.build("watch") is None
    assert protocols.build("mqtt") is None
    wanted = protocols.build("nats")
    assert wanted is not None
    assert wanted.folder.name == "nats-server"
    assert "tool github.com/nats-io/nats-server/v2" in (wanted.folder / "go.mod").read_text()


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        ("history-lost", "no history"),
        ("server-killed", None),
        ("blackhole-kube-proxy-nftables", "kube-proxy leads to the API server"),
        ("azure-slb-server-180s", "no TCP keepalive"),
        ("history-refused", "no history"),
        ("proxy-closed", None),
        ("haproxy-20s", None),
        ("blackhole", None),
    ],
)
def test_what_only_an_api_server_has_is_left_out(scenario: str, why: str | None) -> None:
    """Else a scenario's name would stand over a cell in which its cause was not there."""
    catalog = Catalog.load()
    found = catalog.scenarios[scenario]
    for name in ("nats-py", "mqtt-aiomqtt"):
        stack = catalog.stacks[name].stack
        said = protocols.load(stack.protocol).unfit(stack, found, catalog.paths[found.path], 1)
        assert (why in (said or "")) if why else said is None


def test_what_is_missing_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Cells that were left out without a way to have them stay left out."""
    monkeypatch.setenv(environments.work.CACHE_VARIABLE, str(tmp_path))
    assert (nats.missing() or "").startswith("needs nats-server, which is not built")
    monkeypatch.setattr(sandbox, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (mqtt.missing() or "").endswith("apt-get install mosquitto")
    (tmp_path / "mosquitto").touch(mode=0o755)
    assert mqtt.missing() is None


def test_a_server_that_cannot_be_built_costs_its_own_cells_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go a run of Python's watches must go on, and who asked for NATS must learn why there is none."""
    stacks = Catalog.load().stacks
    wanted = protocols.build("nats")
    assert wanted is not None

    def build(asked: list[Wanted]) -> Mapping[Wanted, WatcherError]:
        assert wanted in asked
        return {wanted: WatcherError("there is no Go")}

    monkeypatch.setattr(environments, "is_built", lambda *_: False)
    monkeypatch.setattr(run, "build_together", build)
    both = [stacks["nats-py"], stacks["python-urllib3"]]
    not_built, missing = run._build(both, ["nats", "watch"], Console(quiet=True))
    assert not_built == {}
    assert missing == {"nats": "there is no Go"}


@pytest.mark.parametrize(("scale", "ping"), [(1, "120s"), (10, "12s"), (12, "10s")])
def test_the_servers_own_pings_keep_pace_with_the_run(scale: float, ping: str) -> None:
    """Else at scale 10 its PINGs come after the cell is over, and flows expire that it keeps alive in true time."""
    assert f'ping_interval: "{ping}"' in nats.configuration("10.0.0.1", 1, scale).splitlines()


def a_broker(listening: socket.socket) -> None:
    """Accepts one client and acknowledges what it publishes: as much of MQTT 3.1.1 as that takes."""
    with listening.accept()[0] as client:
        client.recv(1024)
        client.sendall(b"\x20\x02\x00\x00")
        message = client.recv(1024)
        topic = int.from_bytes(message[2:4])
        client.sendall(b"\x40\x02" + message[4 + topic : 6 + topic])
        client.recv(1024)


def test_a_harness_with_a_thousand_open_files() -> None:
    """Seen in a run of a thousand cells: paho's own loop never hears of an answer, and no cell could be touched."""
    with ExitStack() as opened, socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        for _ in range(1100):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        pool.submit(a_broker, listening)
        at = Server("127.0.0.1", listening.getsockname()[1])
        done = mqtt.published(at, "a-cell", "n0nce", timeout_seconds=60)
    assert (done.status, done.error) == (200, None)
