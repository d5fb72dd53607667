"""What a cell may do at the API server: read its own trigger, and nothing else. What a kube-proxy may, and its Node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from urllib3.exceptions import HTTPError

from watcher.errors import LabFailure
from watcher.lab.control_plane.api_client import ApiClient, ask

ACCOUNT = "watcher"
TRIGGER = "trigger"
NODE_NAMESPACE = "kube-system"
NODE_ACCOUNT = "kube-proxy"
TOKEN_SECONDS = 86_400
"""A token outlives every cell by far, so that no cell is decided by its end."""
EFFECTIVE_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
_RBAC = "rbac.authorization.k8s.io"
_REVIEWS = "authorization.k8s.io"


def account(namespace: str) -> tuple[str, dict[str, Any]]:
    return f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": ACCOUNT}}


def rights(namespace: str) -> list[tuple[str, dict[str, Any]]]:
    """Where to POST what: the Role and its RoleBinding.

    ``resourceNames`` holds for list and watch, too, as long as the request selects ``metadata.name=trigger``: the API
    server then takes the name from the field selector. A client that lists without it is refused.
    """
    base = f"/apis/{_RBAC}/v1/namespaces/{namespace}"
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [TRIGGER],
        "verbs": ["get", "list", "watch"],
    }
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    return [
        (f"{base}/roles", {"metadata": {"name": ACCOUNT}, "rules": [rule]}),
        (
            f"{base}/rolebindings",
            {
                "metadata": {"name": ACCOUNT},
                "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": ACCOUNT},
                "subjects": [subject],
            },
        ),
    ]


async def admit(servers: Sequence[ApiClient], admin_token: str, namespace: str) -> str:
    """Makes account, Role and RoleBinding in ``namespace``, which exists, and returns a token of the account.

    Returns when every server honours the token: they learn of new rights by watching, each in its own time, and a
    client that came earlier would be refused. Raises LabFailure when they do not.
    """
    made = await asyncio.gather(
        ask(servers[0], "POST", admin_token, *account(namespace)),
        *(ask(servers[0], "POST", admin_token, path, body) for path, body in rights(namespace)),
        return_exceptions=True,
    )
    for failed in made:
        if isinstance(failed, BaseException):
            raise failed
    token = await _token(servers[0], admin_token, namespace, ACCOUNT)
    seen = f"/api/v1/namespaces/{namespace}/configmaps?fieldSelector=metadata.name%3D{TRIGGER}&limit=1"
    await asyncio.gather(*(_effective(server, token, namespace, seen) for server in servers))
    return token


async def honours(server: ApiClient, admin_token: str, namespace: str) -> None:
    """Returns when one more server, too, knows of the rights that ``admit`` gave. Raises LabFailure if it does not."""
    account = f"system:serviceaccount:{namespace}:{ACCOUNT}"
    what = {"namespace": namespace, "verb": "list", "resource": "configmaps", "name": TRIGGER}
    question = {"spec": {"user": account, "resourceAttributes": what}}
    until = time.monotonic() + EFFECTIVE_SECONDS
    while time.monotonic() < until:
        answer = await ask(server, "POST", admin_token, f"/apis/{_REVIEWS}/v1/subjectaccessreviews", question)
        if answer["status"]["allowed"]:
            return
        await asyncio.sleep(_PAUSE_SECONDS)
    raise LabFailure(f"after {EFFECTIVE_SECONDS:g} s an API server does not know the rights of {namespace}")


def node_rights() -> list[tuple[str, dict[str, Any]]]:
    """Where to POST what, so that a node's kube-proxy has the rights that kubeadm gives it."""
    subject = {"kind": "ServiceAccount", "name": NODE_ACCOUNT, "namespace": NODE_NAMESPACE}
    role = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "system:node-proxier"}
    return [
        ("/api/v1/namespaces", {"metadata": {"name": NODE_NAMESPACE}}),
        (f"/api/v1/namespaces/{NODE_NAMESPACE}/serviceaccounts", {"metadata": {"name": NODE_ACCOUNT}}),
        (
            f"/apis/{_RBAC}/v1/clusterrolebindings",
            {"metadata": {"name": NODE_ACCOUNT}, "roleRef": role, "subjects": [subject]},
        ),
    ]


def node(name: str, address: str) -> dict[str, Any]:
    """What a kubelet would say of its node: kube-proxy waits for an address."""
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}


async def admit_node(servers: Sequence[ApiClient], admin_token: str, name: str, address: str) -> str:
    """Makes the Node and what its kube-proxy needs; returns a token for it. Raises LabFailure when refused."""
    for path, body in [*node_rights(), ("/api/v1/nodes", node(name, address))]:
        await ask(servers[0], "POST", admin_token, path, body)
    token = await _token(servers[0], admin_token, NODE_NAMESPACE, NODE_ACCOUNT)
    seen = "/apis/discovery.k8s.io/v1/endpointslices?limit=1"
    await asyncio.gather(*(_effective(server, token, name, seen) for server in servers))
    return token


async def _token(server: ApiClient, admin_token: str, namespace: str, name: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    answer = await ask(server, "POST", admin_token, path, {"spec": {"expirationSeconds": TOKEN_SECONDS}})
    if "status" not in answer:
        raise LabFailure(f"the API server gives no token to {namespace}/{name}")
    return str(answer["status"]["token"])


async def _effective(server: ApiClient, token: str, whose: str, path: str) -> None:
    """Waits until ``path`` may be read with the token."""
    until = time.monotonic() + EFFECTIVE_SECONDS
    problem = "not asked"
    while time.monotonic() < until:
        try:
            answer = await server.request("GET", path, token)
        except HTTPError as error:
            problem = str(error)
        else:
            if answer.status == 200:
                return
            problem = answer.problem
        await asyncio.sleep(_PAUSE_SECONDS)
    raise LabFailure(f"after {EFFECTIVE_SECONDS:g} s the token of {whose} is still refused: {problem}")
