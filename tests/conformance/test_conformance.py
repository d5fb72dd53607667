"""The embedded control plane is held to the real one: each probe's answer on both, and where they may differ."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import kubectl, scene
from tests.conformance.client import Json
from tests.conformance.differences import DIFFERENCES, KUBECTL_DIFFERENCES, Difference
from tests.conformance.probe import PROBES
from tests.lab.sandboxed import run_inside
from watcher.errors import LabUnavailable
from watcher.lab.control_plane import haproxy
from watcher.lab.control_plane.binaries import Binaries, find
from watcher.programs.environments import cache_folder

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

SCENE_SECONDS = 240.0
PLANES = ("embedded", "kubernetes")
ALIKE = [name for name, each in PROBES.items() if each.expected is not None]


def _real() -> Binaries | LabUnavailable:
    try:
        haproxy.binary()
        found = find("kubernetes", cache_folder())
    except LabUnavailable as missing:
        return missing
    assert found is not None
    return found


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By control plane: what its scene brought back, or why the real one cannot be asked. Both run at once."""
    real = _real()
    with ThreadPoolExecutor() as pool:

        def start(plane: str, *arguments: str) -> Future[Any]:
            folder = str(tmp_path_factory.mktemp(plane))
            run = getattr(scene, f"{plane}_scene")
            return pool.submit(run_inside, run, folder, *arguments, timeout=SCENE_SECONDS)

        embedded = start("embedded")
        if isinstance(real, LabUnavailable):
            return {"embedded": embedded.result(), "kubernetes": real}
        kubernetes = start("kubernetes", str(real.etcd), str(real.kube_apiserver), real.version)
        return {"embedded": embedded.result(), "kubernetes": kubernetes.result()}


def answers(scenes: dict[str, Any], plane: str) -> dict[str, Json]:
    if isinstance(scenes[plane], LabUnavailable):
        pytest.skip(str(scenes[plane]))
    found: dict[str, Json] = scenes[plane]["found"]
    return found


def told(difference: Difference, plane: str) -> Json:
    return difference.embedded if plane == "embedded" else difference.kubernetes


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("name", ALIKE)
def test_both_answer_alike(scenes: dict[str, Any], plane: str, name: str) -> None:
    """What breaks for a user is in the probe's own docstring."""
    assert answers(scenes, plane)[name] == PROBES[name].expected, PROBES[name].user_impact


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("name", sorted(DIFFERENCES))
def test_a_difference_is_the_one_that_is_named(scenes: dict[str, Any], plane: str, name: str) -> None:
    """Otherwise the documented limits of the embedded control plane are not its limits."""
    assert answers(scenes, plane)[name] == told(DIFFERENCES[name], plane), PROBES[name].user_impact


def test_what_is_not_served_is_reported_and_nothing_else(scenes: dict[str, Any]) -> None:
    """Otherwise a cell that needs the real control plane is judged, or one that does not is invalid."""
    every = [*DIFFERENCES.values(), *(KUBECTL_DIFFERENCES.values() if kubectl.available() else ())]
    assert set(scenes["embedded"]["unserved"]) == {what for each in every for what in each.unserved}


def test_the_embedded_one_is_marked_as_an_imitation_of_that_very_release(scenes: dict[str, Any]) -> None:
    """Otherwise results look as if they came from a real cluster, or the suite compares two releases."""
    answers(scenes, "kubernetes")
    assert scenes["embedded"]["version"] == f"{scenes['kubernetes']['version']}+embedded"


def test_each_probe_is_expected_to_agree_or_named_as_differing() -> None:
    """Otherwise an answer is not looked at, or an excuse outlives its reason."""
    assert {name for name, each in PROBES.items() if each.expected is None} == set(DIFFERENCES)
    every = [*DIFFERENCES.values(), *KUBECTL_DIFFERENCES.values()]
    assert all(each.why and each.embedded != each.kubernetes for each in every)


needs_kubectl = pytest.mark.skipif(not kubectl.available(), reason="kubectl is not installed")
KUBECTL = {
    "create namespace": [0, "namespace/kubectl created"],
    "create": [0, "configmap/kubectls created"],
    "create again": [
        1,
        'Error from server (AlreadyExists): error when creating "config-map.json": '
        'configmaps "kubectls" already exists',
    ],
    "get as JSON": [0, "1"],
    "patch": [0, "configmap/kubectls patched"],
    "strategic patch": [0, "configmap/kubectls patched"],
    "get names": [0, "configmap/kubectls"],
    "get by field": [0, "configmap/kubectls"],
    "delete": [0, 'configmap "kubectls" deleted'],
    "get what is gone": [1, 'Error from server (NotFound): configmaps "kubectls" not found'],
}


@needs_kubectl
@pytest.mark.parametrize("plane", PLANES)
def test_kubectl_does_its_work(scenes: dict[str, Any], plane: str) -> None:
    """Otherwise a user who looks into the lab with the tool that is at hand finds it broken."""
    differing = {name: told(each, plane) for name, each in KUBECTL_DIFFERENCES.items()}
    assert answers(scenes, plane)["kubectl"] == KUBECTL | differing


def test_ci_asks_the_real_one() -> None:
    """Otherwise the suite passes on a machine where it compared nothing. (In CI a skip is a failure.)"""
    real = _real()
    if os.environ.get("CI") == "true":
        assert isinstance(real, Binaries), str(real)
    else:
        assert isinstance(real, Binaries | LabUnavailable)


def test_the_scene_knows_all_modules_of_probes() -> None:
    """Otherwise a module's probes are never asked."""
    here = Path(__file__).parent
    with_probes = {
        file.stem for file in here.glob("*.py") if "@probe(" in file.read_text() and file.stem != "test_conformance"
    }
    assert with_probes == {module.__name__.rpartition(".")[2] for module in scene.PROBES_ARE_IN}
