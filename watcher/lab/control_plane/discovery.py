"""What kubectl and client libraries ask before they ask for anything: the version and the list of resources."""

from __future__ import annotations

from typing import Any

from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES, Resource

VERSION = "v1.36.3+embedded"
"""The kube-apiserver that is imitated, marked as an imitation."""

SERVER_VERSION: dict[str, Any] = {
    "major": "1",
    "minor": "36",
    "gitVersion": VERSION,
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "embedded/python",
}

GROUPS: dict[str, Any] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}


def _described(resource: Resource) -> dict[str, Any]:
    return {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        "shortNames": [resource.short_name],
    }


RESOURCES: dict[str, Any] = {
    "kind": "APIResourceList",
    "groupVersion": "v1",
    "resources": [_described(CONFIG_MAPS), _described(NAMESPACES)],
}


def versions(address: str) -> dict[str, Any]:
    """``/api`` as seen by a client that reached the server at ``address`` (host:port)."""
    by_client = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": by_client}
