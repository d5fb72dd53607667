"""A reverse proxy before the API server that refuses history: ``python -m watcher.lab.forgetting --listen …``.

Old API servers, and proxies in front of others, answer a watch that resumes from a version which they no longer know by
HTTP status 410; today's kube-apiserver says 200 and then sends an ERROR event. This one passes everything on, over
HTTP/1.1, but to each client the history before its first request here is lost. It writes to the cluster at that
request, so that whatever version the client knows is older. SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    TCPConnector,
    WSMsgType,
    WSServerHandshakeError,
    web,
)

from watcher.lab.control_plane.listeners import Listener, tls
from watcher.lab.control_plane.statuses import ApiError, expired

NAMESPACE = "default"
VISITS = "visits"
"""The ConfigMap that is written to; no client watches it."""
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Of one connection, not of the request (RFC 9110, 7.6.1)."""
_HANDSHAKE = frozenset(
    ("sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol")
)
"""Agreed on anew with the API server."""
_SECONDS = 10.0
"""For the requests of its own."""
_LAST_WORDS_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Upstream:
    """The API server, and who we are to it."""

    address: str
    port: int
    token: str


WebSocket = web.WebSocketResponse | ClientWebSocketResponse


def resumes_from(query: Mapping[str, str]) -> int | None:
    """The version whose history a request asks for; None where it asks for none, or for nothing that is a version.

    ``0`` and nothing at all mean the present state, and so does a watch that wants the state first.
    """
    truths = {name: query.get(name, "").lower() not in ("", "0", "false") for name in ("watch", "sendInitialEvents")}
    version = query.get("resourceVersion", "")
    if not truths["watch"] or truths["sendInitialEvents"] or not (version.isascii() and version.isdigit()):
        return None
    return int(version) or None


class Forgetting:
    """The proxy's requests; ``session`` leads to the API server. ``failed`` is told what makes it useless."""

    def __init__(self, upstream: Upstream, session: ClientSession, failed: Callable[[BaseException], None]) -> None:
        self._upstream = upstream
        self._session = session
        self._failed = failed
        self._oldest: dict[str, asyncio.Task[int]] = {}
        """By client address: the version at its first request."""

    def application(self) -> web.Application:
        made = web.Application()
        made.router.add_route("*", "/{tail:.*}", self._serve)
        return made

    async def prepare(self) -> None:
        """Makes the object that it writes to. Raises ConnectionError when refused."""
        await self._own("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", {"metadata": {"name": VISITS}}, 201, 409)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        client = request.remote or ""
        if client not in self._oldest:
            self._oldest[client] = asyncio.create_task(self._visit(client))
        # Shielded: that this request is given up is no reason for the client's other ones to know nothing.
        oldest = await asyncio.shield(self._oldest[client])
        wanted = resumes_from(request.query)
        if wanted is not None and wanted < oldest:
            return _status(expired(wanted, oldest))
        try:
            if "upgrade" in request.headers.get("Connection", "").lower():
                return await self._web_socket(request)
            answer = await self._ask(request)
        except ClientError as error:
            return _status(ApiError(502, "BadGateway", f"the API server does not answer: {error}"))
        async with answer:
            return await _pass_on(request, answer)

    async def _visit(self, client: str) -> int:
        """Writes, and so brings a new version about."""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{VISITS}"
        try:
            written = await self._own(
                "PATCH", path, {"data": {"client": client, "number": str(len(self._oldest))}}, 200
            )
            return int(written["metadata"]["resourceVersion"])
        except Exception as error:
            self._failed(error)
            raise

    async def _ask(self, request: web.Request) -> ClientResponse:
        return await self._session.request(
            request.method,
            self._there(request),
            headers=_end_to_end(request, _HOP_BY_HOP),
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        )

    async def _web_socket(self, request: web.Request) -> web.StreamResponse:
        protocols = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if each]
        headers = _end_to_end(request, _HOP_BY_HOP | _HANDSHAKE)
        try:
            there = await self._session.ws_connect(
                self._there(request), headers=headers, protocols=protocols, max_msg_size=0
            )
        except WSServerHandshakeError as error:
            return web.Response(status=error.status, text=error.message)
        async with there:
            here = web.WebSocketResponse(protocols=protocols, max_msg_size=0)
            await here.prepare(request)
            passing = [asyncio.create_task(_pass_frames(*ends)) for ends in ((here, there), (there, here))]
            try:
                await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in passing:
                    task.cancel()
                await asyncio.gather(*passing, return_exceptions=True)
            await here.close()
            return here

    def _there(self, request: web.Request) -> str:
        return str(request.url.with_scheme("https").with_host(self._upstream.address).with_port(self._upstream.port))

    async def _own(self, method: str, path: str, body: dict[str, object], *expected: int) -> dict[str, Any]:
        """Raises ConnectionError for any other answer."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        async with self._session.request(
            method,
            f"https://{self._upstream.address}:{self._upstream.port}{path}",
            data=json.dumps(body),
            headers={"Authorization": f"Bearer {self._upstream.token}", "Content-Type": kind},
            timeout=ClientTimeout(total=_SECONDS),
        ) as answer:
            if answer.status not in expected:
                raise ConnectionError(f"{method} {path}: {answer.status} {await answer.text()}")
            read: dict[str, Any] = await answer.json()
            return read


async def _pass_on(request: web.Request, answer: ClientResponse) -> web.StreamResponse:
    """As it comes. What breaks off there must not look whole here: an error ends the connection, without last chunk."""
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in _HOP_BY_HOP:
            response.headers.add(name, value)
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


async def _pass_frames(source: WebSocket, sink: WebSocket) -> None:
    """Until the source says no more. Pings are each side's own affair."""
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)


def _end_to_end(request: web.Request, left_out: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in left_out}


def _status(error: ApiError) -> web.Response:
    return web.json_response(error.body, status=error.code)


def parser() -> argparse.ArgumentParser:
    this = argparse.ArgumentParser(prog="python -m watcher.lab.forgetting", description=__doc__, allow_abbrev=False)
    this.add_argument("--listen", type=_place, required=True, metavar="ADDRESS:PORT")
    this.add_argument("--upstream", type=_place, required=True, metavar="ADDRESS:PORT", help="the API server")
    this.add_argument("--authority", type=Path, required=True, help="PEM file: who verifies the API server")
    this.add_argument("--certificate", type=Path, required=True, help="PEM file: the API server's serving certificate")
    this.add_argument("--key", type=Path, required=True, help="PEM file: the certificate's key")
    this.add_argument("--token-file", type=Path, required=True, help="holds a token that may write to ConfigMaps")
    return this


def _place(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


async def run(arguments: argparse.Namespace) -> None:
    """Serves until SIGTERM. Raises what makes it useless: OSError, ClientError, ConnectionError."""
    stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(error: BaseException | None = None) -> None:
        if not stop.done():
            stop.set_result(None) if error is None else stop.set_exception(error)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    trusted = ssl.create_default_context(cafile=arguments.authority)
    address, port = arguments.upstream
    upstream = Upstream(address, port, arguments.token_file.read_text().strip())
    # Each watch holds a connection; compressed bodies go through as they are.
    connector = TCPConnector(limit=0, ssl=trusted)
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=None), auto_decompress=False) as session:
        forgetting = Forgetting(upstream, session, end)
        await forgetting.prepare()
        runner = web.AppRunner(
            forgetting.application(),
            access_log=None,
            handler_cancellation=True,  # or a watch would outlive its client
            tcp_keepalive=False,  # the server side of most clouds sends no probes
            shutdown_timeout=_LAST_WORDS_SECONDS,
        )
        await runner.setup()
        try:
            context = tls(arguments.certificate, arguments.key, http1_only=True)
            await web.SockSite(runner, Listener(*arguments.listen).open(), ssl_context=context).start()
            await stop
        finally:
            await runner.cleanup()


def main() -> int:
    try:
        asyncio.run(run(parser().parse_args()))
    except (OSError, ClientError) as error:
        print(f"the proxy without history cannot go on: {error}", file=sys.stderr)  # noqa: T201
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
