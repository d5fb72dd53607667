"""A Service of a scenario's own: its objects, and what is asked of the API server when one of the name is there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from watcher.errors import LabFailure
from watcher.lab.addresses import API_KEEPALIVE_PORT, Server, own_link, own_virtual
from watcher.lab.control_plane import admission, services
from watcher.lab.control_plane.api_client import Answer, ApiClient

OWN = Server(own_link(3).far, API_KEEPALIVE_PORT)
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


class Api(ApiClient):
    """Answers each method with a status; ``asked`` is what it was asked."""

    def __init__(self, allowed_after: int = 0, **statuses: int) -> None:
        self._statuses = statuses
        self._allowed_after = allowed_after
        self.asked: list[tuple[str, str, dict[str, Any] | None]] = []

    async def request(
        self, method: str, path: str, token: str, body: dict[str, Any] | None = None, *, retries: int = 3
    ) -> Answer:
        del token, retries
        await asyncio.sleep(0)
        self.asked.append((method, path, body))
        self._allowed_after -= 1
        status = self._statuses.get(method, 200)
        return Answer(status, {"message": "because", "status": {"allowed": self._allowed_after < 0}})


def test_a_slices_port_is_the_services() -> None:
    """Otherwise kube-proxy has a Service without endpoints, and refuses the connections of its cells."""
    made, leads = services.service(3, OWN.port), services.slice_to(3, OWN)
    (port,), (end,) = made["spec"]["ports"], leads["ports"]
    assert port["name"] == end["name"]
    assert (port["port"], end["port"]) == (443, OWN.port)
    assert made["spec"]["clusterIP"] == own_virtual(3)
    assert "selector" not in made["spec"], "a controller would write endpoints of its own"
    assert leads["metadata"]["labels"]["kubernetes.io/service-name"] == made["metadata"]["name"]
    assert [each["addresses"] for each in leads["endpoints"]] == [[OWN.address]]


async def test_a_slice_that_was_left_behind_is_made_to_lead_here() -> None:
    """Otherwise the next wave's cells are led to where the one before had moved its endpoint."""
    api = Api(POST=409)
    await services.make(api, "a-token", 3, OWN)
    assert api.asked[-1] == ("PUT", f"{SLICES}/watcher-own-3", services.slice_to(3, OWN))


async def test_what_is_gone_already_can_be_removed() -> None:
    """Otherwise the end of a wave fails because of something that nobody misses."""
    api = Api(DELETE=404)
    await services.remove(api, "a-token", 3)
    assert [method for method, *_ in api.asked] == ["DELETE", "DELETE"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_refusal_is_told(method: str) -> None:
    """Otherwise an endpoint that did not move looks like a client that does not notice."""
    with pytest.raises(LabFailure, match=f"{method} .*: 500 because"):
        await services.make(Api(**{method: 500}), "a-token", 3, OWN)


async def test_an_own_server_is_waited_for_until_it_knows_the_cells_rights() -> None:
    """Otherwise a client that starts at once is refused, and blamed for it."""
    api = Api(allowed_after=3, POST=201)
    await admission.honours(api, "a-token", "cell-7")
    assert len(api.asked) == 4
    _, _, question = api.asked[0]
    assert question is not None
    assert question["spec"]["user"] == "system:serviceaccount:cell-7:watcher"
    assert question["spec"]["resourceAttributes"]["namespace"] == "cell-7"


async def test_rights_that_an_own_server_never_learns_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a lab waits for ever."""
    monkeypatch.setattr(admission, "EFFECTIVE_SECONDS", 0.1)
    with pytest.raises(LabFailure, match="cell-7"):
        await admission.honours(Api(allowed_after=10**9, POST=201), "a-token", "cell-7")
