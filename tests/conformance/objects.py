"""Probes: ConfigMaps and Namespaces written and read one at a time."""

from __future__ import annotations

import base64

from tests.conformance.client import STRATEGIC_PATCH, Json
from tests.conformance.probe import DIFFERS, Plane, config_map, probe

_ONE = {"creationTimestamp": "now", "name": "one", "namespace": "objects-life", "uid": "id 1"}


def _stored(version: int, **data: str) -> Json:
    found: Json = {"apiVersion": "v1", "kind": "ConfigMap"}
    found |= {"metadata": _ONE | {"resourceVersion": f"version {version}"}}
    return found | ({"data": data} if data else {})


@probe(
    {
        "created": {"status": 201, "body": _stored(1, v="1")},
        "read": {"status": 200, "body": _stored(1, v="1")},
        "put": {"status": 200, "body": _stored(2, v="2", w="2")},
        "patched": {"status": 200, "body": _stored(3, v="3", x="3")},
        "deleted": {
            "status": 200,
            "body": {
                "apiVersion": "v1",
                "details": {"kind": "configmaps", "name": "one", "uid": "id 1"},
                "kind": "Status",
                "metadata": {},
                "status": "Success",
            },
        },
        "gone": {
            "status": 404,
            "body": {
                "apiVersion": "v1",
                "code": 404,
                "details": {"kind": "configmaps", "name": "one"},
                "kind": "Status",
                "message": 'configmaps "one" not found',
                "metadata": {},
                "reason": "NotFound",
                "status": "Failure",
            },
        },
    }
)
async def a_config_maps_life(plane: Plane) -> Json:
    """Otherwise a client that reads a field of the object, or its version, sees another world than a real cluster."""
    maps = await plane.maps("objects-life")
    one = f"{maps}/one"
    return {
        "created": await plane.api.create(maps, config_map(v="1")),
        "read": await plane.api.get(one),
        "put": await plane.api.put(one, config_map(v="2", w="2")),
        "patched": await plane.api.patch(one, {"data": {"v": "3", "w": None, "x": "3"}}),
        "deleted": await plane.api.delete(one),
        "gone": await plane.api.get(one),
    }


@probe({"another": True, "later": True})
async def a_name_used_again_is_another_object(plane: Plane) -> Json:
    """Otherwise a client takes a new object for the old one."""
    maps = await plane.maps("objects-again")
    first = await plane.api.create(maps, config_map())
    await plane.api.delete(f"{maps}/one")
    second = await plane.api.create(maps, config_map())
    return {
        "another": first.body["metadata"]["uid"] != second.body["metadata"]["uid"],
        "later": second.revision > first.revision + 1,  # the deletion has a version, too
    }


_MISSING = {"status": 404, "code": 404, "reason": "NotFound", "name": "none", "kind": "configmaps"}


@probe({"get": _MISSING, "put": _MISSING, "patch": _MISSING, "delete": _MISSING})
async def an_object_that_is_not_there(plane: Plane) -> Json:
    """Otherwise a client that creates what it does not find, or ignores what is gone, decides wrongly."""
    none = await plane.maps("objects-missing") + "/none"
    return {
        "get": (await plane.api.get(none)).verdict,
        "put": (await plane.api.put(none, config_map("none"))).verdict,
        "patch": (await plane.api.patch(none, {"data": {}})).verdict,
        "delete": (await plane.api.delete(none)).verdict,
    }


@probe(
    {
        "create": {"status": 404, "code": 404, "reason": "NotFound", "name": "nowhere", "kind": "namespaces"},
        "get": _MISSING,
        "list": 200,
        "get it": {"status": 404, "code": 404, "reason": "NotFound", "name": "nowhere", "kind": "namespaces"},
    }
)
async def a_namespace_that_is_not_there(plane: Plane) -> Json:
    """Otherwise an object lies in no namespace, or a client of an empty namespace is told of an error."""
    maps = "/api/v1/namespaces/nowhere/configmaps"
    return {
        "create": (await plane.api.create(maps, config_map())).verdict,
        "get": (await plane.api.get(f"{maps}/none")).verdict,
        "list": (await plane.api.get(maps)).verdict,
        "get it": (await plane.api.get("/api/v1/namespaces/nowhere")).verdict,
    }


def _conflict(message: str, reason: str = "Conflict", name: str = "one", kind: str = "configmaps") -> Json:
    details = {"kind": kind, "name": name}
    status = {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 409}
    return {"status": 409, "body": status | {"details": details, "message": message, "reason": reason}}


_MODIFIED = (
    'Operation cannot be fulfilled on configmaps "one": the object has been modified; '
    "please apply your changes to the latest version and try again"
)


@probe(
    {
        "twice": _conflict('configmaps "one" already exists', "AlreadyExists"),
        "namespace twice": _conflict('namespaces "default" already exists', "AlreadyExists", "default", "namespaces"),
        "stale put": _conflict(_MODIFIED),
        "stale patch": _conflict(_MODIFIED),
        "present put": 200,
        "put without a version": 200,
        "still there": {"v": "3"},
    }
)
async def conflicts(plane: Plane) -> Json:
    """Otherwise of two writers one loses its change unnoticed, or a client retries for ever."""
    maps = await plane.maps("objects-conflict")
    one = f"{maps}/one"
    first = await plane.api.create(maps, config_map(v="1"))
    await plane.api.patch(one, {"data": {"v": "2"}})
    stale = {"metadata": {"name": "one", "resourceVersion": str(first.revision)}, "data": {"v": "stale"}}
    found: Json = {
        "twice": await plane.api.create(maps, config_map()),
        "namespace twice": await plane.api.create("/api/v1/namespaces", config_map("default")),
        "stale put": await plane.api.put(one, stale),
        "stale patch": await plane.api.patch(one, stale),
    }
    present = await plane.api.get(one)
    stale["metadata"]["resourceVersion"] = str(present.revision)
    found["present put"] = (await plane.api.put(one, stale)).verdict
    found["put without a version"] = (await plane.api.put(one, config_map(v="3"))).verdict
    return found | {"still there": (await plane.api.get(one)).body["data"]}


_PRECONDITION = {"status": 409, "code": 409, "reason": "Conflict", "name": "one", "kind": "configmaps"}


_PRECONDITION_OF_DELETE = _PRECONDITION | {"kind": "ConfigMap"}


@probe(
    {
        "put": _PRECONDITION,
        "delete": _PRECONDITION_OF_DELETE,
        "delete of a version": _PRECONDITION_OF_DELETE,
        "right": 200,
    }
)
async def preconditions(plane: Plane) -> Json:
    """Otherwise a client deletes the object that has taken the place of the one it meant."""
    maps = await plane.maps("objects-precondition")
    one = f"{maps}/one"
    made = await plane.api.create(maps, config_map(v="1"))
    other = "00000000-0000-0000-0000-000000000000"
    uid = made.body["metadata"]["uid"]
    return {
        "put": (await plane.api.put(one, {"metadata": {"name": "one", "uid": other}})).verdict,
        "delete": (await plane.api.delete(one, {"preconditions": {"uid": other}})).verdict,
        "delete of a version": (await plane.api.delete(one, {"preconditions": {"resourceVersion": "1"}})).verdict,
        "right": (await plane.api.delete(one, {"preconditions": {"uid": uid}})).verdict,
    }


@probe({"put": True, "patch": True, "change": False})
async def a_write_that_changes_nothing_makes_no_version(plane: Plane) -> Json:
    """Otherwise a touch that repeats itself wakes every watcher."""
    maps = await plane.maps("objects-same")
    one = f"{maps}/one"
    made = await plane.api.create(maps, config_map(v="1"))
    answers = {
        "put": await plane.api.put(one, config_map(v="1")),
        "patch": await plane.api.patch(one, {"data": {"v": "1"}}),
        "change": await plane.api.patch(one, {"data": {"v": "2"}}),
    }
    return {what: answer.revision == made.revision for what, answer in answers.items()}


@probe(
    {
        "strategic": {"v": "2", "x": "2"},
        "labels": {"l": "2"},
        "annotations": {"a": "2"},
        "null in data": {"v": ""},
        "binary": {"b": "AAEC"},
        "unknown fields": ["apiVersion", "data", "kind", "metadata"],
    }
)
async def what_is_kept(plane: Plane) -> Json:
    """Otherwise a client's field is lost, or one comes back that a real cluster does not keep."""
    maps = await plane.maps("objects-kept")
    one = f"{maps}/one"
    await plane.api.create(maps, config_map(v="1", w="1"))
    metadata = {"labels": {"l": "2"}, "annotations": {"a": "2"}}
    strategic = await plane.api.patch(
        one, {"metadata": metadata, "data": {"w": None, "v": "2", "x": "2"}}, STRATEGIC_PATCH
    )
    binary = base64.b64encode(b"\x00\x01\x02").decode()
    null = await plane.api.create(maps, {"metadata": {"name": "null"}, "data": {"v": None}})
    unknown = await plane.api.create(maps, config_map("unknown", v="1") | {"spec": {"x": 1}})
    return {
        "strategic": strategic.body.get("data"),
        "labels": strategic.body["metadata"].get("labels"),
        "annotations": strategic.body["metadata"].get("annotations"),
        "null in data": null.body.get("data"),
        "binary": (
            await plane.api.create(maps, {"metadata": {"name": "binary"}, "binaryData": {"b": binary}})
        ).body.get("binaryData"),
        "unknown fields": sorted(unknown.body),
    }


@probe(
    {
        "created": "Active",
        "label": "objects-spaces",
        "patched": {"team": "x"},
        "finalizers": ["kubernetes"],
        "dotted": 422,
    }
)
async def a_namespace(plane: Plane) -> Json:
    """Otherwise a client that selects namespaces by their label, or waits for Active, waits for ever."""
    made = await plane.api.create("/api/v1/namespaces", {"metadata": {"name": "objects-spaces"}})
    patched = await plane.api.patch("/api/v1/namespaces/objects-spaces", {"metadata": {"labels": {"team": "x"}}})
    labels = patched.body["metadata"]["labels"]
    name_label = labels.pop("kubernetes.io/metadata.name")
    return {
        "created": made.body.get("status", {}).get("phase"),
        "finalizers": made.body.get("spec", {}).get("finalizers"),
        "label": name_label,
        "patched": labels,
        "dotted": (await plane.api.create("/api/v1/namespaces", config_map("dot.ted"))).status,
    }


@probe(["default", "kube-node-lease", "kube-public", "kube-system"])
async def namespaces_of_a_new_cluster(plane: Plane) -> Json:
    """Otherwise a client that looks for kube-system finds none."""
    names = [item["metadata"]["name"] for item in (await plane.api.get("/api/v1/namespaces")).body["items"]]
    return [name for name in names if name == "default" or name.startswith("kube-")]


@probe(DIFFERS)
async def deleting_a_namespace(plane: Plane) -> Json:
    """Otherwise a test that tidies up its namespace waits for what never comes, or too short."""
    maps = await plane.maps("objects-deletion")
    await plane.api.create(maps, config_map())
    space = maps.removesuffix("/configmaps")
    deleted = await plane.api.delete(space)
    return {
        "answer": deleted.verdict,
        "phase": deleted.body.get("status", {}).get("phase"),
        "namespace": (await plane.api.get(space)).status,
        "its object": (await plane.api.get(f"{maps}/one")).status,
        "a new object": (await plane.api.create(maps, config_map("two"))).status,
    }


@probe(DIFFERS)
async def managed_fields(plane: Plane) -> Json:
    """Otherwise server-side apply is believed to work."""
    maps = await plane.maps("objects-managed")
    made = await plane.api.create(maps, config_map(v="1"))
    return "managedFields" in made.body["metadata"]
