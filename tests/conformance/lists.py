"""Probes: lists, their selectors and their versions; discovery."""

from __future__ import annotations

import time

from tests.conformance.client import Json
from tests.conformance.probe import Plane, config_map, normalised, probe

EVERYWHERE = "/api/v1/configmaps"


async def _some(plane: Plane, *namespaces: str) -> list[str]:
    """Two ConfigMaps, b before a, in each of these namespaces; their paths."""
    paths = [await plane.maps(namespace) for namespace in namespaces]
    for maps in paths:
        await plane.api.create(maps, config_map("b", v="1"))
        await plane.api.create(maps, config_map("a"))
    return paths


@probe(
    {
        "kind": "ConfigMapList",
        "apiVersion": "v1",
        "fields": ["resourceVersion"],
        "names": ["lists-shape/a", "lists-shape/b"],
        "item": {
            "data": {"v": "1"},
            "metadata": {
                "creationTimestamp": "now",
                "name": "b",
                "namespace": "lists-shape",
                "resourceVersion": "version 1",
                "uid": "id 1",
            },
        },
        "up to date": True,
        "empty": [],
        "namespaces": "NamespaceList",
    }
)
async def the_shape_of_a_list(plane: Plane) -> Json:
    """Otherwise a client cannot read it, or watches from a version at which a change is lost."""
    (maps,) = await _some(plane, "lists-shape")
    listed = await plane.api.get(maps)
    return {
        "kind": listed.body["kind"],
        "apiVersion": listed.body["apiVersion"],
        "fields": sorted(listed.body["metadata"]),
        "names": listed.names,
        "item": normalised(listed.body["items"][1]),
        "up to date": listed.revision >= int(listed.body["items"][0]["metadata"]["resourceVersion"]),
        "empty": (await plane.api.get(await plane.maps("lists-empty"))).body["items"],
        "namespaces": (await plane.api.get("/api/v1/namespaces")).body["kind"],
    }


@probe(
    {
        "name": ["/a"],
        "name, two signs": ["/a"],
        "not the name": ["/b"],
        "name and namespace": ["/a"],
        "other namespace": [],
        "all of one": ["/a", "/b"],
        "a name everywhere": ["/a", "2/a"],
        "all but one": ["/a", "2/a"],
        "contradiction": [],
        "in order": ["/a", "/b", "2/a", "2/b"],
        "namespace": ["/lists-select"],
    }
)
async def field_selectors(plane: Plane) -> Json:
    """Otherwise a watcher of one object gets others, or none."""
    space = "lists-select"
    maps, _ = await _some(plane, space, f"{space}2")
    asked = {
        "name": (maps, "metadata.name=a"),
        "name, two signs": (maps, "metadata.name==a"),
        "not the name": (maps, "metadata.name!=a"),
        "name and namespace": (maps, f"metadata.name=a,metadata.namespace={space}"),
        "other namespace": (maps, f"metadata.namespace={space}2"),
        "all of one": (EVERYWHERE, f"metadata.namespace={space}"),
        "a name everywhere": (EVERYWHERE, "metadata.name=a"),
        "all but one": (EVERYWHERE, "metadata.name!=b"),
        "contradiction": (maps, "metadata.name=a,metadata.name=b"),
        "in order": (EVERYWHERE, ""),
        "namespace": ("/api/v1/namespaces", f"metadata.name={space}"),
    }
    found = {}
    for what, (path, selector) in asked.items():
        names = (await plane.api.get(path, fieldSelector=selector)).names
        found[what] = [name.removeprefix(space) for name in names if space in name]
    return found


@probe({"unknown field": 400, "namespace of a namespace": 400, "no sign": 400, "all is well": 200})
async def field_selectors_that_cannot_be(plane: Plane) -> Json:
    """Otherwise a client watches everything where it wanted one thing."""
    maps = await plane.maps("lists-selectors")
    asked = {
        "unknown field": (maps, "data.v=1"),
        "namespace of a namespace": ("/api/v1/namespaces", "metadata.namespace=x"),
        "no sign": (maps, "metadata.name"),
        "all is well": (maps, "metadata.name="),
    }
    return {what: (await plane.api.get(path, fieldSelector=text)).status for what, (path, text) in asked.items()}


_TOO_LARGE: Json = {
    "status": 504,
    "code": 504,
    "reason": "Timeout",
    "retryAfterSeconds": 1,
    "causes": [{"reason": "ResourceVersionTooLarge", "field": None}],
}


@probe(
    {
        "any": 200,
        "not older": 200,
        "not older, by its name": 200,
        "exact": 200,
        "future list": _TOO_LARGE,
        "future object": _TOO_LARGE,
        "waited": True,
    }
)
async def versions_of_lists(plane: Plane) -> Json:
    """Otherwise a client that has seen a version is shown an older state, or retries at once and for ever."""
    (maps,) = await _some(plane, "lists-versions")
    now = str((await plane.api.get(maps)).revision)
    later = str(int(now) + 1_000_000)
    found = {
        "any": (await plane.api.get(maps, resourceVersion="0")).verdict,
        "not older": (await plane.api.get(maps, resourceVersion=now)).verdict,
        "not older, by its name": (
            await plane.api.get(maps, resourceVersion=now, resourceVersionMatch="NotOlderThan")
        ).verdict,
        "exact": (await plane.api.get(maps, resourceVersion=now, resourceVersionMatch="Exact")).verdict,
    }
    began = time.monotonic()
    found["future list"] = (await plane.api.get(maps, resourceVersion=later)).verdict
    found["waited"] = 2.5 < time.monotonic() - began < 12
    found["future object"] = (await plane.api.get(f"{maps}/a", resourceVersion=later)).verdict
    return found


@probe(
    {
        "no number": 400,
        "negative": 400,
        "match without version": 422,
        "exact zero": 422,
        "unknown match": 422,
        "initial events of a list": 422,
        "watch with match": 422,
        "initial events without match": 422,
        "watch of no number": 500,
        "timeout": 400,
    }
)
async def parameters_that_do_not_go_together(plane: Plane) -> Json:
    """Otherwise a client's mistake is read as something else than a real cluster reads."""
    maps = await plane.maps("lists-parameters")
    asked = {
        "no number": {"resourceVersion": "x"},
        "negative": {"resourceVersion": "-1"},
        "match without version": {"resourceVersionMatch": "Exact"},
        "exact zero": {"resourceVersion": "0", "resourceVersionMatch": "Exact"},
        "unknown match": {"resourceVersion": "1", "resourceVersionMatch": "x"},
        "initial events of a list": {"sendInitialEvents": "true"},
        "watch with match": {"watch": "1", "resourceVersion": "1", "resourceVersionMatch": "NotOlderThan"},
        "initial events without match": {"watch": "1", "sendInitialEvents": "true"},
        "watch of no number": {"watch": "1", "resourceVersion": "x", "timeoutSeconds": "1"},
        "timeout": {"watch": "1", "timeoutSeconds": "x"},
    }
    return {what: (await plane.api.get(maps, **query)).status for what, query in asked.items()}


@probe(
    {
        "/api": ["APIVersions", ["v1"]],
        "/apis": "APIGroupList",
        "release": ["1", "36"],
        "configmaps": {"kind": "ConfigMap", "namespaced": True, "shortNames": ["cm"], "singularName": "configmap"},
        "namespaces": {"kind": "Namespace", "namespaced": False, "shortNames": ["ns"], "singularName": "namespace"},
        "verbs": {"configmaps": True, "namespaces": True},
    }
)
async def discovery(plane: Plane) -> Json:
    """Otherwise kubectl and dynamic clients do not find what is there."""
    api, groups, version, resources = [
        (await plane.api.get(path)).body for path in ("/api", "/apis", "/version", "/api/v1")
    ]
    verbs = {"create", "delete", "get", "list", "patch", "update", "watch"}
    served = {each["name"]: each for each in resources["resources"]}
    described = ("kind", "namespaced", "shortNames", "singularName")
    found = {name: {key: served[name].get(key) for key in described} for name in ("configmaps", "namespaces")}
    return found | {
        "/api": [api["kind"], api["versions"]],
        "/apis": groups["kind"],
        "release": [version["major"], version["minor"]],
        "verbs": {name: verbs <= set(served[name]["verbs"]) for name in found},
    }
