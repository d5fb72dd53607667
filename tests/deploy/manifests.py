"""The manifests under deploy/ as `kubectl apply -k` sees them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = tuple(f"{cloud}-{kind}" for cloud in ("aks", "eks", "gke") for kind in ("public", "private"))

Manifest = dict[str, Any]


def need_kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not there: install it, in Debian kubernetes-client")


@functools.cache
def rendered(folder: Path, *components: str) -> str:
    """What the folder makes, with components as a user's own overlay adds them."""
    need_kubectl()
    if not components:
        return _kustomize(folder)
    with tempfile.TemporaryDirectory() as place:
        own = Path(place).resolve()
        write_overlay(own, folder, *components)
        return _kustomize(own)


def write_overlay(own: Path, folder: Path, *components: str) -> None:
    """A user's own overlay over one of ours, in a folder of their own."""
    parts = [os.path.relpath(DEPLOY / "components" / name, own) for name in components]
    content = {"resources": [os.path.relpath(folder, own)], "components": parts}
    (own / "kustomization.yaml").write_text(yaml.safe_dump(content))


def objects(folder: Path, *components: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(rendered(folder, *components)) if each]


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    (found,) = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"].startswith(name)]
    return found


def settings(manifests: list[Manifest]) -> dict[str, str]:
    data: dict[str, str] = one(manifests, "ConfigMap", "watcher-settings-")["data"]
    return data


def pod_template(manifests: list[Manifest]) -> Manifest:
    template: Manifest = one(manifests, "Deployment")["spec"]["template"]
    return template


def container(manifests: list[Manifest], name: str = "soak") -> Manifest:
    (found,) = [each for each in pod_template(manifests)["spec"]["containers"] if each["name"] == name]
    assert isinstance(found, dict)
    return found


def _kustomize(folder: Path) -> str:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
