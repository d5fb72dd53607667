"""What the doctor says about machines that nobody has at hand, and about this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from watcher import doctor
from watcher.doctor import inside
from watcher.doctor.checks import Check, checks, first_problem
from watcher.doctor.clients import environments
from watcher.doctor.readings import (
    NEEDED_TOOLS,
    PATH_TOOLS,
    SERVER_TOOLS,
    USEFUL_TOOLS,
    Attempt,
    Readings,
    find_tool,
    read,
)

FEATURES = ("proc", "veth", "nftables", "conntrack", "packets")
WORKS = Attempt(status=0, error="", features=dict.fromkeys(FEATURES))
DEBIAN = Readings(
    system="Linux",
    release="6.1.0-18-amd64",
    distribution="Debian GNU/Linux 12 (bookworm)",
    python=(3, 11, 2),
    user=1000,
    tools={tool: f"/usr/sbin/{tool}" for tool in (*NEEDED_TOOLS, *PATH_TOOLS, *SERVER_TOOLS, *USEFUL_TOOLS)},
    limits={
        "user.max_user_namespaces": 63000,
        "user.max_net_namespaces": 63000,
        "user.max_mnt_namespaces": 63000,
        "user.max_pid_namespaces": 63000,
        "kernel.unprivileged_userns_clone": 1,
    },
    seccomp=False,
    container=None,
    sys_admin=False,
    attempt=WORKS,
    open_files=1_048_576,
    memory_mib=8000,
    cores=2,
    assets=None,
    assets_found=(),
)
REFUSED = Attempt(status=1, error="unshare: unshare failed: Operation not permitted")


def limits(**changes: int) -> Mapping[str, int]:
    return {**DEBIAN.limits, **{name.replace("__", "."): value for name, value in changes.items()}}


UBUNTU = replace(
    DEBIAN,
    distribution="Ubuntu 24.04.2 LTS",
    limits=limits(kernel__apparmor_restrict_unprivileged_userns=1),
    attempt=Attempt(status=1, error="unshare: write failed /proc/self/uid_map: Operation not permitted"),
)
OLD_DEBIAN = replace(DEBIAN, limits=limits(kernel__unprivileged_userns_clone=0), attempt=REFUSED)
NO_USER_NAMESPACES = replace(
    DEBIAN,
    limits=limits(user__max_user_namespaces=0),
    attempt=Attempt(status=1, error="unshare: unshare failed: No space left on device"),
)
NO_NET_NAMESPACES = replace(NO_USER_NAMESPACES, limits=limits(user__max_net_namespaces=0), user=0, sys_admin=True)
DOCKER_USER = replace(DEBIAN, container="Docker", seccomp=True, attempt=REFUSED)
DOCKER_ROOT = replace(DOCKER_USER, user=0)
DOCKER_MASKED = replace(
    DEBIAN,
    container="Docker",
    user=0,
    sys_admin=True,
    attempt=Attempt(status=1, error="unshare: mount /proc failed: Permission denied"),
)
UNNAMED_FILTER = replace(DEBIAN, seccomp=True, attempt=REFUSED)
WEAK_ROOT = replace(DEBIAN, user=0, attempt=REFUSED)
UNKNOWN = replace(DEBIAN, attempt=REFUSED)
MACOS = replace(DEBIAN, system="Darwin", release="24.5.0", distribution="", attempt=None)


def named(readings: Readings, name: str) -> Check:
    (check,) = [check for check in checks(readings) if check.name == name]
    return check


@pytest.mark.parametrize(
    ("machine", "cause", "remedy"),
    [
        pytest.param(
            UBUNTU,
            "kernel.apparmor_restrict_unprivileged_userns is 1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            id="ubuntu",
        ),
        pytest.param(
            OLD_DEBIAN,
            "kernel.unprivileged_userns_clone is 0",
            "sysctl -w kernel.unprivileged_userns_clone=1",
            id="old-debian",
        ),
        pytest.param(
            NO_USER_NAMESPACES, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=", id="no-user"
        ),
        pytest.param(NO_NET_NAMESPACES, "user.max_net_namespaces is 0", "sysctl -w user.max_net_namespaces=", id="net"),
        pytest.param(DOCKER_USER, "Docker forbids namespaces by its seccomp filter", "--privileged", id="docker-user"),
        pytest.param(DOCKER_ROOT, "Docker forbids namespaces by its seccomp filter", "--privileged", id="docker-root"),
        pytest.param(DOCKER_MASKED, "Docker does not let /proc be mounted", "--privileged", id="docker-masked"),
        pytest.param(UNNAMED_FILTER, "a seccomp filter", "--privileged", id="unnamed-filter"),
        pytest.param(WEAK_ROOT, "no CAP_SYS_ADMIN", "--privileged", id="weak-root"),
        pytest.param(UNKNOWN, "the kernel refuses namespaces", "Run as root", id="unknown"),
    ],
)
def test_a_refusal_names_its_cause_and_remedy(machine: Readings, cause: str, remedy: str) -> None:
    """Else a user sees "Operation not permitted" and has no way on."""
    check = named(machine, "namespaces")
    assert not check.ok
    assert cause in check.detail
    assert machine.attempt is not None
    assert machine.attempt.error in check.detail
    assert check.remedy is not None
    assert remedy in check.remedy
    assert first_problem(checks(machine)) == f"namespaces: {check.detail}\n{check.remedy}"


@pytest.mark.parametrize("machine", [UBUNTU, OLD_DEBIAN, NO_USER_NAMESPACES], ids=["ubuntu", "old-debian", "no-user"])
def test_root_is_offered_where_it_helps(machine: Readings) -> None:
    """These settings bind ordinary users only; running as root is the quickest way on."""
    assert "sudo make matrix" in (named(machine, "namespaces").remedy or "")


def test_root_is_not_offered_where_it_does_not_help() -> None:
    """A limit of 0 network namespaces binds root as well."""
    assert "sudo make matrix" not in (named(NO_NET_NAMESPACES, "namespaces").remedy or "")


@pytest.mark.parametrize("machine", [UBUNTU, OLD_DEBIAN, NO_USER_NAMESPACES], ids=["ubuntu", "old-debian", "no-user"])
def test_what_works_is_never_called_forbidden(machine: Readings) -> None:
    """A setting only explains a refusal: where unshare has a profile of its own, the lab works."""
    assert first_problem(checks(replace(machine, attempt=WORKS))) is None


def test_a_good_machine_has_no_problem() -> None:
    """Else nobody could run anything."""
    found = checks(DEBIAN)
    assert first_problem(found) is None
    assert all(check.ok and check.remedy is None for check in found)


@pytest.mark.parametrize("tool", NEEDED_TOOLS)
def test_a_missing_tool_is_named_with_its_package(tool: str) -> None:
    """Else a fresh machine fails in the middle of the lab with a traceback."""
    machine = replace(DEBIAN, tools={**DEBIAN.tools, tool: None})
    problem = first_problem(checks(machine))
    assert problem is not None
    assert problem.startswith(f"{tool}: not found\nAn administrator runs: apt-get ")
    assert problem.endswith(f"install -y {NEEDED_TOOLS[tool]}")
    as_root = named(replace(machine, user=0), tool).remedy
    assert as_root is not None
    assert as_root.startswith("apt-get ")


@pytest.mark.parametrize("tool", USEFUL_TOOLS)
def test_a_tool_for_looking_by_hand_stops_nothing(tool: str) -> None:
    """A user must not have to install what the lab does not use."""
    machine = replace(DEBIAN, tools={**DEBIAN.tools, tool: None})
    assert not named(machine, tool).ok
    assert first_problem(checks(machine)) is None


@pytest.mark.parametrize(("tool", "package"), PATH_TOOLS.items())
def test_a_tool_of_one_path_is_named_with_it_and_stops_nothing(tool: str, package: str) -> None:
    """All other paths work without it, and whoever wants this one must learn what to install."""
    machine = replace(DEBIAN, tools={**DEBIAN.tools, tool: None})
    check = named(machine, tool)
    assert not check.ok
    assert check.detail.endswith(f"only for the path kube-proxy-{tool}")
    assert check.remedy is not None
    assert check.remedy.endswith(f"install -y {package}")
    assert first_problem(checks(machine)) is None


@pytest.mark.parametrize(("tool", "protocol"), SERVER_TOOLS.items())
def test_a_server_of_one_protocol_is_named_with_it_and_stops_nothing(tool: str, protocol: str) -> None:
    """Who has no such stack needs no broker; who has one must learn what to install."""
    machine = replace(DEBIAN, tools={**DEBIAN.tools, tool: None})
    check = named(machine, tool)
    assert not check.ok
    assert check.detail.endswith(f"only for stacks of the protocol {protocol}")
    assert check.remedy is not None
    assert check.remedy.endswith(f"install -y {tool}")
    assert first_problem(checks(machine)) is None


def test_without_unshare_nothing_is_tried() -> None:
    """The tool's absence is the one reason that helps, not a failure that follows from it."""
    machine = replace(DEBIAN, tools={**DEBIAN.tools, "unshare": None}, attempt=None)
    problem = first_problem(checks(machine))
    assert problem is not None
    assert problem.startswith("unshare: not found")


@pytest.mark.parametrize(
    ("feature", "name", "remedy"),
    [
        ("proc", "/proc", "Run as root"),
        ("veth", "veth", "modprobe --all veth"),
        ("nftables", "nft rules", "modprobe --all nf_tables nft_ct nft_nat"),
        ("conntrack", "conntrack sysctls", "modprobe --all nf_conntrack"),
        ("packets", "packet sockets", "modprobe --all af_packet"),
    ],
)
def test_a_missing_kernel_feature_is_a_problem(feature: str, name: str, remedy: str) -> None:
    """A kernel without it would give cells that nobody can prove."""
    attempt = replace(WORKS, features={**WORKS.features, feature: "No such file or directory"})
    problem = first_problem(checks(replace(DEBIAN, attempt=attempt)))
    assert problem is not None
    assert problem.startswith(f"{name}: No such file or directory")
    assert remedy in problem
    in_docker = first_problem(checks(replace(DEBIAN, attempt=attempt, container="Docker")))
    assert in_docker is not None
    assert "--privileged" in in_docker


def test_a_feature_that_was_not_tried_does_not_work() -> None:
    """A probe that forgets a feature must not pass it."""
    attempt = replace(WORKS, features={name: None for name in FEATURES if name != "packets"})
    assert not named(replace(DEBIAN, attempt=attempt), "packet sockets").ok


def test_macos_is_sent_to_a_linux_machine() -> None:
    """On a Mac the reader must learn what works here, and how to get a Linux that can do the rest."""
    found = checks(MACOS)
    assert [check.name for check in found] == ["platform", "python"]
    problem = first_problem(found)
    assert problem is not None
    assert "list, judge, diff" in problem
    assert "limactl start" in problem
    assert "make matrix" in problem
    assert "docker run --privileged" in problem


def test_an_old_python_is_a_problem() -> None:
    """The package would fail at its first import, with a syntax error."""
    problem = first_problem(checks(replace(DEBIAN, python=(3, 10, 12))))
    assert problem is not None
    assert problem.startswith("python: 3.10.12 is too old")


@pytest.mark.parametrize(("limit", "ok"), [(-1, True), (1024, False), (4095, False), (4096, True)])
def test_open_files(limit: int, ok: bool) -> None:
    """Too few and a large run ends in the middle; it is only a warning, since a small run needs few."""
    machine = replace(DEBIAN, open_files=limit)
    assert named(machine, "open files").ok is ok
    assert first_problem(checks(machine)) is None


def test_capacity_counts_cells() -> None:
    """A user plans a run by it."""
    assert "about 124 Python cells at once" in named(DEBIAN, "capacity").detail
    assert not named(replace(DEBIAN, memory_mib=200), "capacity").ok
    assert named(replace(DEBIAN, memory_mib=None), "capacity").detail == "2 cores"


def test_control_planes() -> None:
    """A folder that was named and lacks a binary must be said before the run, not in it."""
    assert named(DEBIAN, "control plane").ok
    both = replace(DEBIAN, assets="/opt/k8s", assets_found=("etcd", "kube-apiserver"))
    assert "in /opt/k8s" in named(both, "control plane").detail
    half = named(replace(both, assets_found=("etcd",)), "control plane")
    assert not half.ok
    assert "no kube-apiserver" in half.detail
    assert "no etcd" not in half.detail


def test_names_are_unique() -> None:
    """Whoever reads the JSON finds a check by its name."""
    names = [check.name for check in checks(DEBIAN)]
    assert len(names) == len(set(names))


def test_this_machine_is_read() -> None:
    """Reading must never fail, whatever the machine, since it is asked when something is wrong."""
    readings = read()
    assert readings.python == sys.version_info[:3]
    assert readings.cores >= 1
    assert {check.name for check in doctor.examine()} >= {check.name for check in checks(readings)}


@pytest.mark.lab
def test_this_machines_sandbox_is_really_tried() -> None:
    """The doctor's yes must come from namespaces that were made, with the kernel's features used inside."""
    attempt = read().attempt
    assert attempt is not None
    assert attempt.status == 0
    assert dict(attempt.features) == dict.fromkeys(FEATURES)


@pytest.mark.lab
def test_a_broken_tool_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant of the test above: an nft that only fails must not pass for one that works."""
    tools = {"nft": "/bin/false", "ip": "/bin/false"}
    monkeypatch.setattr("watcher.doctor.readings.find_tool", lambda name: tools.get(name) or find_tool(name))
    attempt = read().attempt
    assert attempt is not None
    assert attempt.features["nftables"] is not None
    assert attempt.features["veth"] is not None
    assert attempt.features["packets"] is None


@pytest.mark.lab
def test_the_machines_own_network_is_never_touched(capsys: pytest.CaptureFixture[str]) -> None:
    """Run outside a sandbox, the probe must end before it loads a rule into the user's own firewall."""
    here = str(Path("/proc/self/ns/net").readlink())
    with pytest.raises(SystemExit, match="not in a network namespace of its own"):
        inside.main(here, "/bin/false", "/bin/false")
    assert capsys.readouterr().out == ""


@pytest.mark.lab
def test_a_real_refusal_is_explained() -> None:
    """The readings of a machine that truly forbids namespaces must lead to the setting that forbids them."""
    forbid = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$0" -c "$1"'
    ask = "import watcher.doctor; print(watcher.doctor.lab_problem())"
    # The limit is set in a user namespace of its own, so only what runs inside is bound by it.
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, sys.executable, ask]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert asked.stdout.startswith("namespaces: user.max_net_namespaces is 0 (unshare: ")
    assert "sysctl -w user.max_net_namespaces=" in asked.stdout


@pytest.fixture
def one_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A catalog of one client, whose environment is not built."""
    folder = tmp_path / "clients" / "one"
    folder.mkdir(parents=True)
    monkeypatch.setattr("watcher.catalog.clients_folder", lambda: folder.parent)
    return folder


def test_a_broken_manifest_is_said(one_client: Path) -> None:
    """Whoever asks what is wrong must be told, not shown a traceback."""
    (one_client / "client.toml").write_text("nonsense = true")
    check = environments()
    assert not check.ok
    assert "client.toml" in check.detail
    assert not check.required


MANIFEST = """
[build]
kind = "python"
lock = "requirements.lock"

[[stack]]
name = "one"
description = "one"
language = "Python"
library = "one"
version = "1"
command = ["one"]
profiles = ["default"]
default_source = "https://example.org"
memory_mib = 1
"""


@pytest.mark.parametrize("built", [True, False])
def test_environments_that_are_not_built_are_named(
    one_client: Path, monkeypatch: pytest.MonkeyPatch, built: bool
) -> None:
    """Else a run shows `not-built` cells and nobody knows that one command mends it."""
    (one_client / "client.toml").write_text(MANIFEST)
    monkeypatch.setattr("watcher.programs.environments.is_built", lambda *_: built)
    check = environments()
    assert check.ok is built
    assert check.detail == ("1 built" if built else "not built: one")
    assert check.remedy == (None if built else "watcher build")
