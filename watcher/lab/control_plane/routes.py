"""The HTTP side: which request is answered by what. aiohttp speaks HTTP; here are only Kubernetes' paths and bodies."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from watcher.lab.control_plane import discovery
from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES, Json, Resource, check_strategic
from watcher.lab.control_plane.options import ListOptions, parse, revision
from watcher.lab.control_plane.statuses import (
    ApiError,
    NotServed,
    bad_request,
    from_the_future,
    too_large,
    unauthorized,
    unsupported,
)
from watcher.lab.control_plane.store import Store, Version
from watcher.lab.control_plane.watches import Reason, Timers, Watches

Report = Callable[[dict[str, object]], None]
"""Takes what the outside should know: a value of simple types."""

BODY_LIMIT_OCTETS = 3 * 1024 * 1024
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_FOREIGN = (
    "application/apply-patch+cbor",
    "application/apply-patch+yaml",
    "application/cbor",
    "application/json-patch+json",
    "application/vnd.kubernetes.protobuf",
    "application/yaml",
)
"""Bodies that only a real kube-apiserver reads; all others, it does not read either."""

_log = logging.getLogger(__name__)
Answer = Callable[[web.Request, Resource], Awaitable[web.StreamResponse]]


class Api:
    """The API of one store. ``token`` is the one bearer token that is let in."""

    def __init__(self, store: Store, *, token: str, timers: Timers, watch_limit: int, report: Report) -> None:
        self._store = store
        self._token = token.encode()
        self._timers = timers
        self._report = report
        self.watches = Watches(store, timers, limit=watch_limit)

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard], client_max_size=BODY_LIMIT_OCTETS)
        routes = application.router
        for path in _PUBLIC[:3]:
            routes.add_get(path, self._healthy)
        for path in _PUBLIC[3:]:  # kr8s asks with the slash
            routes.add_get(path, self._show(discovery.SERVER_VERSION))
        routes.add_get("/apis", self._show(discovery.GROUPS))
        routes.add_get("/api/v1", self._show(discovery.RESOURCES))
        routes.add_get("/api", self._versions)
        self._add(application, NAMESPACES, "/api/v1/namespaces")
        self._add(application, CONFIG_MAPS, "/api/v1/namespaces/{namespace}/configmaps")
        routes.add_get("/api/v1/configmaps", self._for(CONFIG_MAPS, self._list), allow_head=False)
        routes.add_route("*", "/{tail:.*}", self._unserved)
        return application

    def _add(self, application: web.Application, resource: Resource, path: str) -> None:
        routes = application.router
        routes.add_get(path, self._for(resource, self._list), allow_head=False)
        routes.add_post(path, self._for(resource, self._create))
        one = path + "/{name}"
        routes.add_get(one, self._for(resource, self._get), allow_head=False)
        routes.add_put(one, self._for(resource, self._update))
        routes.add_patch(one, self._for(resource, self._patch))
        routes.add_delete(one, self._for(resource, self._delete))

    @staticmethod
    def _for(resource: Resource, answer: Answer) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await answer(request, resource)

        return handle

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets in who has the token, and turns every error into a ``Status``."""
        peer = _peer(request)
        try:
            self._authorize(request)
            if "upgrade" in request.headers.get("Connection", "").lower():
                raise NotServed(f"{request.headers.get('Upgrade', 'upgraded')} connections")
            _check_accept(request.headers.getall("Accept", []))
            if any(request.query.getall("dryRun", [])):
                raise NotServed("dry runs")
            return await handler(request)
        except NotServed as error:
            self._report({"event": "unserved", **peer, "what": error.what})
            return _status(error)
        except ApiError as error:
            return _status(error)
        except web.HTTPRequestEntityTooLarge:
            return _status(too_large(BODY_LIMIT_OCTETS))
        except Exception as error:
            _log.exception("%s %s", request.method, request.path_qs)
            return _status(ApiError(500, "InternalError", f"Internal error occurred: {error!r}"))

    def _authorize(self, request: web.Request) -> None:
        if "Authorization" not in request.headers and request.path in _PUBLIC:
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
            raise unauthorized()

    async def _healthy(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    @staticmethod
    def _show(value: Mapping[str, Any]) -> Handler:
        async def show(_request: web.Request) -> web.StreamResponse:
            return _json(value)

        return show

    async def _versions(self, request: web.Request) -> web.Response:
        return _json(discovery.versions(request.host))

    async def _unserved(self, request: web.Request) -> web.Response:
        raise NotServed(f"{request.method} {request.path}")

    async def _list(self, request: web.Request, resource: Resource) -> web.StreamResponse:
        options = parse(request.query, resource, request.match_info.get("namespace"))
        if options.watch:
            ended = partial(self._watch_ended, _peer(request))
            return await self.watches.serve(request, resource, options, ended=ended)
        await self._reach(options.revision)
        if options.exact and options.revision != self._store.revision:
            raise NotServed("lists of an exact older version")
        items = self._selected(resource, options)
        metadata = f'{{"resourceVersion":"{self._store.revision}"}}'
        head = f'{{"kind":"{resource.kind}List","apiVersion":"v1","metadata":{metadata},"items":['
        return _encoded(head.encode() + b",".join(items) + b"]}")  # the items are JSON already

    def _selected(self, resource: Resource, options: ListOptions) -> list[bytes]:
        return [v.encoded_in_list for v in self._store.versions(resource) if options.selector.matches(v)]

    async def _reach(self, wanted: int | None) -> None:
        """Returns once the state is not older than ``wanted``; a version that does not come into being is a 504."""
        if wanted is not None and wanted > self._store.revision:
            await asyncio.sleep(self._timers.freshness_seconds)
            if wanted > self._store.revision:
                raise from_the_future(wanted, self._store.revision)

    async def _get(self, request: web.Request, resource: Resource) -> web.Response:
        await self._reach(revision(request.query.get("resourceVersion", "")))
        return _encoded(self._store.get(resource, *_key(request)).encoded)

    async def _create(self, request: web.Request, resource: Resource) -> web.Response:
        body = await _body(request, "application/json")
        return _encoded(self._store.create(resource, request.match_info.get("namespace", ""), body).encoded, 201)

    async def _update(self, request: web.Request, resource: Resource) -> web.Response:
        body = await _body(request, "application/json")
        return _encoded(self._store.update(resource, *_key(request), body).encoded)

    async def _patch(self, request: web.Request, resource: Resource) -> web.Response:
        patch = await _body(request, _MERGE_PATCH, _STRATEGIC_PATCH)
        if request.content_type == _STRATEGIC_PATCH:
            check_strategic(patch)
        return _encoded(self._store.patch(resource, *_key(request), patch).encoded)

    async def _delete(self, request: web.Request, resource: Resource) -> web.Response:
        options = await _body(request, "application/json") if request.can_read_body else {}
        if options.get("dryRun"):
            raise NotServed("dry runs")
        deleted = self._store.delete(resource, *_key(request), options.get("preconditions") or {})
        return _json(_deletion(resource, deleted))

    def _watch_ended(self, peer: dict[str, object], reason: Reason) -> None:
        self._report({"event": "watch-ended", **peer, "reason": reason})


def _key(request: web.Request) -> tuple[str, str]:
    return request.match_info.get("namespace", ""), request.match_info["name"]


def _deletion(resource: Resource, deleted: Version) -> Json:
    """What a delete answers: a namespace shows itself as going, of anything else only a success is told."""
    if resource is NAMESPACES:
        return deleted.value | {"status": {"phase": "Terminating"}}
    details = {"name": deleted.name, "kind": resource.plural, "uid": deleted.uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


async def _body(request: web.Request, *types: str) -> Json:
    # Without a Content-Type a body is JSON, for kube-apiserver as well.
    if "Content-Type" in request.headers and request.content_type not in types:
        if request.content_type in _FOREIGN:
            raise NotServed(f"{request.method} with a body of {request.content_type}")
        raise unsupported(request.content_type)
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise bad_request(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body must be a JSON object")
    return body


def _check_accept(headers: list[str]) -> None:
    """JSON of whole objects is all there is: no protobuf, no tables, no metadata alone."""
    ranges = [[part.strip() for part in text.split(";")] for header in headers for text in header.split(",")]
    for media, *parameters in ranges:
        if media in ("application/json", "application/*", "*/*") and not any(p.startswith("as=") for p in parameters):
            return
    if headers:
        raise NotServed(f"answers as {', '.join(headers)}")


def _peer(request: web.Request) -> dict[str, object]:
    """Where a request comes from: to be asked at its beginning, since a lost connection forgets it."""
    name = request.transport.get_extra_info("peername") if request.transport else None
    return {"peer": name[0], "port": name[1]} if name else {"peer": None, "port": None}


def _json(value: Mapping[str, Any], status: int = 200) -> web.Response:
    return _encoded(json.dumps(value, separators=(",", ":")).encode(), status)


def _encoded(body: bytes, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-cache, private"}
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _status(error: ApiError) -> web.Response:
    response = _json(error.body, error.code)
    if error.details and "retryAfterSeconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return response
