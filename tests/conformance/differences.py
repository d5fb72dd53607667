"""Where the two control planes may differ: each by the name of its probe, with the reason and both answers.

Everything else that is asked must be answered alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.conformance.client import Json


@dataclass(frozen=True)
class Difference:
    why: str
    embedded: Json
    kubernetes: Json
    unserved: tuple[str, ...] = ()
    """What the embedded one must report as not served, so that a cell in need of it is invalid."""


_NOT_SERVED: Json = {"status": 501, "code": 501, "reason": "NotImplemented"}
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_PROTOBUF = "application/vnd.kubernetes.protobuf"

DIFFERENCES: dict[str, Difference] = {
    "a bookmark without a change": Difference(
        "kube-apiserver sends a bookmark only where its cache of that kind of resource has heard of a new version "
        "since the watch began: by a change, or because somebody's list made it ask etcd. At rest it has not; the "
        "embedded one sends it anyway, as on a cluster at work",
        {"any": True, "in time": True, "as new as the last change": True, "ended in time": True},
        {"any": False, "in time": True, "as new as the last change": True, "ended in time": True},
    ),
    "http 2": Difference(
        "the embedded one speaks HTTP/1.1; it agrees on h2 as the real one does, then ends the connection and says so",
        "closed",
        "settings",
        ("HTTP/2",),
    ),
    "deleting a namespace": Difference(
        "the namespace controller, which empties a namespace, is no part of the API server and does not run in the "
        "lab: there a namespace stays, Terminating; in the embedded one it is gone at once with all in it",
        {"answer": 200, "phase": "Terminating", "namespace": 404, "its object": 404, "a new object": 404},
        {"answer": 200, "phase": "Terminating", "namespace": 200, "its object": 200, "a new object": 403},
    ),
    "managed fields": Difference("without server-side apply nobody reads who wrote a field", False, True),
    "label selectors": Difference(
        "clients under test select by field, as the contract says",
        _NOT_SERVED,
        ["unserved-labels/one"],
        ("label selectors",),
    ),
    "a limit": Difference(
        "a limit is a wish, and the embedded one's lists are short: always the whole list",
        {
            "names": ["unserved-limit/a", "unserved-limit/b", "unserved-limit/c"],
            "continue": False,
            "remaining": None,
            "made up token": 400,
        },
        {
            "names": ["unserved-limit/a", "unserved-limit/b"],
            "continue": True,
            "remaining": 1,
            "made up token": 400,
        },
    ),
    "tables": Difference(
        "tables are for people; kubectl, which accepts whole objects as well, prints fewer columns",
        {"preferred": "ConfigMapList", "demanded": _NOT_SERVED},
        {"preferred": "Table", "demanded": 200},
        (f"answers as {_TABLE}",),
    ),
    "protobuf": Difference(
        "a client that reads protobuf alone needs the real one",
        {"preferred": "application/json", "demanded": 501},
        {"preferred": _PROTOBUF, "demanded": 200},
        (f"answers as {_PROTOBUF}",),
    ),
    "other patches": Difference(
        "touches are merge patches",
        {"json-patch": _NOT_SERVED, "apply": _NOT_SERVED},
        {"json-patch": 200, "apply": 200},
        ("PATCH with a body of application/json-patch+json", "PATCH with a body of application/apply-patch+yaml"),
    ),
    "other writes": Difference(
        "no client under test writes; what is not served is refused, never done by halves",
        {
            "dry run": _NOT_SERVED,
            "dry run wrote": False,
            "generated name": 501,
            "immutable": 501,
            "finalizers": 501,
            "all of them": 501,
        },
        {
            "dry run": 201,
            "dry run wrote": False,
            "generated name": 201,
            "immutable": 201,
            "finalizers": 201,
            "all of them": 200,
        },
        (
            "dry runs",
            "generateName",
            "immutable ConfigMaps",
            "finalizers",
            "DELETE /api/v1/namespaces/unserved-writes/configmaps",
        ),
    ),
    "an exact older version": Difference(
        "the embedded one keeps the present state and the changes, not past states",
        501,
        ["unserved-exact/one"],
        ("lists of an exact older version",),
    ),
    "other resources": Difference(
        "ConfigMaps and Namespaces are all there is",
        {
            "/api/v1/pods": 501,
            "/apis/apps/v1/deployments": 501,
            "/api/v1/watch/namespaces/default/configmaps": 501,
            "/metrics": 501,
        },
        {
            "/api/v1/pods": 200,
            "/apis/apps/v1/deployments": 200,
            "/api/v1/watch/namespaces/default/configmaps": 200,
            "/metrics": 200,
        },
        (
            "GET /api/v1/pods",
            "GET /apis/apps/v1/deployments",
            "GET /api/v1/watch/namespaces/default/configmaps",
            "GET /metrics",
        ),
    ),
    "strict fields": Difference("the embedded one drops unknown fields, as the real one does unless asked", 201, 400),
}

KUBECTL_DIFFERENCES: dict[str, Difference] = {
    "create by its own generator": Difference(
        "kubectl's generators send protobuf; `create -f` sends JSON",
        [
            1,
            "error: failed to create configmap: the embedded control plane does not serve POST with a body of "
            f"{_PROTOBUF}: this needs the real control plane",
        ],
        [0, "configmap/generated created"],
        (f"POST with a body of {_PROTOBUF}",),
    ),
    "get": Difference(
        "no tables: kubectl prints what it can say itself",
        [0, "NAME AGE\nkubectls (age)"],
        [0, "NAME DATA AGE\nkubectls 1 (age)"],
    ),
}
