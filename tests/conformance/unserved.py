"""Probes: what only the real control plane serves. The embedded one must say so, never serve something else instead."""

from __future__ import annotations

from tests.conformance.client import Json
from tests.conformance.probe import DIFFERS, Plane, config_map, probe


@probe(DIFFERS)
async def label_selectors(plane: Plane) -> Json:
    """Otherwise a client that selects by label is shown everything."""
    maps = await plane.maps("unserved-labels")
    await plane.api.create(maps, {"metadata": {"name": "one", "labels": {"l": "1"}}})
    await plane.api.create(maps, config_map("two"))
    answer = await plane.api.get(maps, labelSelector="l=1")
    return answer.names if answer.status == 200 else answer.verdict


@probe(DIFFERS)
async def a_limit(plane: Plane) -> Json:
    """Otherwise a client that reads pages stops after the first."""
    maps = await plane.maps("unserved-limit")
    for name in ("a", "b", "c"):
        await plane.api.create(maps, config_map(name))
    answer = await plane.api.get(maps, limit="2")
    metadata = answer.body["metadata"]
    return {
        "names": answer.names,
        "continue": bool(metadata.get("continue")),
        "remaining": metadata.get("remainingItemCount"),
        "made up token": (await plane.api.get(maps, limit="2", **{"continue": "x"})).status,
    }


@probe(DIFFERS)
async def tables(plane: Plane) -> Json:
    """Otherwise `kubectl get` prints nothing, or something wrong."""
    maps = await plane.maps("unserved-tables")
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    both = await plane.api.request("GET", maps, headers={"Accept": f"{table},application/json"})
    only = await plane.api.request("GET", maps, headers={"Accept": table})
    return {"preferred": both.body["kind"], "demanded": only.verdict}


@probe(DIFFERS)
async def protobuf(plane: Plane) -> Json:
    """Otherwise a Go client of built-in types is sent what it cannot read."""
    protobuf = "application/vnd.kubernetes.protobuf"
    preferred = await plane.api.request("GET", "/api/v1/namespaces", headers={"Accept": f"{protobuf},application/json"})
    demanded = await plane.api.request("GET", "/api/v1/namespaces", headers={"Accept": protobuf})
    return {"preferred": preferred.headers["Content-Type"], "demanded": demanded.status}


@probe(DIFFERS)
async def other_patches(plane: Plane) -> Json:
    """Otherwise a patch of another kind is taken for a merge."""
    maps = await plane.maps("unserved-patches")
    one = f"{maps}/one"
    await plane.api.create(maps, config_map(v="1"))
    steps = [{"op": "replace", "path": "/data/v", "value": "2"}]
    applied = {"apiVersion": "v1", "kind": "ConfigMap"} | config_map(v="3")
    apply = await plane.api.request(
        "PATCH", one, applied, query={"fieldManager": "x", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
    )  # fmt: skip
    return {
        "json-patch": (await plane.api.patch(one, steps, "application/json-patch+json")).verdict,
        "apply": apply.verdict,
    }


@probe(DIFFERS)
async def other_writes(plane: Plane) -> Json:
    """Otherwise a dry run writes, or an object vanishes that something holds."""
    maps = await plane.maps("unserved-writes")
    dry = await plane.api.request("POST", maps, config_map("dry"), query={"dryRun": "All"})
    await plane.api.create(maps, config_map("one"))
    return {
        "dry run": dry.verdict,
        "dry run wrote": (await plane.api.get(f"{maps}/dry")).status == 200,
        "generated name": (await plane.api.create(maps, {"metadata": {"generateName": "n-"}})).status,
        "immutable": (await plane.api.create(maps, config_map("still") | {"immutable": True})).status,
        "finalizers": (
            await plane.api.create(maps, {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
        ).status,
        "all of them": (await plane.api.delete(maps)).status,
    }


@probe(DIFFERS)
async def an_exact_older_version(plane: Plane) -> Json:
    """Otherwise a client that asks for a past state is shown the present one."""
    maps = await plane.maps("unserved-exact")
    old = (await plane.api.create(maps, config_map(v="1"))).revision
    await plane.api.create(maps, config_map("two"))
    answer = await plane.api.get(maps, resourceVersion=str(old), resourceVersionMatch="Exact")
    return answer.names if answer.status == 200 else answer.status


@probe(DIFFERS)
async def other_resources(plane: Plane) -> Json:
    """Otherwise a client is told that a cluster has no pods, where this one does not know of any."""
    paths = ("/api/v1/pods", "/apis/apps/v1/deployments", "/api/v1/watch/namespaces/default/configmaps", "/metrics")
    found = {}
    for path in paths:
        found[path] = (await plane.api.request("GET", path, query={"timeoutSeconds": "1"})).status
    return found


@probe(DIFFERS)
async def strict_fields(plane: Plane) -> Json:
    """Otherwise `kubectl create` lets a misspelt field pass that a real cluster refuses."""
    maps = await plane.maps("unserved-strict")
    body = config_map() | {"dta": {"v": "1"}}
    return (await plane.api.request("POST", maps, body, query={"fieldValidation": "Strict"})).status
