"""The image: built on a base of Debian's own packages, and run as a restricted pod runs it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.images import about, inside, python
from tests.deploy.manifests import DEPLOY, ROOT, container, objects
from watcher.soak.settings import DEFAULT_STACKS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


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
    assert len(re.findall(r"ready in 0\.\d s", done.stdout + done.stderr)) == 4
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
