"""Probes: who is let in, and what a wrong request is answered with."""

from __future__ import annotations

from typing import Any

from tests.conformance.client import Json
from tests.conformance.probe import Plane, config_map, probe

_WRONG = "wrong"
_UNAUTHORIZED = {
    "status": 401,
    "body": {
        "apiVersion": "v1",
        "code": 401,
        "kind": "Status",
        "message": "Unauthorized",
        "metadata": {},
        "reason": "Unauthorized",
        "status": "Failure",
    },
}


@probe({"read": _UNAUTHORIZED, "watch": _UNAUTHORIZED, "version": _UNAUTHORIZED})
async def a_wrong_token(plane: Plane) -> Json:
    """Otherwise a client with a token that has run out is not told to get another."""
    return {
        "read": await plane.api.request("GET", "/api/v1/namespaces", token=_WRONG),
        "watch": await plane.api.request(
            "GET", "/api/v1/namespaces", query={"watch": "1", "timeoutSeconds": "1"}, token=_WRONG
        ),
        "version": await plane.api.request("GET", "/version", token=_WRONG),
    }


@probe({"/version": 200, "/version/": 200, "/healthz": [200, "ok"], "/livez": [200, "ok"], "/readyz": [200, "ok"]})
async def what_needs_no_token(plane: Plane) -> Json:
    """Otherwise a health check from outside takes a healthy server for a dead one."""
    found: Json = {}
    for path in ("/version", "/version/"):
        found[path] = (await plane.api.request("GET", path, token="")).status
    for path in ("/healthz", "/livez", "/readyz"):
        answer = await plane.api.request("GET", path, token="")
        found[path] = [answer.status, answer.body]
    return found


def _invalid(name: str, field: str, reason: str = "FieldValueInvalid", kind: str = "ConfigMap") -> Json:
    found: Json = {"status": 422, "code": 422, "reason": "Invalid", "causes": [{"reason": reason, "field": field}]}
    return found | {"kind": kind} | ({"name": name} if name else {})


_BAD: Json = {"status": 400, "code": 400, "reason": "BadRequest"}


@probe(
    {
        "capitals": _invalid("One", "metadata.name"),
        "too long": _invalid("n" * 254, "metadata.name"),
        "slash": _invalid("a/b", "metadata.name"),
        "no name": _invalid("", "metadata.name", "FieldValueRequired"),
        "no metadata": _invalid("", "metadata.name", "FieldValueRequired"),
        "key": _invalid("one", "data[a b]"),
        "in both": _invalid("one", "data[a]"),
        "label": _invalid("one", "metadata.labels"),
        "annotation": _invalid("one", "metadata.annotations"),
        "too much": _invalid("one", "[]", "FieldValueTooLong"),
        "number": _BAD,
        "list": _BAD,
        "base64": _BAD,
        "kind": _BAD,
        "group": _BAD,
        "namespace": _BAD,
    }
)
async def objects_that_cannot_be(plane: Plane) -> Json:
    """Otherwise a client's mistake goes unnoticed here and is refused in a real cluster."""
    maps = await plane.maps("refusals-bodies")

    def one(**more: Any) -> Json:
        return {"metadata": {"name": "one"}} | more

    bodies: dict[str, Json] = {
        "capitals": config_map("One"),
        "too long": config_map("n" * 254),
        "slash": config_map("a/b"),
        "no name": {"metadata": {}},
        "no metadata": {},
        "key": one(data={"a b": "1"}),
        "in both": one(data={"a": "1"}, binaryData={"a": "AAEC"}),
        "label": {"metadata": {"name": "one", "labels": {"l": "no label!"}}},
        "annotation": {"metadata": {"name": "one", "annotations": {"no key!": "1"}}},
        "too much": one(data={"v": "x" * (1024 * 1024 + 1)}),
        "number": one(data={"v": 1}),
        "list": one(data=["v"]),
        "base64": one(binaryData={"v": "%"}),
        "kind": one(kind="Secret", apiVersion="v1"),
        "group": one(kind="ConfigMap", apiVersion="apps/v1"),
        "namespace": {"metadata": {"name": "one", "namespace": "default"}},
    }
    return {what: (await plane.api.create(maps, body)).verdict for what, body in bodies.items()}


@probe({"no JSON": 400, "a list": 400, "a string": 400, "nothing": 400, "unknown type": 415, "too large": 413})
async def bodies_that_are_no_objects(plane: Plane) -> Json:
    """Otherwise a client sees its connection break, or an error of the server's, where the mistake is its own."""
    maps = await plane.maps("refusals-raw")
    raw = {"no JSON": b"{", "a list": b"[]", "a string": b'"one"', "nothing": b""}
    found = {what: (await plane.api.request("POST", maps, raw=body)).status for what, body in raw.items()}
    odd = await plane.api.request("POST", maps, raw=b"x", headers={"Content-Type": "text/plain"})
    large = await plane.api.request("POST", maps, raw=b"{" + b" " * (3 * 1024 * 1024 + 1))
    return found | {"unknown type": odd.status, "too large": large.status}


_NO_REASON: Json = {"status": 500, "code": 500, "reason": None}
"""kube-apiserver answers some mistakes of a client like errors of its own."""


@probe(
    {
        "version on create": _NO_REASON,
        "other name": _BAD,
        "other namespace": _BAD,
        "patched name": _BAD,
        "bad version": _NO_REASON,
    }
)
async def writes_that_contradict_themselves(plane: Plane) -> Json:
    """Otherwise a client writes to another object than it names."""
    maps = await plane.maps("refusals-writes")
    one = f"{maps}/one"
    await plane.api.create(maps, config_map())
    elsewhere = {"metadata": {"name": "one", "namespace": "default"}}
    return {
        "version on create": (
            await plane.api.create(maps, {"metadata": {"name": "two", "resourceVersion": "1"}})
        ).verdict,
        "other name": (await plane.api.put(one, config_map("two"))).verdict,
        "other namespace": (await plane.api.put(one, elsewhere)).verdict,
        "patched name": (await plane.api.patch(one, {"metadata": {"name": "two"}})).verdict,
        "bad version": (await plane.api.put(one, {"metadata": {"name": "one", "resourceVersion": "x"}})).verdict,
    }
