"""Reads the machine. Nothing here says what a reading means."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watcher.lab import sandbox
from watcher.lab.control_plane import binaries
from watcher.programs import environments

NEEDED_TOOLS: Mapping[str, str] = {
    "nft": "nftables",
    "ip": "iproute2",
    "ss": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
"""Tool to the Debian package that brings it."""
USEFUL_TOOLS: Mapping[str, str] = {"tcpdump": "tcpdump", "conntrack": "conntrack", "haproxy": "haproxy"}
"""Without them something is missing; haproxy stands before the real control plane."""
PATH_TOOLS: Mapping[str, str] = {"iptables": "iptables"}
"""Needed for one path only: that of this name after ``kube-proxy-``."""
SERVER_TOOLS: Mapping[str, str] = {"mosquitto": "mqtt"}
"""To the protocol whose stacks connect to it; the package has its name."""
LIMITS = (
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.unprivileged_userns_clone",
    "user.max_user_namespaces",
    "user.max_net_namespaces",
    "user.max_mnt_namespaces",
    "user.max_pid_namespaces",
)
_ATTEMPT_SECONDS = 60
"""For what takes some 0.1 s; a machine that is busy is not one without a lab."""
_INSIDE = Path(__file__).with_name("inside.py")


@dataclass(frozen=True)
class Attempt:
    """The sandbox, tried with the very namespaces that the lab makes."""

    status: int
    error: str
    features: Mapping[str, str | None] = field(default_factory=dict)
    """What was tried inside: None where it works, else the error. Empty where the sandbox could not be made."""


@dataclass(frozen=True)
class Readings:
    """One machine as this process sees it."""

    system: str
    release: str
    distribution: str
    python: tuple[int, int, int]
    user: int
    tools: Mapping[str, str | None]
    limits: Mapping[str, int]
    """Those of LIMITS that this kernel has."""
    seccomp: bool
    container: str | None
    sys_admin: bool
    attempt: Attempt | None
    """None where it cannot even be tried: no Linux, or no unshare."""
    open_files: int
    """The hard limit, which the lab may raise its own limit to; -1 for none."""
    memory_mib: int | None
    cores: int
    assets: str | None
    """KUBEBUILDER_ASSETS, where set."""
    assets_found: tuple[str, ...]
    built: tuple[str, ...] = ()
    """Versions of Kubernetes that `watcher build control-plane` has made."""


def read() -> Readings:
    """Reads everything; a part that cannot be read has its empty value, never an error."""
    linux = platform.system() == "Linux"
    tools = {name: find_tool(name) for name in (*NEEDED_TOOLS, *PATH_TOOLS, *SERVER_TOOLS, *USEFUL_TOOLS)}
    status = _status() if linux else {}
    assets = os.environ.get("KUBEBUILDER_ASSETS") or None
    named = ("etcd", "kube-apiserver")
    return Readings(
        system=platform.system(),
        release=platform.release(),
        distribution=_distribution() if linux else "",
        python=sys.version_info[:3],
        user=os.geteuid(),
        tools=tools,
        limits={name: value for name in LIMITS if (value := _number(name)) is not None},
        seccomp=status.get("Seccomp", "0") == "2",
        container=_container() if linux else None,
        sys_admin=bool(int(status.get("CapEff", "0"), 16) >> 21 & 1),
        attempt=_attempt(tools) if linux else None,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        memory_mib=_memory_mib() if linux else None,
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        assets=assets,
        built=tuple(sorted(found.version for found in binaries.in_cache(environments.cache_folder()))) if linux else (),
        assets_found=tuple(name for name in named if assets and os.access(Path(assets, name), os.X_OK)),
    )


def find_tool(name: str) -> str | None:
    """Also where an ordinary user's PATH on Debian does not look."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    return shutil.which(name, path=path)


def _attempt(tools: Mapping[str, str | None]) -> Attempt | None:
    if tools["unshare"] is None:
        return None
    outside = str(Path("/proc/self/ns/net").readlink())
    # Isolated and without site packages: it starts in some 20 ms, and nothing of the user's can get in its way.
    inside = [sys.executable, "-I", "-S", str(_INSIDE), outside, tools["nft"] or "", tools["ip"] or ""]
    try:
        tried = subprocess.run(
            sandbox.command(inside),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ATTEMPT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Attempt(status=-1, error=f"no answer within {_ATTEMPT_SECONDS} s")
    except OSError as error:
        return Attempt(status=-1, error=str(error))
    try:
        features = json.loads(tried.stdout) if tried.returncode == 0 else {}
    except ValueError:
        return Attempt(status=-1, error=f"no sense in its answer: {tried.stdout[:200]!r}")
    return Attempt(status=tried.returncode, error=tried.stderr.strip(), features=features)


def _status() -> dict[str, str]:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _number(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text())
    except (OSError, ValueError):
        return None


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _container() -> str | None:
    for marker, name in (("/.dockerenv", "Docker"), ("/run/.containerenv", "Podman")):
        if Path(marker).exists():
            return name
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "Kubernetes"
    return os.environ.get("container") or None  # noqa: SIM112  # systemd's convention has it in small letters


def _memory_mib() -> int | None:
    """What is free, bounded by the control group's limit."""
    free: list[int] = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.extend(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:"))
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            free.append(max(0, (int(limit) - used) // 2**20))
    except (OSError, ValueError):
        pass  # no such control group: the machine's own number stands
    return min(free, default=None)
