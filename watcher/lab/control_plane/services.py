"""A Service without a selector, and the one EndpointSlice that says where it leads: made by hand, so moved by hand."""

from __future__ import annotations

from typing import Any

from watcher.lab.addresses import VIRTUAL_PORT, Server, own_virtual
from watcher.lab.control_plane.api_client import ApiClient, ask

NAMESPACE = "default"
_PORT_NAME = "https"
"""A slice's port belongs to the Service's port of the same name."""


def name_of(number: int) -> str:
    return f"watcher-own-{number}"


def service(number: int, target_port: int) -> dict[str, Any]:
    """At ``own_virtual(number)``. Nothing selects pods, so no controller writes its endpoints."""
    port = {"name": _PORT_NAME, "protocol": "TCP", "port": VIRTUAL_PORT, "targetPort": target_port}
    return {"metadata": {"name": name_of(number)}, "spec": {"clusterIP": own_virtual(number), "ports": [port]}}


def slice_to(number: int, server: Server) -> dict[str, Any]:
    """The Service's only EndpointSlice: one endpoint, ready."""
    name = name_of(number)
    return {
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "watcher"},
        },
        "addressType": "IPv4",
        "ports": [{"name": _PORT_NAME, "protocol": "TCP", "port": server.port}],
        "endpoints": [{"addresses": [server.address], "conditions": {"ready": True}}],
    }


async def make(api: ApiClient, token: str, number: int, server: Server) -> None:
    """Makes both. Raises LabFailure when refused."""
    await ask(api, "POST", token, _SERVICES, service(number, server.port))
    await ask(api, "POST", token, _SLICES, slice_to(number, server))
    # One of this name may be there, left by an earlier try, that leads elsewhere.
    await lead(api, token, number, server)


async def lead(api: ApiClient, token: str, number: int, server: Server) -> None:
    """From now on the Service leads there; every kube-proxy hears of it by its watch. Raises LabFailure."""
    await ask(api, "PUT", token, f"{_SLICES}/{name_of(number)}", slice_to(number, server))


async def remove(api: ApiClient, token: str, number: int) -> None:
    """Takes both away, also where they are gone. Raises LabFailure when refused."""
    await ask(api, "DELETE", token, f"{_SLICES}/{name_of(number)}")
    await ask(api, "DELETE", token, f"{_SERVICES}/{name_of(number)}")


_SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
_SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
