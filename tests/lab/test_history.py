"""The API server that refuses history, through a path: 410 by HTTP status, and everything else as it was."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.lab.sandboxed import run_inside
from tests.lab.test_proxies import cell
from watcher import faults
from watcher.errors import LabFailure
from watcher.lab import network, path
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, VIRTUAL_ADDRESS, VIRTUAL_PORT, Server
from watcher.lab.control_plane.launch import EmbeddedControlPlane
from watcher.lab.history import HistoryProxy
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Scene

pytestmark = pytest.mark.lab

OBJECTS = "/api/v1/namespaces/default/configmaps"
TRIGGER = f"{OBJECTS}?fieldSelector=metadata.name%3Dtrigger"
MORE_THAN_IS_KEPT = 1_010
"""Changes; the embedded control plane keeps a thousand."""


class Asking:
    """A client of the cell's, each call on a connection of its own."""

    def __init__(self, nets: network.CellNetwork, ca_pem: str, token: str, folder: Path) -> None:
        self._nets = nets
        self._authority = folder / "ca.pem"
        self._authority.write_text(ca_pem)
        self._headers = {"Authorization": f"Bearer {token}"}

    async def __call__(self, method: str, path: str, *bodies: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of the last answer; of a watch its first event."""

        def ask() -> tuple[int, dict[str, Any]]:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            with urllib3.HTTPSConnectionPool(
                VIRTUAL_ADDRESS, VIRTUAL_PORT, ca_certs=str(self._authority), timeout=30, retries=False
            ) as pool:
                headers = self._headers | {"Content-Type": kind}
                for body in bodies[:-1]:
                    assert pool.request(method, path, body=json.dumps(body), headers=headers).status == 200
                last = json.dumps(bodies[-1]) if bodies else None
                answer = pool.request(method, path, body=last, headers=headers, preload_content=False)
                line = answer.readline()
                answer.close()
            return answer.status, json.loads(line)

        return await asyncio.to_thread(self._nets.client.enter, ask)


async def scene() -> dict[str, Any]:
    """A client knows a version; then its path leads to the API server that refuses history, and back."""
    made, folder = cell("history-refused"), Path(tempfile.mkdtemp())
    cluster = network.make_cluster()
    async with (
        EmbeddedControlPlane.start(cluster, folder, scale=10, unserved=lambda _: None) as control_plane,
        HistoryProxy.start(cluster, folder, control_plane) as history,
    ):
        nets = network.CellNetwork.named(7)
        Namespace.create([nets.client.name, nets.path.name])
        network.make_cell(nets, cluster)
        path.prepare(made, nets)
        lab_path = path.LabPath(made, nets, folder, lambda _: None)
        stage = Scene(lab_path, cluster, Server(API_ADDRESS, API_KEEPALIVE_PORT), forgetful=history.server)
        fault, ask = (
            faults.load("history-refused"),
            Asking(nets, control_plane.access.ca_pem, control_plane.access.token, folder),
        )
        fault.heal(stage)
        await ask("POST", OBJECTS, {"metadata": {"name": "trigger"}, "data": {"nonce": "first"}})
        _, listed = await ask("GET", TRIGGER)
        known = listed["metadata"]["resourceVersion"]
        _, touched = await ask("PATCH", f"{OBJECTS}/trigger", {"data": {"nonce": "second"}})
        resume = f"{TRIGGER}&watch=true&resourceVersion={known}"
        seen: dict[str, Any] = {"before": await ask("GET", resume)}
        latest = touched["metadata"]["resourceVersion"]
        await asyncio.to_thread(fault.apply, stage)
        seen["old"] = await ask("GET", resume)
        seen["latest"] = await ask("GET", f"{TRIGGER}&watch=1&resourceVersion={latest}")
        seen["zero"] = await ask("GET", f"{TRIGGER}&watch=true&resourceVersion=0")
        seen["none"] = await ask("GET", f"{TRIGGER}&watch=true")
        seen["state first"] = await ask(
            "GET", f"{TRIGGER}&watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
            f"&allowWatchBookmarks=true&resourceVersion={known}"
        )  # fmt: skip
        seen["list"] = status, again = await ask("GET", TRIGGER)
        fresh = again["metadata"]["resourceVersion"]
        await ask("PATCH", f"{OBJECTS}/trigger", {"data": {"nonce": "third"}})
        seen["fresh"] = await ask("GET", f"{TRIGGER}&watch=true&resourceVersion={fresh}")
        seen["missing"] = await ask("GET", f"{OBJECTS}/missing")
        changes = [{"data": {"nonce": f"number {number}"}} for number in range(MORE_THAN_IS_KEPT)]
        await ask("PATCH", f"{OBJECTS}/trigger", *changes)
        seen["event"] = await ask("GET", f"{TRIGGER}&watch=true&resourceVersion={fresh}")
        for _ in range(2):
            fault.heal(stage)
        seen["healed"] = await ask("GET", resume)
        history.check()
        history._component.signal(signal.SIGKILL)
        await history._component._process.wait()
        try:
            history.check()
        except LabFailure as error:
            seen["ended"] = str(error)
        lab_path.close()
    return seen | {"versions": [int(known), int(latest), int(fresh)], "status": status}


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    played: dict[str, Any] = run_inside(scene)
    return played


def nonce(event: dict[str, Any]) -> str:
    value: str = event["object"]["data"]["nonce"]
    return value


def test_before_the_fault_a_watch_resumes(seen: dict[str, Any]) -> None:
    """Otherwise what comes after shows nothing."""
    status, event = seen["before"]
    assert (status, event["type"], nonce(event)) == (200, "MODIFIED", "second")


@pytest.mark.parametrize("which", ["old", "latest"])
def test_whoever_resumes_is_refused_by_status(which: str, seen: dict[str, Any]) -> None:
    """Also who knows the very latest version: a client that is quiet for long does, and would go on unharmed."""
    status, body = seen[which]
    assert status == 410
    assert (body["kind"], body["status"], body["reason"], body["code"]) == ("Status", "Failure", "Expired", 410)


@pytest.mark.parametrize("which", ["zero", "none", "state first"])
def test_who_wants_the_present_state_gets_it(which: str, seen: dict[str, Any]) -> None:
    """A client that begins anew has done the right thing."""
    status, event = seen[which]
    assert (status, event["type"], nonce(event)) == (200, "ADDED", "second")


def test_a_new_list_gives_a_version_that_resumes(seen: dict[str, Any]) -> None:
    """Otherwise no client could ever recover, and all would look broken."""
    known, latest, fresh = seen["versions"]
    assert known < latest < fresh
    assert seen["status"] == 200
    status, event = seen["fresh"]
    assert (status, event["type"], nonce(event)) == (200, "MODIFIED", "third")


def test_what_the_server_says_comes_through(seen: dict[str, Any]) -> None:
    """Its own refusals have their own form: a status for what is missing, an ERROR event for history that is gone."""
    assert seen["missing"][0] == 404
    status, event = seen["event"]
    assert (status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)


def test_healed_it_is_the_api_server_again(seen: dict[str, Any]) -> None:
    """A path that goes on refusing would charge whoever comes next."""
    status, event = seen["healed"]
    assert (status, event["type"]) == (200, "ERROR"), "and not by status"


def test_its_end_is_the_labs_failure(seen: dict[str, Any]) -> None:
    """Clients would be charged with a server that is not there."""
    assert "history-proxy.log" in seen["ended"]
