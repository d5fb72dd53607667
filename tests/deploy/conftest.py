"""The real control plane's programs, for tests in the sandbox."""

from __future__ import annotations

import pytest

from tests.deploy.manifests import need_kubectl
from watcher.errors import LabUnavailable
from watcher.lab.control_plane import haproxy
from watcher.lab.control_plane.binaries import find
from watcher.programs.environments import cache_folder


@pytest.fixture(scope="session")
def programs() -> list[str]:
    """etcd and kube-apiserver, as arguments that can go into the sandbox."""
    need_kubectl()
    try:
        found = find("kubernetes", cache_folder())
        haproxy.binary()
    except LabUnavailable as missing:
        pytest.skip(str(missing))
    assert found is not None
    return [str(found.etcd), str(found.kube_apiserver), found.version]
