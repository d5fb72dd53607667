"""The server that programs watch while their environment is made."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.client import HTTPSConnection

import pytest

from watcher.programs.environments.stand_in import NAME, NAMESPACE, StandIn, serving

CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving() as started:
        yield started


@pytest.fixture
def connection(server: StandIn) -> Iterator[HTTPSConnection]:
    """That trusts it by what its kubeconfig says."""
    cluster = json.loads(server.kubeconfig())["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    host, _, port = cluster["server"].removeprefix("https://").rpartition(":")
    made = HTTPSConnection(host, int(port), timeout=10, context=ssl.create_default_context(cadata=authority))
    yield made
    made.close()


def events(lines: list[bytes]) -> list[tuple[str, str]]:
    read = [json.loads(line) for line in lines]
    return [(event["type"], event["object"]["data"]["nonce"]) for event in read]


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("watch=true", [("ADDED", "nonce-1"), ("MODIFIED", "nonce-2")]),
        ("watch=1&resourceVersion=0", [("ADDED", "nonce-1"), ("MODIFIED", "nonce-2")]),
        ("watch=true&resourceVersion=1", [("MODIFIED", "nonce-2")]),
    ],
)
def test_a_watch(query: str, seen: list[tuple[str, str]], connection: HTTPSConnection) -> None:
    """A program that does not get as far as a touch leaves out of the archive what it loads for one."""
    connection.request("GET", f"{CONFIG_MAPS}?fieldSelector=metadata.name%3D{NAME}&{query}")
    with connection.getresponse() as answer:
        assert answer.status == 200
        assert events([answer.readline() for _ in seen]) == seen


def test_a_list_and_what_it_does_not_know(connection: HTTPSConnection) -> None:
    """Informers list before they watch; and libraries ask for more than the contract does, and need an answer."""
    connection.request("GET", CONFIG_MAPS)
    with connection.getresponse() as answer:
        listed = json.load(answer)
    assert (listed["kind"], listed["items"][0]["metadata"]["name"]) == ("ConfigMapList", NAME)
    connection.request("GET", "/version")
    with connection.getresponse() as answer:
        assert (answer.status, json.load(answer)["kind"]) == (404, "Status")


def test_a_websocket(connection: HTTPSConnection) -> None:
    """fabric8's watch is one: without it a third of what its programs load would be missing."""
    # Key and answer are the example of RFC 6455, 1.3.
    key = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    connection.request("GET", f"{CONFIG_MAPS}?watch=true", headers=key)
    assert connection.sock is not None
    with connection.sock.makefile("rb") as stream:
        head = [stream.readline()]
        while head[-1] != b"\r\n":
            head.append(stream.readline())
        assert head[0].startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        frames = []
        for _ in range(2):
            assert stream.read(2) == b"\x81\x7e"
            frames.append(stream.read(int.from_bytes(stream.read(2), "big")))
    assert events(frames) == [("ADDED", "nonce-1"), ("MODIFIED", "nonce-2")]


def test_nothing_of_it_is_left() -> None:
    """`watcher build` would hang after its last line, or go on listening."""
    before = threading.active_count()
    with serving() as server:
        host, _, port = server.address.rpartition(":")
        cut = HTTPSConnection(host, int(port), timeout=10, context=ssl.create_default_context(cadata=server.ca_pem))
        cut.request("GET", f"{CONFIG_MAPS}?watch=true")
        cut.getresponse().readline()
        cut.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            HTTPSConnection(host, int(port), timeout=10, context=ssl.create_default_context()).connect()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        HTTPSConnection(host, int(port), timeout=10).connect()
