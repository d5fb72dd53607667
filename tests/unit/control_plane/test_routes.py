"""The API over HTTP: what is served, how errors look, and that nothing is passed over in silence."""

from __future__ import annotations

import io
from typing import Any

import aiohttp
import pytest

from tests.unit.control_plane.conftest import Start, config_map
from watcher.lab.control_plane.watches import Timers

MAPS = "/api/v1/namespaces/default/configmaps"


def check_status(body: dict[str, Any], code: int, reason: str) -> None:
    assert (body["kind"], body["apiVersion"], body["status"]) == ("Status", "v1", "Failure")
    assert (body["code"], body["reason"]) == (code, reason)


async def test_a_config_map_from_creation_to_deletion(start: Start) -> None:
    """The life of every trigger."""
    client = await start()
    made = await client.create(nonce="1")
    metadata = made["metadata"]
    assert (made["kind"], made["apiVersion"], made["data"]) == ("ConfigMap", "v1", {"nonce": "1"})
    assert (metadata["name"], metadata["namespace"]) == ("trigger", "default")
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert await client.ask("GET", f"{MAPS}/trigger") == (200, made)
    status, put = await client.ask("PUT", f"{MAPS}/trigger", made | {"data": {"nonce": "2", "more": "x"}})
    assert (status, put["data"]) == (200, {"nonce": "2", "more": "x"})
    touched = await client.touch("3")
    assert touched["data"] == {"nonce": "3", "more": "x"}
    assert int(touched["metadata"]["resourceVersion"]) > int(put["metadata"]["resourceVersion"])
    assert touched["metadata"]["uid"] == metadata["uid"]
    status, deleted = await client.ask("DELETE", f"{MAPS}/trigger")
    assert (status, deleted["status"], deleted["details"]["uid"]) == (200, "Success", metadata["uid"])
    status, gone = await client.ask("GET", f"{MAPS}/trigger")
    assert status == 404
    check_status(gone, 404, "NotFound")
    assert client.reports == []


async def test_lists_of_one_and_of_all_namespaces(start: Start) -> None:
    """kubectl and informers list before they watch, and watch from the list's version."""
    client = await start()
    await client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "cell"}})
    await client.ask("POST", "/api/v1/namespaces/cell/configmaps", config_map("trigger"))
    made = await client.create("trigger")

    async def names(path: str) -> list[tuple[str, str]]:
        status, found = await client.ask("GET", path)
        assert (status, found["kind"]) == (200, "ConfigMapList")
        assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        assert not any({"kind", "apiVersion"} & set(item) for item in found["items"])  # what they are, the list says
        return [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found["items"]]

    assert await names(f"{MAPS}?limit=500") == [("default", "trigger")]
    assert await names("/api/v1/configmaps") == [("cell", "trigger"), ("default", "trigger")]
    assert await names("/api/v1/configmaps?fieldSelector=metadata.namespace%3Dcell") == [("cell", "trigger")]
    assert await names("/api/v1/namespaces/nowhere/configmaps") == []


async def test_conflicts_say_which_kind_they_are(start: Start) -> None:
    """Both are 409; a client that cannot tell them apart retries a create for ever."""
    client = await start()
    made = await client.create(nonce="1")
    status, body = await client.ask("POST", MAPS, config_map())
    assert status == 409
    check_status(body, 409, "AlreadyExists")
    await client.touch("2")
    status, body = await client.ask("PUT", f"{MAPS}/trigger", made)
    assert status == 409
    check_status(body, 409, "Conflict")


async def test_a_namespace_must_exist(start: Start) -> None:
    """As with the real one; a typo must not make a cell that nobody cleans up."""
    client = await start()
    status, body = await client.ask("POST", "/api/v1/namespaces/nowhere/configmaps", config_map())
    assert status == 404
    assert body["details"] == {"name": "nowhere", "kind": "namespaces"}


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic dXNlcjpwYXNz", "Bearer ", "wrong"])
async def test_only_the_token_lets_in(start: Start, header: str | None) -> None:
    """A client with a broken kubeconfig must fail here as it would at a real server."""
    client = await start(token="sesame")  # noqa: S106 - of a server that lives for this test
    headers = {"Authorization": header} if header is not None else {}
    client.session.headers.pop("Authorization")
    status, body = await client.ask("GET", MAPS, **headers)
    assert status == 401
    check_status(body, 401, "Unauthorized")
    status, _ = await client.ask("GET", MAPS, Authorization="Bearer sesame")
    assert status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("GET", "/api/v1/pods", None, {}),
        ("GET", "/apis/apps/v1", None, {}),
        ("GET", "/api/v1/watch/configmaps", None, {}),
        ("DELETE", MAPS, None, {}),
        ("GET", f"{MAPS}?labelSelector=a%3Db", None, {}),
        ("GET", MAPS, None, {"Accept": "application/vnd.kubernetes.protobuf"}),
        ("GET", MAPS, None, {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}),
        ("GET", f"{MAPS}?watch=1", None, {"Connection": "Upgrade", "Upgrade": "websocket"}),
        ("POST", MAPS, config_map(), {"content_type": "application/yaml"}),
        ("POST", f"{MAPS}?dryRun=All", config_map(), {}),
        ("PATCH", f"{MAPS}/trigger", {}, {"content_type": "application/json-patch+json"}),
        ("PATCH", f"{MAPS}/trigger", {}, {"content_type": "application/apply-patch+yaml"}),
        (
            "PATCH",
            f"{MAPS}/trigger",
            {"data": {"$patch": "replace"}},
            {"content_type": "application/strategic-merge-patch+json"},
        ),
    ],
)
async def test_what_is_not_served_is_said_to_the_client_and_to_the_lab(
    start: Start, method: str, path: str, body: object, headers: dict[str, str]
) -> None:
    """A cell whose client meets the imitation's limits must become invalid, not a verdict about the client."""
    client = await start()
    await client.create()
    status, answer = await client.ask(method, path, body, **headers)
    assert status == 501
    check_status(answer, 501, "NotImplemented")
    assert "the embedded control plane does not serve" in answer["message"]
    assert "real control plane" in answer["message"]
    [report] = client.reports
    assert (report["event"], report["peer"]) == ("unserved", "127.0.0.1")
    assert isinstance(report["port"], int)
    assert isinstance(report["what"], str)
    assert report["what"] in answer["message"]


async def test_a_body_that_nobody_reads_is_not_reported(start: Start) -> None:
    """A client's mistake that a real cluster refuses as well must not make its cell invalid."""
    client = await start()
    status, answer = await client.ask("POST", MAPS, config_map(), content_type="text/plain")
    assert status == 415
    check_status(answer, 415, "UnsupportedMediaType")
    assert client.reports == []


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "*/*",
        "application/json;stream=watch",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        "application/vnd.kubernetes.protobuf,application/json",
    ],
)
async def test_who_takes_json_gets_json(start: Start, accept: str) -> None:
    """kubectl prefers tables, client-go protobuf; both name JSON as well."""
    client = await start()
    status, body = await client.ask("GET", MAPS, Accept=accept)
    assert (status, body["kind"], client.reports) == (200, "ConfigMapList", [])


async def test_a_strategic_merge_of_data_is_a_merge(start: Start) -> None:
    """kubectl patch and the libraries' patch default to it."""
    client = await start()
    await client.create(nonce="1", more="x")
    kind = "application/strategic-merge-patch+json"
    status, body = await client.ask("PATCH", f"{MAPS}/trigger", {"data": {"nonce": "2"}}, content_type=kind)
    assert (status, body["data"]) == (200, {"nonce": "2", "more": "x"})


async def test_discovery_is_enough_for_kubectl(start: Start) -> None:
    """``kubectl get cm`` finds out by it what ``cm`` is."""
    client = await start()
    _, api = await client.ask("GET", "/api")
    _, groups = await client.ask("GET", "/apis")
    _, resources = await client.ask("GET", "/api/v1")
    assert (api["versions"], groups["groups"]) == (["v1"], [])
    assert {name for resource in resources["resources"] for name in resource["shortNames"]} == {"cm", "ns"}


async def test_version_and_health_need_no_token(start: Start) -> None:
    """As at a real cluster; and a reader of a saved run must see that this was the imitation."""
    client = await start()
    client.session.headers.pop("Authorization")
    _, version = await client.ask("GET", "/version")
    assert "embedded" in version["gitVersion"]
    for path in ("/healthz", "/livez", "/readyz"):
        async with client.session.get(client.server.url + path) as response:
            assert (response.status, await response.text()) == (200, "ok")


async def test_a_list_of_the_future_is_a_timeout(start: Start) -> None:
    """As with the real one: clients retry after a second."""
    client = await start(timers=Timers(freshness_seconds=0.05))
    for path in (f"{MAPS}?resourceVersion=1000", f"{MAPS}/trigger?resourceVersion=1000"):
        status, body = await client.ask("GET", path)
        assert status == 504
        check_status(body, 504, "Timeout")
        assert body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert (await client.ask("GET", f"{MAPS}?resourceVersion=1"))[0] == 200


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff", b""])
async def test_a_body_that_is_no_object_is_a_bad_request(start: Start, text: bytes) -> None:
    """A broken request must not look like a broken server."""
    client = await start()
    headers = {"Content-Type": "application/json"}
    async with client.session.post(client.server.url + MAPS, data=text, headers=headers) as response:
        assert response.status == 400
        check_status(await response.json(), 400, "BadRequest")


async def test_a_body_over_the_limit_is_refused(start: Start) -> None:
    """The real one's limit is 3 MiB; memory here has one, too."""
    client = await start()
    headers = {"Content-Type": "application/json"}
    async with client.session.post(
        client.server.url + MAPS, data=io.BytesIO(b" " * (3 * 2**20 + 1)), headers=headers
    ) as response:
        assert response.status == 413
        check_status(await response.json(), 413, "RequestEntityTooLarge")


async def test_a_fault_of_ours_is_an_internal_error(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients retry a 500; a connection that is dropped instead would look like a fault of the lab's network."""
    client = await start()
    monkeypatch.setattr(client.server.store, "versions", lambda _resource: 1 / 0)
    status, body = await client.ask("GET", MAPS)
    assert status == 500
    check_status(body, 500, "InternalError")


async def test_an_authority_that_is_not_ours_is_not_trusted(start: Start) -> None:
    """The certificate is this server's own: a client of another lab must not get through."""
    first, second = await start(), await start()
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await first.session.get(second.server.url + "/version")
