"""The image: built on a base of Debian's own packages, run as a restricted pod runs it, and its soak in the lab.

All in one file, and so in one process: to build it takes minutes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.image_soak import soak_scene
from tests.deploy.images import BASE_IMAGE, BUILD_SECONDS, IMAGE, about, inside, python, run
from tests.deploy.manifests import DEPLOY, ROOT, container, objects, settings
from tests.deploy.test_kustomize import SUPERVISOR_MIB
from tests.lab.sandboxed import run_inside
from watcher.programs.environments import cache_folder
from watcher.soak.settings import DEFAULT_STACKS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def image(storage: str) -> Iterator[str]:
    variables = {"CONTAINERS_STORAGE_CONF": storage}
    if run("podman", "image", "exists", BASE_IMAGE, check=False, variables=variables).returncode:
        run("nice", str(ROOT / "tools" / "base-image.sh"), BASE_IMAGE, seconds=BUILD_SECONDS, variables=variables)
    builder = {"BUILDER": "buildah", "BUILDAH_ISOLATION": "chroot", "BASE": BASE_IMAGE}
    run("nice", str(ROOT / "tools" / "build-image.sh"), IMAGE, seconds=BUILD_SECONDS, variables=variables | builder)
    yield IMAGE
    run("podman", "rmi", "--force", IMAGE, check=False, variables=variables)


def test_it_starts_as_a_restricted_pod_does(image: str, storage: str) -> None:
    """Otherwise it needs root, a writable file system or a network to say so much as its version."""
    assert image
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert inside(storage, "--version").stdout == f"watcher {version}\n"
    identity = python(storage, "import os; print(os.getuid(), os.getgid(), os.access('/', os.W_OK))")
    assert identity == "65532 65532 False\n"


def test_the_manifests_run_it_as_whom_it_says(image: str, storage: str) -> None:
    """Otherwise the kubelet refuses it: runAsNonRoot can only be checked of a number."""
    found = json.loads(about(storage, "image", "inspect", image))[0]["Config"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", found["User"])
    assert [*found["Entrypoint"], *found["Cmd"]] == ["/opt/watcher/bin/watcher", "soak"]
    assert container(objects(DEPLOY / "base"))["args"] == found["Cmd"]
    variables = dict(each.split("=", 1) for each in found["Env"])
    spool = {each["name"]: each.get("value") for each in container(objects(DEPLOY / "base"))["env"]}["WATCHER_SPOOL"]
    assert variables["WATCHER_SPOOL"] == spool


def surplus(installed: Mapping[str, str], allowed: Mapping[str, str]) -> list[str]:
    """What is installed in a version that is not allowed, or at all."""
    return [f"{name}=={version}" for name, version in installed.items() if allowed.get(name) != version]


def locked() -> dict[str, str]:
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def test_it_holds_what_runs_and_nothing_of_development(image: str, storage: str) -> None:
    """Otherwise test tools and browsers travel to every cluster, or other versions than those that were tested."""
    assert image
    code = "import importlib.metadata as m, json; print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
    installed: dict[str, str] = {
        canonicalize_name(name): version for name, version in json.loads(python(storage, code))
    }
    installed.pop("watcher-resilience-matrix")
    assert surplus(installed, locked()) == []
    assert surplus({"rich": "0.1", "leftpad": "1"}, locked()) == ["rich==0.1", "leftpad==1"]  # the mutants
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {canonicalize_name(Requirement(each).name) for each in groups["project"]["dependencies"]}
    assert wanted <= set(installed)
    development = {canonicalize_name(Requirement(each).name) for each in groups["dependency-groups"]["dev"]} - wanted
    assert development & set(installed) == set()


def test_the_client_environments_are_whole_for_any_user(image: str, storage: str) -> None:
    """Otherwise a cluster that chooses the user id itself gets a soak that cannot start its programs."""
    assert image
    done = inside(storage, "build", *DEFAULT_STACKS.split(","), options=["--user=1234567:0"])
    # Nothing can be built here, without a network and without a place to write to: they are whole, or this fails.
    assert len(re.findall(r"ready in \d+\.\d s", done.stdout + done.stderr)) == 4
    code = "import pathlib; print(len(list(pathlib.Path('/opt/watcher-cache').rglob('*.pyc'))))"
    assert int(python(storage, code, "--user=1234567:0")) > 1000


def test_nothing_of_the_machine_it_was_built_on_is_in_it(image: str, storage: str) -> None:
    """Otherwise a published image names a company's mirror, or has its password."""
    history = about(storage, "history", "--no-trunc", "--format=json", image)
    for text in (history, about(storage, "image", "inspect", image)):
        assert str(ROOT) not in text
        assert not re.search(r"UV_DEFAULT_INDEX=\S|PIP_INDEX_URL=\S", text)
    assert (
        python(storage, "import os; print(os.path.exists('/run/secrets/ca'), os.path.exists('/src'))")
        == "False False\n"
    )


@pytest.fixture(scope="module")
def seen(image: str, storage: str, programs: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    assert image
    given = {name: value for name, value in settings(objects(DEPLOY / "base")).items() if value}
    folder = str(tmp_path_factory.mktemp("image"))
    found: dict[str, Any] = run_inside(soak_scene, programs, folder, storage, given, timeout=600)
    return found


def test_its_soak_observes_touches_in_the_lab(seen: dict[str, Any]) -> None:
    """Otherwise all of this starts in a cluster and sees nothing."""
    own = seen["own"]
    assert own["readyz"][0] == 200, own["readyz"][1] + own["log"]
    assert own["healthz"][0] == 200, own["log"]
    assert len(own["observed"]) == 10
    assert min(own["observed"]) >= 2, own["log"]
    assert "trigger" in seen["maps"]


def test_it_ends_in_order_and_leaves_its_totals(seen: dict[str, Any]) -> None:
    """Otherwise every rolling update of a node costs what was counted, or takes until the kubelet kills it."""
    assert seen["own"]["status"] == 0, seen["own"]["log"]
    totals = json.loads(seen["maps"]["totals-soak"]["totals.json"])
    assert len(totals["watchers"]) == 10
    assert all(each["observed"] >= 2 for each in totals["watchers"])


def test_it_needs_no_more_memory_than_is_requested_for_it(seen: dict[str, Any]) -> None:
    """Otherwise the sum that the manifest's request is made of is wrong."""
    assert 10 < seen["own"]["resident_mib"] < SUPERVISOR_MIB


def test_a_refused_token_is_said_and_nothing_is_counted(seen: dict[str, Any]) -> None:
    """The mutant: with another token the first test fails, and the soak says why and goes on trying."""
    refused = seen["refused"]
    assert refused["readyz"][0] == 503
    assert "401" in refused["readyz"][1]
    assert refused["healthz"][0] == 200
    assert sum(refused["observed"]) == 0


def test_its_log_has_no_token(seen: dict[str, Any]) -> None:
    """Otherwise whoever may read the pod's log may act as the soak."""
    for name in ("own", "refused"):
        assert seen[name]["log"]
        assert "eyJ" not in seen[name]["log"]
        assert "no-such-token" not in seen[name]["log"]
