"""The manifests: what each says is true, and fits what the soak does with it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.deploy.manifests import (
    DEPLOY,
    OVERLAYS,
    ROOT,
    Manifest,
    container,
    objects,
    one,
    pod_template,
    settings,
)
from watcher import cli
from watcher.catalog import Catalog
from watcher.soak.server import address_of
from watcher.soak.settings import DEFAULT_STACKS, VARIABLES, SoakSettings, load

BASE = DEPLOY / "base"
SUPERVISOR_MIB = 60
PATHS = {"aks": ("azure-slb", "azure-slb-silent"), "eks": ("aws-nlb",), "gke": ("gcp-vpc",)}
PUBLIC_BY_NAME = ("eks-public", "gke-public")


def overlay(name: str) -> Path:
    return DEPLOY / "overlays" / name


def test_every_overlay_is_looked_at() -> None:
    """Otherwise a new overlay is shipped that no test has rendered."""
    assert {each.name for each in (DEPLOY / "overlays").iterdir()} == set(OVERLAYS)


def normal(manifests: list[Manifest]) -> dict[str, Manifest]:
    """By kind and name without the hash of a generated one, which no longer says anything then."""
    text = re.compile(r"(watcher-(?:settings|endpoint))-[a-z0-9]{10}\b")
    found = {}
    for each in manifests:
        name = text.sub(r"\1", each["metadata"]["name"])
        found[f"{each['kind']}/{name}"] = each
    return found


def changes(overlaid: list[Manifest], base: list[Manifest]) -> set[str]:
    """What differs, in the words of this test."""
    seen = set()
    mine, theirs = normal(overlaid), normal(base)
    seen |= {f"added {name}" for name in mine.keys() - theirs.keys()}
    seen |= {f"removed {name}" for name in theirs.keys() - mine.keys()}
    for name in mine.keys() & theirs.keys():
        one_side, other_side = deepcopy(mine[name]), deepcopy(theirs[name])
        if name == "ConfigMap/watcher-settings":
            pairs = one_side["data"].items() ^ other_side["data"].items()
            seen |= {f"setting {key}" for key, _ in pairs}
            continue
        if name == "NetworkPolicy/watcher-soak":
            egress = [side["spec"].pop("egress") for side in (one_side, other_side)]
            seen |= {"egress"} if egress[0] != egress[1] else set()
        if name == "Deployment/watcher-soak":
            environments = []
            for side in (one_side, other_side):
                soak = side["spec"]["template"]["spec"]["containers"][0]
                soak.pop("envFrom")  # the generated name
                environments.append({each["name"]: each for each in soak.pop("env")})
            seen |= {f"environment {key}" for key in environments[0].keys() ^ environments[1].keys()}
        if one_side != other_side:
            seen.add(f"changed {name}")
    return seen


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_changes_what_it_says_and_nothing_else(name: str) -> None:
    """Otherwise a user reads one thing in an overlay's text and gets another in the cluster."""
    expected = {"setting WATCHER_CLUSTER", "egress"}
    if name.startswith("gke"):
        expected.add("setting CHANGE_INTERVAL_SECONDS")
    if name in PUBLIC_BY_NAME:
        expected |= {
            "added ConfigMap/watcher-endpoint",
            "environment KUBERNETES_SERVICE_HOST",
            "environment KUBERNETES_SERVICE_PORT",
        }
    assert changes(objects(overlay(name)), objects(BASE)) == expected
    assert settings(objects(overlay(name)))["WATCHER_CLUSTER"] == name.replace("-", " ")


def test_the_differences_are_seen() -> None:
    """The mutant of the test above: one more right, one more variable, one object less."""
    base = objects(BASE)
    broken = deepcopy(base)
    one(broken, "Role")["rules"][0]["verbs"].append("delete")
    container(broken)["env"].append({"name": "KUBECONFIG", "value": "/x"})
    broken.remove(one(broken, "NetworkPolicy"))
    assert changes(broken, base) == {
        "changed Role/watcher",
        "environment KUBECONFIG",
        "removed NetworkPolicy/watcher-soak",
    }


def too_near(seconds: float, cloud: str) -> list[str]:
    """The cloud's paths whose idle timeout is within 10 % of the interval."""
    paths = Catalog.load().paths
    timeouts = {name: paths[name].idle_timeout_seconds for name in PATHS[cloud]}
    return [name for name, idle in timeouts.items() if idle is not None and abs(seconds - idle) <= 0.1 * idle]


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_touch_comes_at_the_moment_of_forgetting(name: str) -> None:
    """Otherwise chance decides whether a connection is still known at the touch, and the table is noise."""
    assert too_near(float(settings(objects(overlay(name)))["CHANGE_INTERVAL_SECONDS"]), name[:3]) == []


def test_a_touch_at_that_moment_is_seen() -> None:
    """The mutant: the interval of the base, in GKE."""
    assert too_near(600, "gke") == ["gcp-vpc"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_private_overlay_cannot_show_a_public_path(name: str) -> None:
    """Otherwise the two columns of the table can show the same path, and nobody would know."""
    policy = one(objects(overlay(name)), "NetworkPolicy")["spec"]["egress"][1]
    assert policy["ports"] == [{"protocol": "TCP", "port": 443}]
    blocks = [each["ipBlock"]["cidr"] for each in policy.get("to", [])]
    assert bool(blocks) == name.endswith("private")
    assert "0.0.0.0/0" not in blocks


@pytest.mark.parametrize("name", PUBLIC_BY_NAME)
def test_a_public_overlay_that_was_not_filled_in_reaches_nobody(name: str) -> None:
    """Otherwise the ClusterIP's private path is shown under the name of the public one."""
    manifests = objects(overlay(name))
    assert one(manifests, "ConfigMap", "watcher-endpoint-")["data"]["KUBERNETES_SERVICE_HOST"].endswith(".invalid")
    variables = {each["name"]: each for each in container(manifests)["env"]}
    reference = variables["KUBERNETES_SERVICE_HOST"]["valueFrom"]["configMapKeyRef"]
    assert reference["name"] == one(manifests, "ConfigMap", "watcher-endpoint-")["metadata"]["name"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_an_overlay_claims_has_a_source(name: str) -> None:
    """Otherwise a user must believe us about a cloud that we do not own."""
    text = (overlay(name) / "kustomization.yaml").read_text()
    head = text[: text.index("apiVersion:")]
    assert "Beyond the name:" in head
    assert re.search(r"https://\S+\.(com|microsoft\.com|google\.com)/\S+", head)


def memory_mib(chosen: Mapping[str, str]) -> float:
    """Of all watchers that these settings ask for, and of the supervisor."""
    catalog = Catalog.load()
    pairs = load(dict(chosen)).pairs(catalog)
    return SUPERVISOR_MIB + sum(catalog.stacks[stack].stack.memory_mib for stack, _ in pairs)


def mebibytes(quantity: str) -> float:
    assert quantity.endswith("Mi")
    return float(quantity.removesuffix("Mi"))


@pytest.mark.parametrize("name", ["", *OVERLAYS])
def test_the_memory_that_is_requested_was_measured(name: str) -> None:
    """Otherwise the kernel kills a watcher in a full node, and that is counted against its library."""
    manifests = objects(overlay(name) if name else BASE)
    resources = container(manifests)["resources"]
    needed = memory_mib(settings(manifests))
    assert needed > 300
    assert mebibytes(resources["requests"]["memory"]) >= needed
    assert mebibytes(resources["limits"]["memory"]) >= 1.5 * needed
    assert "cpu" not in resources["limits"]  # a throttled watcher is a late one


def test_more_watchers_need_more() -> None:
    """The mutant of the test above: settings that the request is not enough for."""
    more = settings(objects(BASE)) | {"WATCHER_PROFILES": "default,tcp-keepalive,read-timeout,bookmarks"}
    assert memory_mib(more) > mebibytes(container(objects(BASE))["resources"]["requests"]["memory"])


def test_the_settings_are_the_soaks_own() -> None:
    """Otherwise a variable is set that nobody reads, or the base is not what `watcher soak` does by itself."""
    given = settings(objects(BASE))
    assert set(given) <= set(VARIABLES.values())
    assert {each["name"] for each in container(objects(BASE))["env"]} <= set(VARIABLES.values())
    assert load(given) == SoakSettings()


def test_every_setting_is_explained() -> None:
    """Otherwise a user has to read the source to know what a line is for."""
    lines = (BASE / "settings.env").read_text().splitlines()
    assert lines[0].startswith("#")
    for before, line in pairwise(lines):
        # One comment may stand for two lines of one thing.
        alike = before.partition("=")[0] in line or {"STACKS", "PROFILES"} == {word(before), word(line)}
        assert line.startswith("#") or before.startswith("#") or alike, line


def word(line: str) -> str:
    return line.partition("=")[0].removeprefix("WATCHER_")


@pytest.mark.parametrize("components", [(), ("aks-server-name",)])
def test_the_role_names_the_totals_of_this_instance(components: tuple[str, ...]) -> None:
    """Otherwise the soak counts for weeks and cannot keep its totals."""
    manifests = objects(overlay("aks-public"), *components)
    rules = one(manifests, "Role")["rules"]
    named = [name for rule in rules for name in rule.get("resourceNames", [])]
    assert f"totals-{settings(manifests)['WATCHER_INSTANCE']}" in named
    assert SoakSettings().trigger in named


def test_no_rule_names_more_than_config_maps_of_its_own_namespace() -> None:
    """Otherwise whoever gets into the pod gets further."""
    manifests = objects(BASE)
    assert not {each["kind"] for each in manifests} & {"ClusterRole", "ClusterRoleBinding"}
    for rule in one(manifests, "Role")["rules"]:
        assert rule["apiGroups"] == [""]
        assert rule["resources"] == ["configmaps"]
        assert "*" not in rule["verbs"]


@pytest.mark.parametrize("name", ["", *OVERLAYS])
def test_probes_ask_what_is_served(name: str) -> None:
    """Otherwise the kubelet kills a soak that works, or never one that does not."""
    manifests = objects(overlay(name) if name else BASE)
    soak = container(manifests)
    _, port = address_of(settings(manifests)["WATCHER_LISTEN"])
    assert [each["containerPort"] for each in soak["ports"] if each["name"] == "metrics"] == [port]
    asked = {kind: soak[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in asked.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {probe["port"] for probe in asked.values()} == {"metrics"}
    ingress = one(manifests, "NetworkPolicy")["spec"]["ingress"]
    assert [each["port"] for rule in ingress for each in rule["ports"]] == [port]


def test_selectors_find_the_pod() -> None:
    """Otherwise nothing is scraped and no policy holds, and all of it looks well."""
    manifests = objects(BASE)
    labels = pod_template(manifests)["metadata"]["labels"].items()
    for selector in (
        one(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
        one(manifests, "Service")["spec"]["selector"],
        one(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        one(objects(BASE, "prometheus-operator"), "ServiceMonitor")["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    assert one(manifests, "Service")["spec"]["publishNotReadyAddresses"]


def test_only_the_mounted_folders_can_be_written_to() -> None:
    """Otherwise the spool is on a read-only file system, and misses wait in memory alone."""
    manifests = objects(BASE)
    soak = container(manifests)
    assert soak["securityContext"]["readOnlyRootFilesystem"]
    mounts = {each["mountPath"]: each["name"] for each in soak["volumeMounts"]}
    volumes = {each["name"]: each for each in pod_template(manifests)["spec"]["volumes"]}
    spool = {each["name"]: each.get("value") for each in soak["env"]}["WATCHER_SPOOL"]
    assert set(mounts) == {spool, "/tmp"}  # noqa: S108 - the pod's own
    assert all("sizeLimit" in volumes[name]["emptyDir"] for name in mounts.values())


def test_only_one_pod_counts_at_a_time() -> None:
    """Otherwise a rolling update runs two soaks under one name, and each is told of the other's touches."""
    spec = one(objects(BASE), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= SoakSettings().deadline_seconds + 20


def test_a_services_variables_do_not_become_settings() -> None:
    """Otherwise the kubelet adds WATCHER_SOAK_SERVICE_HOST and the like to our own variables."""
    assert pod_template(objects(BASE))["spec"]["enableServiceLinks"] is False


def test_the_capture_says_what_it_takes_and_is_bounded() -> None:
    """Otherwise a user loosens a namespace without knowing, or packets fill the node's disk."""
    manifests = objects(BASE, "capture")
    labels = one(manifests, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"
    assert one(objects(BASE), "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    text = (DEPLOY / "components" / "capture" / "kustomization.yaml").read_text()
    assert "IT NEEDS A LESS RESTRICTED NAMESPACE" in text
    command = container(manifests, "capture")["command"]
    megabytes, files = (int(command[command.index(option) + 1]) for option in ("-C", "-W"))
    volumes = {each["name"]: each for each in pod_template(manifests)["spec"]["volumes"]}
    limit = mebibytes(volumes["capture"]["emptyDir"]["sizeLimit"])
    assert megabytes * files * 1e6 * 1.1 < limit * 2**20
    assert "--snapshot-length=128" in command


def test_failures_are_told_where_the_capture_is() -> None:
    """Otherwise packets are kept and no failure says so, or a failure names a file that is not there."""
    manifests = objects(BASE, "capture")
    told = {each["name"]: each.get("value") for each in container(manifests)["env"]}
    said = load({name: value for name, value in told.items() if value is not None}).capture
    name, _, file = said.partition(":")
    command = container(manifests, name)["command"]
    assert file == command[command.index("-w") + 1] + "*"
    assert VARIABLES["capture"] not in {each["name"] for each in container(objects(BASE))["env"]}


def documented() -> dict[str, str]:
    """Where the default clients are named, and how."""
    default = re.search(r'^ARG STACKS="(.+)"$', (DEPLOY / "image" / "Containerfile").read_text(), re.MULTILINE)
    said = re.search(r"^- The clients in it are `(.+?)`", (DEPLOY / "README.md").read_text(), re.MULTILINE)
    assert default
    assert said
    return {
        "the image": default[1],
        "deploy/README.md": said[1],
        "the manifests": settings(objects(BASE))["WATCHER_STACKS"].replace(",", " "),
    }


def test_image_manifests_and_readme_name_the_default_clients() -> None:
    """Otherwise the pod ends with "the environment is not built", or a user waits for a client that is not there."""
    told = documented()
    assert set(told.values()) == {DEFAULT_STACKS.replace(",", " ")}, told


@pytest.mark.parametrize("file", [ROOT / "README.md", DEPLOY / "README.md"], ids=["README.md", "deploy/README.md"])
def test_the_line_to_the_table_is_one_that_works(file: Path) -> None:
    """Otherwise whoever copies it gets a usage error, no `watcher` at all, or a table without the lab's word."""
    text = file.read_text()
    (line,) = re.findall(r"^watcher (summarize .+)$", text.replace("\\\n", ""), re.MULTILINE)
    before = text[: text.index("watcher summarize --namespace")]
    assert "make setup" in before
    assert '.venv/bin:$PATH"' in before
    words = shlex.split(line)
    columns = {words[at + 1].rpartition("=")[2] for at, word in enumerate(words) if word == "--context"}
    paths = dict(words[at + 1].split("=") for at, word in enumerate(words) if word == "--path")
    assert paths.keys() == columns
    # Only the clusters are missing here; of a wrong option or path nothing would be asked.
    result = CliRunner().invoke(cli.app, [*words, "--kubeconfig", "/dev/null"])
    assert (result.exit_code, "the kubeconfig cannot be used" in result.output) == (2, True), result.output


def test_the_readme_has_a_line_for_each_overlay() -> None:
    """Otherwise a user finds the overlay for their cloud by chance."""
    text = (DEPLOY / "README.md").read_text()
    for name in OVERLAYS:
        assert f"deploy/overlays/{name}" in text
    for component in (DEPLOY / "components").iterdir():
        if component.name not in ("managed-port", "private-addresses", "public-endpoint"):
            assert f"components/{component.name}" in text
