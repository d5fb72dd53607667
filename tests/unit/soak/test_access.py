"""Credentials that change under a running soak, and the plain kubeconfig that client programs are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from watcher.errors import UsageError
from watcher.soak import access
from watcher.soak.access import InCluster, Kubeconfig

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_a_rotated_token_is_used_at_once(tmp_path: Path) -> None:
    """After an hour every request is 401, and the soak counts nothing for weeks."""
    for name, content in (("token", "one\n"), ("ca.crt", "PEM"), ("namespace", "ns\n")):
        (tmp_path / name).write_text(content)
    pod = InCluster(POD, tmp_path)
    assert (pod.namespace, pod.credentials().token) == ("ns", "one")
    (tmp_path / "token").write_text("two\n")
    assert pod.credentials().token == "two"  # noqa: S105 - a played one
    assert "KUBECONFIG" not in pod.environment()


def test_neither_pod_nor_kubeconfig(tmp_path: Path) -> None:
    """A traceback instead of: set KUBECONFIG."""
    with pytest.raises(UsageError, match="KUBECONFIG"):
        InCluster({}, tmp_path)


class Loader:
    def __init__(self) -> None:
        self.calls = 0
        self.found: dict[str, Any] = {
            "server": "https://api.example:6443", "authority": "PEM", "verify": True, "token": "one", "namespace": "ns",
            "changes": True,
        }  # fmt: skip

    def __call__(self, _files: str) -> dict[str, Any]:
        self.calls += 1
        return self.found


def test_a_kubeconfig_is_read_again_when_it_must_be(tmp_path: Path) -> None:
    """A plugin's token lasts 15 minutes; asking the plugin at every touch costs a process each."""
    time, loader = [0.0], Loader()
    file = tmp_path / "config"
    file.write_text("")
    found = Kubeconfig(str(file), tmp_path / "private", now=lambda: time[0], load=loader)
    for _ in range(10):
        found.credentials()
    assert loader.calls == 1
    loader.found = {**loader.found, "token": "two"}
    time[0] += access.CHANGING_SECONDS + 1
    assert (found.credentials().token, loader.calls) == ("two", 2)
    time[0] += access.LEAST_SECONDS + 1
    found.refused()
    found.credentials()
    assert loader.calls == 3


def test_client_programs_get_plain_json_that_only_we_can_read(tmp_path: Path) -> None:
    """A program without a YAML library cannot read the user's file; another user can read our copy."""
    found = Kubeconfig("config", tmp_path / "private", load=Loader())
    path = Path(found.environment()["KUBECONFIG"])
    content = json.loads(path.read_text())
    assert content["clusters"][0]["cluster"]["server"] == "https://api.example:6443"
    assert Path(content["users"][0]["user"]["tokenFile"]).read_text() == "one"
    assert all(each.stat().st_mode & 0o077 == 0 for each in [path.parent, *path.parent.iterdir()])


def test_an_unverified_server_is_refused(tmp_path: Path) -> None:
    """insecure-skip-tls-verify would send the token to anybody."""
    loader = Loader()
    loader.found["verify"] = False
    with pytest.raises(UsageError, match="cannot be verified"):
        Kubeconfig("config", tmp_path, load=loader)


def test_the_official_loader_in_a_process_of_its_own(tmp_path: Path) -> None:
    """YAML, exec plugins and several files are the official loader's affair, not its 60 MB ours."""
    (tmp_path / "ca.pem").write_text("PEM")
    plugin = tmp_path / "plugin"
    status = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "made"}}
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(status)}'\n")
    plugin.chmod(0o755)
    (tmp_path / "config").write_text(f"""
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u, namespace: there}}}}]
clusters: [{{name: c, cluster: {{server: "https://api.example", certificate-authority: {tmp_path / "ca.pem"}}}}}]
users:
- name: u
  user:
    exec: {{apiVersion: client.authentication.k8s.io/v1, command: {plugin}, interactiveMode: Never}}
""")
    found = Kubeconfig(str(tmp_path / "config"), tmp_path / "private")
    api = found.credentials()
    assert (api.host, api.port, api.token, api.ca_pem, found.namespace) == ("api.example", 443, "made", "PEM", "there")
    assert found._changes
    with pytest.raises(UsageError, match="names no file"):
        Kubeconfig(str(tmp_path / "none"), tmp_path / "private")
