"""Which requests ask for history, as Kubernetes' API conventions have it, and how all others are passed on."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from watcher.lab.control_plane.certificates import Authority
from watcher.lab.control_plane.listeners import tls
from watcher.lab.forgetting import NAMESPACE, VISITS, Forgetting, Upstream, resumes_from

NOW = "100"
Client = TestClient[web.Request, web.Application]


@pytest.mark.parametrize(
    ("query", "version"),
    [
        ({"watch": "true", "resourceVersion": "17"}, 17),
        ({"watch": "1", "resourceVersion": "17", "allowWatchBookmarks": "true"}, 17),
        ({"watch": "true", "resourceVersion": "17", "sendInitialEvents": "false"}, 17),
    ],
)
def test_a_watch_from_a_version_resumes(query: dict[str, str], version: int) -> None:
    """What is not refused here would go on as if history were there."""
    assert resumes_from(query) == version


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"resourceVersion": "17"},
        {"watch": "false", "resourceVersion": "17"},
        {"watch": "0", "resourceVersion": "17"},
        {"watch": "true"},
        {"watch": "true", "resourceVersion": ""},
        {"watch": "true", "resourceVersion": "0"},
        {"watch": "true", "resourceVersion": "17", "sendInitialEvents": "true"},
        {"watch": "true", "resourceVersion": "nonsense"},
    ],
)
def test_who_wants_the_present_state_does_not_resume(query: dict[str, str]) -> None:
    """A client that begins anew, or only lists, would be refused for ever."""
    assert resumes_from(query) is None


async def half(request: web.Request) -> web.StreamResponse:
    """A chunked answer that breaks off."""
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b"half\n")
    assert request.transport is not None
    request.transport.close()
    return response


async def echo(request: web.Request) -> web.StreamResponse:
    there = web.WebSocketResponse(protocols=("v1.json",))
    await there.prepare(request)
    await there.send_str(f"{request.headers['Authorization']} {await there.receive_str()}")
    await there.close()
    return there


async def packed(request: web.Request) -> web.Response:
    body = gzip.compress(request.query_string.encode())
    return web.Response(body=body, status=404, headers={"Content-Encoding": "gzip", "X-Audit": "1"})


async def visited(request: web.Request) -> web.Response:
    """Only who may write gets a version."""
    if request.headers["Authorization"] != "Bearer sesame":
        return web.json_response({}, status=403)
    return web.json_response({"metadata": {"resourceVersion": NOW}})


@asynccontextmanager
async def passing(tmp_path: Path, token: str, failed: Callable[[BaseException], None]) -> AsyncIterator[Client]:
    """A client of a proxy before an API server that knows four requests."""
    authority, certificate, key = Authority.make(), tmp_path / "serving.crt", tmp_path / "serving.key"
    authority.issue(["127.0.0.1"], certificate, key)
    application = web.Application()
    application.router.add_patch(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{VISITS}", visited)
    for path, handler in (("/half", half), ("/echo", echo), ("/packed", packed)):
        application.router.add_get(path, handler)
    upstream = TestServer(application, scheme="https")
    await upstream.start_server(ssl=tls(certificate, key, http1_only=True))
    assert upstream.port is not None
    trusted = ssl.create_default_context(cadata=authority.ca_pem)
    connector = aiohttp.TCPConnector(ssl=trusted)
    try:
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            forgetting = Forgetting(Upstream("127.0.0.1", upstream.port, token), session, failed)
            async with TestClient(TestServer(forgetting.application())) as client:
                yield client
    finally:
        await upstream.close()


def fail(error: BaseException) -> None:
    raise AssertionError(error)


async def test_what_breaks_off_there_breaks_off_here(tmp_path: Path) -> None:
    """A last chunk of the proxy's own would turn an error into the regular end of a watch."""
    async with passing(tmp_path, "sesame", fail) as client, client.get("/half") as answer:
        assert await answer.content.readline() == b"half\n"
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()


async def test_a_web_socket_is_passed_on(tmp_path: Path) -> None:
    """fabric8 watches by one, and would never see an event."""
    headers = {"Authorization": "Bearer of the client"}
    async with (
        passing(tmp_path, "sesame", fail) as client,
        client.ws_connect("/echo", headers=headers, protocols=("v1.json",)) as socket,
    ):
        assert socket.protocol == "v1.json"
        await socket.send_str("hello")
        assert await socket.receive_str() == "Bearer of the client hello"
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_web_socket_that_resumes_is_refused(tmp_path: Path) -> None:
    """Its handshake is a request like any other."""
    async with passing(tmp_path, "sesame", fail) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/echo?watch=true&resourceVersion=99")
        assert refused.value.status == 410


async def test_answers_come_as_they_are(tmp_path: Path) -> None:
    """Status, headers, coding and the query's own escapes: clients decide by all of them."""
    async with passing(tmp_path, "sesame", fail) as client:
        answer = await client.get("/packed?fieldSelector=metadata.name%3Dtrigger&labelSelector=a%20in%20(b)")
        assert (answer.status, answer.headers["X-Audit"], answer.headers["Content-Encoding"]) == (404, "1", "gzip")
        assert "fieldSelector=metadata.name%3Dtrigger" in await answer.text()


async def test_a_proxy_that_may_not_write_says_so_and_is_useless(tmp_path: Path) -> None:
    """Without a version of its own it would refuse nobody, and the fault would not happen."""
    failures: list[BaseException] = []
    async with passing(tmp_path, "another token", failures.append) as client:
        assert (await client.get("/packed")).status == 500
    assert len(failures) == 1
    assert "403" in str(failures[0])
