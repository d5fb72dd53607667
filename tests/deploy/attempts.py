"""What the soak's token is tried with: all that the soak does, and what none of its business is."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from watcher.api import JSON, MERGE_PATCH

NAMESPACE = "watcher"
ACCOUNT = "watcher"
SELECT = "fieldSelector=" + quote("metadata.name=trigger")
IDLE = "fieldSelector=" + quote("metadata.name=trigger-idle")
OTHER = "fieldSelector=" + quote("metadata.name=totals-soak")
LABEL = "labelSelector=" + quote("watcher/kind=failure")
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"

Try = tuple[str, str, dict[str, Any] | None, str]

POSITIVE: dict[str, Try] = {
    "make the trigger": ("POST", MAPS, {"metadata": {"name": "trigger"}, "data": {"nonce": "0"}}, JSON),
    "touch": ("PATCH", f"{MAPS}/trigger", {"data": {"nonce": "1"}}, MERGE_PATCH),
    "look": ("GET", f"{MAPS}/trigger", None, JSON),
    "list the trigger": ("GET", f"{MAPS}?{SELECT}", None, JSON),
    "watch the trigger": ("GET", f"{MAPS}?watch=true&timeoutSeconds=1&{SELECT}", None, JSON),
    "open the idle connection": ("GET", f"{MAPS}?watch=true&timeoutSeconds=1&{IDLE}", None, JSON),
    "write a miss": ("POST", MAPS, {"metadata": {"name": "failure-1", "labels": {"watcher/kind": "failure"}}}, JSON),
    "read it back": ("GET", f"{MAPS}/failure-1", None, JSON),
    "complete it": ("PATCH", f"{MAPS}/failure-1", {"data": {"observedAt": "later"}}, MERGE_PATCH),
    "list misses": ("GET", f"{MAPS}?{LABEL}", None, JSON),
    "delete a miss": ("DELETE", f"{MAPS}/failure-1", None, JSON),
    "make the totals": ("POST", MAPS, {"metadata": {"name": "totals-soak"}, "data": {}}, JSON),
    "read the totals": ("GET", f"{MAPS}/totals-soak", None, JSON),
    "replace the totals": (
        "PUT",
        f"{MAPS}/totals-soak",
        {"metadata": {"name": "totals-soak"}, "data": {}},
        JSON,
    ),
    "ask for the version": ("GET", "/version", None, JSON),
}

_POD: dict[str, Any] = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
RBAC = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
_TOKEN = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
NEGATIVE: dict[str, Try] = {
    "watch everything": ("GET", f"{MAPS}?watch=true&timeoutSeconds=1", None, JSON),
    "watch another": (
        "GET",
        f"{MAPS}?watch=true&timeoutSeconds=1&{OTHER}",
        None,
        JSON,
    ),
    "replace the trigger": ("PUT", f"{MAPS}/trigger", {"metadata": {"name": "trigger"}}, JSON),
    "replace foreign totals": ("PUT", f"{MAPS}/totals-other", {"metadata": {"name": "totals-other"}}, JSON),
    "delete all at once": ("DELETE", MAPS, None, JSON),
    "read secrets": ("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets", None, JSON),
    "read pods": ("GET", f"/api/v1/namespaces/{NAMESPACE}/pods", None, JSON),
    "start a pod": ("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", _POD, JSON),
    "take another's token": ("POST", _TOKEN, {"spec": {}}, JSON),
    "read its own role": ("GET", f"{RBAC}/roles/watcher", None, JSON),
    "widen its role": ("PATCH", f"{RBAC}/roles/watcher", {"rules": []}, MERGE_PATCH),
    "bind another role": ("POST", f"{RBAC}/rolebindings", {"metadata": {"name": "x"}}, JSON),
    "loosen the namespace": ("PATCH", f"/api/v1/namespaces/{NAMESPACE}", {"metadata": {"labels": {}}}, MERGE_PATCH),
    "read the namespace": ("GET", f"/api/v1/namespaces/{NAMESPACE}", None, JSON),
    "list namespaces": ("GET", "/api/v1/namespaces", None, JSON),
    "read nodes": ("GET", "/api/v1/nodes", None, JSON),
    "list everywhere": ("GET", "/api/v1/configmaps", None, JSON),
    "list elsewhere": ("GET", "/api/v1/namespaces/default/configmaps", None, JSON),
    "write elsewhere": ("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "trigger"}}, JSON),
    "read its deployment": ("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments", None, JSON),
}
