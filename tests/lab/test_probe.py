"""`watcher probe --control-plane kubernetes`: the real control plane in the sandbox, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.lab import environments as client_environments
from watcher import cli
from watcher.errors import LabUnavailable
from watcher.lab.control_plane import haproxy
from watcher.lab.control_plane.binaries import find
from watcher.programs.environments import cache_folder

pytestmark = pytest.mark.lab


def test_programs_keep_the_contract_on_the_real_control_plane() -> None:
    """A client of HTTP/2 can be probed as what it is only here; and none may need more than RBAC gives in the lab."""
    try:
        find("kubernetes", cache_folder())
        haproxy.binary()
    except LabUnavailable as missing:
        pytest.skip(str(missing))
    client_environments.built("python-urllib3", "python-httpx-http2")
    arguments = ["probe", "--control-plane", "kubernetes", "--profiles", "default,tcp-keepalive", "--quiet", "1"]
    result = CliRunner().invoke(cli.app, [*arguments, "--json", "python-urllib3", "python-httpx-http2"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["control_plane"].startswith("kubernetes 1.")
    assert [stack["stack"] for stack in report["stacks"]] == ["python-urllib3", "python-httpx-http2"]
    assert all(len(stack["profiles"]) == 3 for stack in report["stacks"])
