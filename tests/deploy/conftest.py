"""The real control plane's programs, and one image for all tests of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.deploy.images import BASE_IMAGE, BUILD_SECONDS, IMAGE, run
from tests.deploy.manifests import ROOT, need_kubectl
from watcher.errors import LabUnavailable
from watcher.lab.control_plane import haproxy
from watcher.lab.control_plane.binaries import find
from watcher.programs.environments import cache_folder


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images of ours alone, kept in the cache: the base is made once. Returns the file that says so."""
    if os.geteuid() != 0:
        pytest.skip("an image is built as root here: as an ordinary user buildah needs subordinate user ids")
    for tool in ("buildah", "podman", "runc", "mmdebstrap"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not there: apt-get install -y buildah podman runc mmdebstrap")
    place = cache_folder() / "test-images"
    place.mkdir(parents=True, exist_ok=True)
    file = tmp_path_factory.mktemp("storage") / "storage.conf"
    lines = ["[storage]", 'driver = "overlay"', f'graphroot = "{place}"', 'runroot = "/run/watcher-test-images"']
    file.write_text("\n".join(lines) + "\n")
    return str(file)


@pytest.fixture(scope="session")
def image(storage: str) -> Iterator[str]:
    variables = {"CONTAINERS_STORAGE_CONF": storage}
    if run("podman", "image", "exists", BASE_IMAGE, check=False, variables=variables).returncode:
        run("nice", str(ROOT / "tools" / "base-image.sh"), BASE_IMAGE, seconds=BUILD_SECONDS, variables=variables)
    builder = {"BUILDER": "buildah", "BUILDAH_ISOLATION": "chroot", "BASE": BASE_IMAGE}
    run("nice", str(ROOT / "tools" / "build-image.sh"), IMAGE, seconds=BUILD_SECONDS, variables=variables | builder)
    yield IMAGE
    run("podman", "rmi", "--force", IMAGE, check=False, variables=variables)


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
