"""The probe that resumes a watch: what it says of each kind of answer, over real TLS on loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import trustme

from watcher.programs import probe

GONE = {"kind": "Status", "code": 410, "reason": "Expired"}
STREAM = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(event: object) -> str:
    line = json.dumps(event) + "\n"
    return f"{len(line):x}\r\n{line}\r\n"


@dataclass
class Stand:
    """A server that gives one answer to one request."""

    answer: str
    port: int
    ca_pem: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Stand(request.param, listener.getsockname()[1], authority.cert_pem.bytes().decode())

        def serve() -> None:
            raw, _ = listener.accept()
            with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as stream:
                made.asked.append(stream.recv(1 << 16).decode())
                stream.sendall(made.answer.encode())
                stream.settimeout(30)
                stream.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield made
        thread.join(60)


def resume(stand: Stand, seconds: float = 30.0) -> probe.ProbeResult:
    trigger = ("cell-1", "trigger")
    return probe.resume("127.0.0.1", stand.port, stand.ca_pem, seconds, "a-token", trigger, "42")


EVENT = {"type": "MODIFIED", "object": {"metadata": {"resourceVersion": "43"}}}


@pytest.mark.parametrize(
    ("stand", "error"),
    [
        (STREAM + chunk(EVENT), None),
        (STREAM + chunk({"type": "ERROR", "object": GONE}), "410 as ERROR event"),
        ("HTTP/1.1 410 Gone\r\nContent-Length: 2\r\n\r\n{}", "410 as HTTP status"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}", "403 as HTTP status"),
        (STREAM + "0\r\n\r\n", "the watch ended without an event"),
        (STREAM + chunk(["?"]), "not an event: b'[\"?\"]\\n'"),
    ],
    indirect=["stand"],
)
def test_what_became_of_the_history(stand: Stand, error: str | None) -> None:
    """Otherwise a scenario of lost history is proven by a watch that went on, or by a refusal of another kind."""
    result = resume(stand)
    assert (result.ok, result.error) == (error is None, error)
    (asked,) = stand.asked
    assert "resourceVersion=42&" in asked.replace(" ", "&")
    assert "Authorization: Bearer a-token\r\n" in asked
    assert "watch=true" in asked


@pytest.mark.parametrize("stand", [STREAM], indirect=True)
def test_silence_is_no_answer(stand: Stand) -> None:
    """Otherwise a server that says nothing counts as one that has the history."""
    result = resume(stand, 0.5)
    assert not result.ok
    assert "imeout" in (result.error or "")
