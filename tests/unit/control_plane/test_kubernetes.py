"""The real control plane's command lines, files and manners, without any of its programs."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from watcher.errors import ControlPlaneFailure, LabFailure, LabUnavailable
from watcher.lab.addresses import (
    API_ADDRESS,
    API_KEEPALIVE_PORT,
    API_PORT,
    MOST_OWN_SERVERS,
    VIRTUAL_ADDRESS,
    own_virtual,
)
from watcher.lab.control_plane import admission, apiserver, component, etcd, haproxy
from watcher.lab.control_plane.api_client import Answer, ApiClient
from watcher.lab.control_plane.certificates import Authority
from watcher.lab.control_plane.component import Component


@pytest.fixture
def files(tmp_path: Path) -> apiserver.Files:
    return apiserver.Files.write(tmp_path, Authority.make(), [API_ADDRESS, "10.112.1.1"], "a-token")


def arguments(files: apiserver.Files, scale: float = 1.0) -> dict[str, str]:
    made = apiserver.arguments(Path("kube-apiserver"), "10.112.1.1", files, audit_log=Path("audit.log"), scale=scale)
    return dict(argument.removeprefix("--").split("=", 1) for argument in made[1:])


def test_every_server_has_an_address_of_its_own_and_a_common_etcd(files: apiserver.Files) -> None:
    """Otherwise a second API server takes the first one's place, or knows nothing of its objects."""
    flags = arguments(files)
    assert flags["bind-address"] == flags["advertise-address"] == "10.112.1.1"
    assert flags["secure-port"] == str(API_KEEPALIVE_PORT)
    assert flags["etcd-servers"] == etcd.endpoint(files.private)
    assert flags["authorization-mode"] == "RBAC"


def test_only_a_scenarios_own_server_stays_out_of_the_endpoints(files: apiserver.Files) -> None:
    """Otherwise all kube-proxies lead to a server that is harmed, or the ClusterIP of the shared one leads nowhere."""
    line = [Path("kube-apiserver"), "10.113.0.6", files]
    flag = "--endpoint-reconciler-type=none"
    made = {own: apiserver.arguments(*line, audit_log=Path("a"), scale=1.0, own=own) for own in (False, True)}  # type: ignore[arg-type]
    assert flag in made[True]
    assert flag not in made[False]


@pytest.mark.parametrize(("scale", "seconds"), [(1.0, "1800"), (10.0, "180"), (5000.0, "1")])
def test_how_long_a_watch_may_live_scales(files: apiserver.Files, scale: float, seconds: str) -> None:
    """Otherwise a scaled run meets an end of watches that the true one does not, or none where it does."""
    assert arguments(files, scale)["min-request-timeout"] == seconds


def test_nothing_turns_verification_or_authorization_off(files: apiserver.Files, tmp_path: Path) -> None:
    """Otherwise clients run in the lab against something that no cluster offers."""
    lines = [
        *apiserver.arguments(Path("kube-apiserver"), API_ADDRESS, files, audit_log=Path("a"), scale=1.0),
        *etcd.arguments(Path("etcd"), tmp_path),
    ]
    assert not [line for line in lines if "insecure" in line or "AlwaysAllow" in line or "http://" in line]
    assert not [line for line in lines if "disable-admission-plugins" in line]


def test_keys_are_for_their_owner_and_names_for_all_clients(files: apiserver.Files) -> None:
    """Otherwise a client reaches the server by an address that its certificate does not have."""
    chain = x509.load_pem_x509_certificates(files.certificate.read_bytes())
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    own = {name(number) for number in range(1, MOST_OWN_SERVERS + 1) for name in (apiserver.own_address, own_virtual)}
    assert addresses == {API_ADDRESS, "10.112.1.1", VIRTUAL_ADDRESS} | own
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    with files.tokens.open(newline="") as opened:
        assert [row[0] for row in csv.reader(opened)] == ["a-token"]
    secret = (files.key, files.tokens, files.signing_key)
    assert {file.stat().st_mode & 0o077 for file in secret} == {0}


def test_the_audit_log_never_takes_the_body_of_a_token(files: apiserver.Files) -> None:
    """Otherwise a published run carries credentials."""
    policy = json.loads(files.audit_policy.read_text())
    for rule in policy["rules"]:
        if rule["level"] in ("Request", "RequestResponse"):
            assert rule["resources"] == [{"group": "", "resources": ["configmaps"]}]
    assert policy["rules"][-1] == {"level": "Metadata"}


def test_etcd_has_no_port() -> None:
    """Otherwise it is one more address that can be in use, and one that a client could reach without a password."""
    private = Path("/private")
    made = etcd.arguments(Path("etcd"), private)
    assert not [line for line in made if "-urls=" in line and "=unix://" not in line]
    assert etcd.endpoint(private).startswith("unix:///private/")
    assert not etcd.listens(private)


@pytest.mark.parametrize("servers", [["10.112.0.1"], ["10.112.1.1", "10.112.1.2", "10.112.1.3"]])
def test_the_proxy_passes_on_to_every_server_and_probes_nobody(servers: list[str]) -> None:
    """Otherwise `server_keepalive = off` is not off, or a server that is there gets no client."""
    lines = haproxy.configuration(API_ADDRESS, API_PORT, servers, most=100).splitlines()
    words = [line.split() for line in lines]
    assert [line[2] for line in words if line[0] == "server"] == [f"{each}:{API_KEEPALIVE_PORT}" for each in servers]
    assert ["mode", "tcp"] in words
    assert ["bind", f"{API_ADDRESS}:{API_PORT}"] in words
    assert ["retries", str(len(servers) - 1)] in words
    assert {"clitcpka", "srvtcpka"} == {line[2] for line in words if line[:2] == ["no", "option"]}
    assert not [line for line in words if "tcpka" in " ".join(line) and line[0] != "no"]
    assert not [line for line in words if "check" in line]


@pytest.mark.parametrize(("limit", "most"), [(-1, 20_000), (1_000_000_000, 20_000), (4096, 1948), (64, 100)])
def test_the_proxys_tables_do_not_follow_the_machines_limit(limit: int, most: int) -> None:
    """Otherwise it takes gigabytes where open files are unlimited, and does not start where they are few."""
    assert haproxy.most_connections(limit) == most


def test_a_missing_proxy_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Otherwise a user reads about a file that was not found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabUnavailable, match="apt-get install haproxy"):
        haproxy.binary()
    program = tmp_path / "haproxy"
    program.touch(mode=0o755)
    assert haproxy.binary() == str(program)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(403, {"message": "forbidden"}, '{"message": "forbidden"}'), "403 forbidden"),
        (Answer(500, {}, "[+]ping ok\n[-]rbac failed: withheld\nreadyz check failed"), "500 [-]rbac failed: withheld"),
        (Answer(502, {}, "<html>"), "502"),
    ],
)
def test_a_problem_fits_a_line(answer: Answer, problem: str) -> None:
    """Otherwise a control plane that does not get ready does not say what it waits for."""
    assert answer.problem == problem


class Server(ApiClient):
    """Answers what it is told to; ``asked`` is what it was asked."""

    def __init__(self, refusals: int = 0, **answers: int) -> None:
        self.refusals = refusals
        self.answers = answers
        self.asked: list[tuple[str, str, str]] = []

    async def request(
        self, method: str, path: str, token: str, body: dict[str, Any] | None = None, *, retries: int = 3
    ) -> Answer:
        del body, retries
        self.asked.append((method, path.split("?")[0].rsplit("/", 1)[-1], token))
        await asyncio.sleep(0)
        if method == "GET":
            self.refusals -= 1
            return Answer(200 if self.refusals < 0 else 403, {"message": "no such right yet"})
        status = self.answers.get(path.rsplit("/", 1)[-1], 201)
        if status not in (200, 201):
            return Answer(status, {"message": "because"})
        return Answer(status, {"status": {"token": "cells-own"}} if path.endswith("/token") else {})


async def test_a_cell_begins_when_every_server_honours_its_token() -> None:
    """Otherwise a client that starts at once is refused, by a server that learns of its rights a moment later."""
    servers = [Server(refusals=1), Server(refusals=3)]
    assert await admission.admit(servers, "admins", "cell-1") == "cells-own"
    looks = [[token for method, _, token in server.asked if method == "GET"] for server in servers]
    assert looks == [["cells-own"] * 2, ["cells-own"] * 4]
    assert {token for method, _, token in servers[0].asked if method == "POST"} == {"admins"}


async def test_rights_that_never_come_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a lab waits for ever, or a client is blamed for its 403."""
    monkeypatch.setattr(admission, "EFFECTIVE_SECONDS", 0.5)
    with pytest.raises(LabFailure, match="403 no such right yet"):
        await admission.admit([Server(refusals=10**9)], "admins", "cell-1")


@pytest.mark.parametrize("what", ["serviceaccounts", "roles", "rolebindings", "token"])
async def test_a_refusal_names_what_was_refused(what: str) -> None:
    """Otherwise the lab's own error looks like one of the client's."""
    with pytest.raises(LabFailure, match=f"{what}: 500 because"):
        await admission.admit([Server(**{what: 500})], "admins", "cell-1")


async def test_what_exists_already_is_no_failure() -> None:
    """Otherwise a request that had to be sent twice breaks its cell."""
    server = Server(serviceaccounts=409, roles=409, rolebindings=409)
    assert await admission.admit([server], "admins", "cell-1") == "cells-own"


def test_the_role_names_the_trigger() -> None:
    """Otherwise one cell's client may read what is another's."""
    role = next(body for path, body in admission.rights("cell-1") if path.endswith("/roles"))
    (rule,) = role["rules"]
    assert rule["resourceNames"] == ["trigger"]
    assert set(rule["verbs"]) == {"get", "list", "watch"}


async def started(tmp_path: Path, code: str, log: str = "part.log") -> Component:
    """A component as it is after its start, in the namespace that the test is in."""
    with (tmp_path / log).open("ab") as output:
        begin = output.tell()
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=output, stderr=output)
    return Component("part", process, tmp_path / log, begin)


async def test_an_early_end_tells_the_last_words_of_this_start(tmp_path: Path) -> None:
    """Otherwise the user has to search a log for what it says, or reads the cause of an earlier failure."""
    (tmp_path / "part.log").write_text("an older cause\n")
    part = await started(tmp_path, "print('flag --x is unknown'); raise SystemExit(4)")
    with pytest.raises(ControlPlaneFailure) as raised:
        await part.ended()
    assert raised.value.message == "part ended (status 4)\n    flag --x is unknown"
    assert raised.value.log == str(tmp_path / "part.log")


async def test_who_was_killed_has_no_last_words(tmp_path: Path) -> None:
    """Otherwise an innocent line of the log is shown as the cause."""
    part = await started(tmp_path, "import os; print('all is well', flush=True); os.kill(os.getpid(), 9)")
    with pytest.raises(ControlPlaneFailure) as raised:
        await part.ended()
    assert raised.value.message == "part ended (status -9)"


async def test_a_component_that_ignores_the_request_to_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an API server with open watches holds up the end of a run."""
    monkeypatch.setattr(component, "STOP_SECONDS", 0.2)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    part = await started(tmp_path, code)
    while not (tmp_path / "part.log").stat().st_size:  # noqa: ASYNC110 - nothing tells of a line in a file
        await asyncio.sleep(0.01)
    async with asyncio.timeout(30):
        await part.stop()
    assert not part.running
    with pytest.raises(ProcessLookupError):
        os.kill(part.pid, 0)
    await part.stop()
