"""The manifests on the real control plane: Pod Security and RBAC say what they would say in a user's cluster."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.attempts import LABEL, MAPS, NAMESPACE, NEGATIVE, POSITIVE, RBAC, Try
from tests.deploy.cluster import EFFECTIVE_SECONDS, Cluster, binaries
from tests.deploy.manifests import (
    DEPLOY,
    OVERLAYS,
    Manifest,
    objects,
    one,
    pod_template,
    settings,
    write_overlay,
)
from tests.lab.sandboxed import run_inside
from watcher.lab import network, sysctls
from watcher.lab.control_plane import apiserver
from watcher.lab.control_plane.kubernetes import KubernetesControlPlane

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

BASE = DEPLOY / "base"

TIMERS = ("timer", "timer-with-capture")


def pod(template: Manifest, change: Callable[[Manifest], object] = lambda _spec: None) -> Manifest:
    """What the Deployment's controller would make, which the lab does not have."""
    template = deepcopy(template)
    change(template["spec"])
    metadata = {"generateName": "watcher-soak-", "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def first(spec: Manifest) -> Manifest:
    container: Manifest = spec["containers"][0]
    return container


MUTANTS: dict[str, Callable[[Manifest], object]] = {
    "privileged": lambda spec: first(spec)["securityContext"].update(privileged=True, allowPrivilegeEscalation=True),
    "root": lambda spec: (spec["securityContext"].update(runAsUser=0), spec["securityContext"].pop("runAsNonRoot")),
    "escalation": lambda spec: first(spec)["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities": lambda spec: first(spec)["securityContext"].pop("capabilities"),
    "seccomp": lambda spec: spec["securityContext"].pop("seccompProfile"),
    "host path": lambda spec: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "host network": lambda spec: spec.update(hostNetwork=True),
}


def attempts(cluster: Cluster, token: str, tries: dict[str, Try]) -> dict[str, int]:
    return {what: cluster.ask(*request_, token=token)[0] for what, request_ in tries.items()}


def rules(cluster: Cluster, token: str, namespace: str) -> list[dict[str, Any]]:
    """All that the API server says this token may do to resources there; not what it may ask about itself."""
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status, body = cluster.ask("POST", path, {"spec": {"namespace": namespace}}, token=token)
    assert status == 201, body
    about_itself = {"authorization.k8s.io", "authentication.k8s.io"}
    return [rule for rule in body["status"]["resourceRules"] if not set(rule["apiGroups"]) <= about_itself]


async def scene(programs: list[str], folder: str) -> dict[str, Any]:
    """A user's way: namespace, dry run, apply; then each overlay over it; then pods and tokens."""
    arguments = apiserver.arguments

    def as_managed_clusters_have_it(*given: Any, **named: Any) -> list[str]:
        return [*arguments(*given, **named), "--allow-privileged=true"]

    # Else a privileged pod is refused by the server itself, and not by Pod Security.
    apiserver.arguments = as_managed_clusters_have_it
    control_plane_cluster = network.make_cluster()
    control_plane_cluster.write_sysctls(sysctls.endpoint(1.0))
    start = KubernetesControlPlane.start(control_plane_cluster, Path(folder), binaries=binaries(programs))
    async with start as running:
        return await asyncio.to_thread(steps, Cluster(running.access, Path(folder)), Path(folder))


def steps(cluster: Cluster, folder: Path) -> dict[str, Any]:
    seen: dict[str, Any] = {"applied": {}, "pods": {}, "mutants": {}}
    base = objects(BASE)
    namespace = folder / "namespace.json"
    namespace.write_text(json.dumps(one(base, "Namespace")))
    cluster.kubectl("apply", "-f", str(namespace))
    seen["dry run"] = cluster.kubectl("apply", "-k", str(BASE), "--dry-run=server")
    for name, place in {"base": BASE, **{name: DEPLOY / "overlays" / name for name in OVERLAYS}}.items():
        seen["applied"][name] = cluster.kubectl("apply", "-k", str(place))
        seen["pods"][name] = make(cluster, pod(pod_template(objects(place))))
    seen["mutants"] = {
        name: make(cluster, pod(pod_template(base), change), dry=True) for name, change in MUTANTS.items()
    }
    seen["rights"] = rights(cluster, base)
    seen["capture"] = capture(cluster, folder, base)
    seen["timer"] = {name: timer(cluster, name) for name in TIMERS}
    seen["removed"] = cluster.kubectl("delete", "-k", str(BASE), "--wait=false")
    return seen


def make(cluster: Cluster, manifest: Manifest, *, dry: bool = False) -> list[Any]:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods" + ("?dryRun=All" if dry else "")
    status, body = cluster.ask("POST", path, manifest)
    return [status, body.get("message", "")]


def make_under(cluster: Cluster, level: str, manifest: Manifest) -> list[Any]:
    """The answer of a server that goes by this level of Pod Security, of which it learns a moment later."""
    until = time.monotonic() + EFFECTIVE_SECONDS
    while True:
        status, message = make(cluster, manifest, dry=True)
        goes_by = status == 201 if level == "privileged" else f'violates PodSecurity "{level}' in message
        if goes_by or time.monotonic() > until:
            return [status, message]
        time.sleep(0.05)


def rights(cluster: Cluster, base: list[Manifest]) -> dict[str, Any]:
    """What the token may do, then the same with rights that are too wide, and with each right taken away."""
    token = cluster.token()
    cluster.until(token, f"{MAPS}?{LABEL}", 200)
    seen: dict[str, Any] = {
        "positive": attempts(cluster, token, POSITIVE),
        "negative": attempts(cluster, token, NEGATIVE),
        "rules": rules(cluster, token, NAMESPACE),
        "rules elsewhere": rules(cluster, token, "default"),
    }
    path = f"{RBAC}/roles/watcher"
    role = one(base, "Role")
    wide = {**role, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    cluster.ask("PUT", path, wide)
    cluster.until(token, f"/api/v1/namespaces/{NAMESPACE}/secrets", 200)
    # Not those that would change what the next step stands on.
    harmless = {name: each for name, each in NEGATIVE.items() if each[0] == "GET"}
    seen["negative, too wide"] = attempts(cluster, token, harmless)
    seen["rules, too wide"] = rules(cluster, token, NAMESPACE)
    cluster.ask("PUT", path, role)
    cluster.until(token, f"/api/v1/namespaces/{NAMESPACE}/secrets", 403)
    seen["without"] = {}
    for number, rule in enumerate(role["rules"]):
        for verb in rule["verbs"]:
            less = deepcopy(role)
            less["rules"][number]["verbs"].remove(verb)
            less["rules"] = [each for each in less["rules"] if each["verbs"]]
            cluster.ask("PUT", path, less)
            reviewed = settled(cluster, token, less["rules"])
            assert reviewed, f"without {verb}"
            seen["without"][f"{number} {verb}"] = attempts(cluster, token, POSITIVE)
            for name in ("trigger", "failure-1", "totals-soak"):
                cluster.ask("DELETE", f"{MAPS}/{name}")
    cluster.ask("PUT", path, role)
    return seen


def settled(cluster: Cluster, token: str, wanted: list[dict[str, Any]]) -> bool:
    """Whether the server goes by these rules now, or soon."""
    until = time.monotonic() + EFFECTIVE_SECONDS
    while time.monotonic() < until:
        if sorted(map(key, rules(cluster, token, NAMESPACE))) == sorted(map(key, wanted)):
            return True
        time.sleep(0.05)
    return False


def key(rule: dict[str, Any]) -> str:
    return json.dumps(
        [sorted(rule[part]) for part in ("apiGroups", "resources", "verbs")] + [rule.get("resourceNames", [])]
    )


def capture(cluster: Cluster, folder: Path, base: list[Manifest]) -> dict[str, Any]:
    """The sidecar before and after its own change of the namespace, and under the level between."""
    own = folder / "overlay"
    own.mkdir()
    write_overlay(own, DEPLOY / "overlays" / "aks-public", "capture")
    manifests = list(yaml.safe_load_all(subprocess.run(
        ["kubectl", "kustomize", str(own)], capture_output=True, text=True, check=True
    ).stdout))  # fmt: skip
    sidecar = pod(pod_template(manifests))
    cluster.kubectl("apply", "-k", str(BASE))
    seen: dict[str, Any] = {"restricted": make_under(cluster, "restricted", sidecar)}
    cluster.kubectl("label", "namespace", NAMESPACE, "--overwrite", "pod-security.kubernetes.io/enforce=baseline")
    seen["baseline"] = make_under(cluster, "baseline", sidecar)
    seen["applied"] = cluster.kubectl("apply", "-k", str(own))
    seen["privileged"] = make_under(cluster, "privileged", sidecar)
    cluster.kubectl("apply", "-k", str(BASE))
    seen["restricted again"] = make_under(cluster, "restricted", sidecar)
    assert settings(base)
    return seen


def timer(cluster: Cluster, name: str) -> dict[str, Any]:
    """The timer server in its own namespace, where the overlay has left it."""
    applied = cluster.kubectl("apply", "-k", str(DEPLOY / name))
    # Made by a controller in a cluster; the pod has no token of it.
    cluster.ask("POST", "/api/v1/namespaces/watcher-timer/serviceaccounts", {"metadata": {"name": "default"}})
    body = pod(pod_template(objects(DEPLOY / name)))
    status, answer = cluster.ask("POST", "/api/v1/namespaces/watcher-timer/pods?dryRun=All", body)
    return {"applied": applied, "pod": [status, answer.get("message", "")]}


@pytest.fixture(scope="module")
def seen(programs: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = run_inside(scene, programs, str(tmp_path_factory.mktemp("admission")), timeout=300)
    return found


def test_a_server_side_dry_run_accepts_the_base(seen: dict[str, Any]) -> None:
    """Otherwise whoever looks before they apply is told of an error."""
    assert seen["dry run"]["status"] == 0, seen["dry run"]["errors"]
    assert len(seen["dry run"]["lines"]) == len(objects(BASE))
    assert "Warning" not in seen["dry run"]["errors"]


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_a_cluster_accepts_every_object(seen: dict[str, Any], name: str) -> None:
    """Otherwise the one line of the README ends in an error, or in a warning that nobody can judge."""
    applied = seen["applied"][name]
    assert applied["status"] == 0, applied["errors"]
    assert applied["errors"] == ""
    assert len(applied["lines"]) == len(objects(DEPLOY / "overlays" / name if name != "base" else BASE))


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_the_pod_passes_restricted_pod_security(seen: dict[str, Any], name: str) -> None:
    """Otherwise the Deployment is accepted and no pod ever comes."""
    assert seen["pods"][name] == [201, ""]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_pod_that_asks_for_more_is_refused(seen: dict[str, Any], mutant: str) -> None:
    """The mutants: were they accepted, the test above would say nothing about Pod Security."""
    status, message = seen["mutants"][mutant]
    assert status == 403, message
    assert 'violates PodSecurity "restricted' in message


def test_the_token_may_do_what_the_soak_does(seen: dict[str, Any]) -> None:
    """Otherwise the soak runs and can touch, watch or write nothing."""
    refused = {what: status for what, status in seen["rights"]["positive"].items() if status not in (200, 201)}
    assert refused == {}


def test_the_token_may_do_nothing_else(seen: dict[str, Any]) -> None:
    """Otherwise an error in the soak, or somebody inside its pod, reaches what is none of its business."""
    allowed = {what: status for what, status in seen["rights"]["negative"].items() if status != 403}
    assert allowed == {}
    assert sorted(map(key, seen["rights"]["rules"])) == sorted(map(key, one(objects(BASE), "Role")["rules"]))
    assert seen["rights"]["rules elsewhere"] == []


def test_rights_that_are_too_wide_are_seen(seen: dict[str, Any]) -> None:
    """The mutant of the test above: a role of everything."""
    statuses = seen["rights"]["negative, too wide"]
    assert statuses["read secrets"] == statuses["read pods"] == 200
    assert statuses["watch everything"] != 403  # several events are not one JSON object, so that it counts as no answer
    assert statuses["list everywhere"] == statuses["list elsewhere"] == 403  # a Role ends at its namespace
    assert [rule["resources"] for rule in seen["rights"]["rules, too wide"]] == [["*"]]


def test_no_right_can_be_spared(seen: dict[str, Any]) -> None:
    """Otherwise the role is wider than needed: each verb of each rule, taken away, must stop something."""
    spared = [
        verb
        for verb, statuses in seen["rights"]["without"].items()
        if not [what for what, status in statuses.items() if status == 403]
    ]
    assert spared == []
    assert len(seen["rights"]["without"]) == 7


def test_the_capture_needs_the_namespace_that_it_says(seen: dict[str, Any]) -> None:
    """Otherwise its text asks for more than it needs, or it does not run where it is put."""
    capture = seen["capture"]
    assert capture["applied"]["status"] == 0, capture["applied"]["errors"]
    assert capture["restricted"][0] == capture["baseline"][0] == capture["restricted again"][0] == 403
    assert "NET_RAW" in capture["baseline"][1]
    assert capture["privileged"] == [201, ""]


@pytest.mark.parametrize("name", TIMERS)
def test_the_timer_server_is_taken_as_it_is(seen: dict[str, Any], name: str) -> None:
    """Its pod passes what its own namespace enforces: `restricted`, and with the capture what that says it needs."""
    found = seen["timer"][name]
    assert found["applied"]["status"] == 0, found["applied"]["errors"]
    assert len(found["applied"]["lines"]) == len(objects(DEPLOY / name))
    assert found["pod"][0] == 201, found["pod"]
    if name == "timer":
        assert found["applied"]["errors"] == ""


def test_it_can_be_removed(seen: dict[str, Any]) -> None:
    """Otherwise a user who has seen enough is left with the pieces."""
    assert seen["removed"]["status"] == 0, seen["removed"]["errors"]
    assert shutil.which("kubectl")
