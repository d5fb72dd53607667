"""The timer server's manifests: what each says is true, and fits what the server does with it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY, Manifest, container, objects, one, pod_template
from tests.deploy.test_kustomize import mebibytes
from watcher.cli.serving import parse_periods
from watcher.servers.timer import PERIODS_SECONDS

TIMER = DEPLOY / "timer"
WITH_CAPTURE = DEPLOY / "timer-with-capture"
BOTH = pytest.mark.parametrize("folder", [TIMER, WITH_CAPTURE], ids=["timer", "with-capture"])


def periods(manifests: list[Manifest]) -> dict[int, float]:
    arguments = container(manifests, "timer")["args"]
    assert arguments[:2] == ["serve", "timer"]
    return parse_periods([value for option, value in pairwise(arguments) if option == "--port"])


@BOTH
def test_every_port_leads_to_the_server(folder: Path) -> None:
    """A load balancer's port that leads nowhere resets every connection: just what is to be looked for."""
    manifests = objects(folder)
    assert periods(manifests) == PERIODS_SECONDS
    named = {each["name"]: each["containerPort"] for each in container(manifests, "timer")["ports"]}
    service = one(manifests, "Service")["spec"]
    assert {each["port"]: named[each["targetPort"]] for each in service["ports"]} == {
        port: port for port in PERIODS_SECONDS
    }
    [rule] = one(manifests, "NetworkPolicy")["spec"]["ingress"]
    assert {each["port"] for each in rule["ports"]} == set(PERIODS_SECONDS)


@BOTH
def test_the_service_is_a_load_balancers_and_hides_nobody(folder: Path) -> None:
    """Without a load balancer nothing is measured; with a node's address in place of the client's the log is no use."""
    manifests = objects(folder)
    service = one(manifests, "Service")["spec"]
    assert (service["type"], service["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    labels = pod_template(manifests)["metadata"]["labels"]
    selectors = [
        service["selector"],
        one(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
        one(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)


@BOTH
def test_it_may_do_nothing_in_the_cluster(folder: Path) -> None:
    """Strangers talk to this pod: it has no token, no way out and nothing to write to."""
    manifests = objects(folder)
    spec = pod_template(manifests)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec
    assert spec["enableServiceLinks"] is False
    timer = container(manifests, "timer")["securityContext"]
    assert timer == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    policy = one(manifests, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy
    assert {each["kind"] for each in manifests} == {"Namespace", "Deployment", "Service", "NetworkPolicy"}


def test_the_capture_says_what_it_takes_and_is_bounded() -> None:
    """Otherwise a user loosens a namespace without knowing, or packets fill the node's disk."""
    label = "pod-security.kubernetes.io/enforce"
    levels = [one(objects(folder), "Namespace")["metadata"]["labels"][label] for folder in (TIMER, WITH_CAPTURE)]
    assert levels == ["restricted", "privileged"]
    assert "IT NEEDS A LESS RESTRICTED NAMESPACE" in (WITH_CAPTURE / "kustomization.yaml").read_text()
    manifests = objects(WITH_CAPTURE)
    command = container(manifests, "capture")["command"]
    megabytes, files = (int(command[command.index(option) + 1]) for option in ("-C", "-W"))
    [volume] = pod_template(manifests)["spec"]["volumes"]
    assert megabytes * files * 1e6 * 1.1 < mebibytes(volume["emptyDir"]["sizeLimit"]) * 2**20
    assert "--snapshot-length=128" in command
    assert command[-1] == " or ".join(f"tcp port {port}" for port in PERIODS_SECONDS)
    assert len(pod_template(objects(TIMER))["spec"]["containers"]) == 1


def test_the_readme_has_a_line_for_it() -> None:
    """Otherwise a user finds it by chance."""
    text = (DEPLOY / "README.md").read_text()
    assert "kubectl apply -k deploy/timer" in text
    assert "deploy/timer-with-capture" in text
