"""What the soak may do in its cluster, and the token that proves it: given by a real API server, as to a pod."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from watcher.errors import LabFailure
from watcher.lab.control_plane.api_client import Answer, ApiClient
from watcher.rehearsal.order import ClusterOrder

TOKEN_SECONDS = 3607
"""What the kubelet asks for."""
RENEW_AT = 0.8
"""Of a token's life: when the kubelet asks for the next."""
RETRY_SECONDS = 5.0
_RBAC = "rbac.authorization.k8s.io"
_MADE = (200, 201, 409)


@dataclass(frozen=True)
class Administrator:
    """Requests with all rights, from the lab's own side: they never cross the path."""

    client: ApiClient
    token: str

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Raises urllib3's HTTPError when no answer came."""
        return await self.client.request(method, path, self.token, body)

    async def make(self, path: str, body: dict[str, Any]) -> None:
        """Raises LabFailure when refused; what exists already is made."""
        answer = await self.ask("POST", path, body)
        if answer.status not in _MADE:
            raise LabFailure(f"POST {path}: {answer.problem}")


def objects(namespace: str, account: str) -> list[tuple[str, dict[str, Any]]]:
    """Where to POST what: namespace, account and rights, where deploy/ does not say them."""
    rights = f"/apis/{_RBAC}/v1/namespaces/{namespace}"
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
    }
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    return [
        ("/api/v1/namespaces", {"metadata": {"name": namespace}}),
        (f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": account}}),
        (f"{rights}/roles", {"metadata": {"name": account}, "rules": [rule]}),
        (
            f"{rights}/rolebindings",
            {
                "metadata": {"name": account},
                "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": account},
                "subjects": [subject],
            },
        ),
    ]


async def admit(order: ClusterOrder, administrator: Administrator, kubeconfig: str) -> None:
    """Makes the soak's namespace, account and rights; by ``kubectl apply`` where the order has manifests.

    Raises LabFailure with kubectl's or the API server's own words.
    """
    if order.control_plane is None:
        await administrator.make("/api/v1/namespaces", {"metadata": {"name": order.namespace}})
    elif order.manifests is None or order.kubectl is None:
        for path, body in objects(order.namespace, order.account):
            await administrator.make(path, body)
    else:
        await administrator.make("/api/v1/namespaces", {"metadata": {"name": order.namespace}})
        await _apply(order.kubectl, kubeconfig, order.manifests)


async def token(order: ClusterOrder, administrator: Administrator) -> str:
    """A fresh token of the soak's account; the embedded control plane has one token for all. Raises LabFailure."""
    if order.control_plane is None:
        return administrator.token
    path = f"/api/v1/namespaces/{order.namespace}/serviceaccounts/{order.account}/token"
    answer = await administrator.ask("POST", path, {"spec": {"expirationSeconds": TOKEN_SECONDS}})
    if answer.status != 201:
        raise LabFailure(f"the API server gives no token to {order.namespace}/{order.account}: {answer.problem}")
    return str(answer.body["status"]["token"])


async def effective(order: ClusterOrder, client: ApiClient, token: str, seconds: float = 10.0) -> None:
    """Waits until the API server honours the account's rights, of which it learns by watching. Raises LabFailure."""
    path = f"/api/v1/namespaces/{order.namespace}/configmaps/trigger"
    problem = "not asked"
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = await client.request("GET", path, token)
                if answer.status in (200, 404):
                    return
                problem = answer.problem
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise LabFailure(f"after {seconds:g} s the soak's token is still refused: {problem}") from error


async def _apply(kubectl: str, kubeconfig: str, manifests: str) -> None:
    process = await asyncio.create_subprocess_exec(
        kubectl,
        f"--kubeconfig={kubeconfig}",
        "apply",
        "--filename=-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(manifests.encode())
    if process.returncode:
        raise LabFailure(f"kubectl apply: {said.decode(errors='replace').strip()[-2000:]}")
