"""What the readings mean. Pure: any machine can be judged from what was read on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from watcher.doctor.readings import NEEDED_TOOLS, PATH_TOOLS, SERVER_TOOLS, USEFUL_TOOLS, Readings
from watcher.doctor.remedies import a_linux_machine, a_permissive_container, install, set_for_good

_PROGRAM_MIB = 45
"""Resident memory of a Python watcher, measured."""
_PROGRAM_START_SECONDS = 1.3
"""CPU time to start one: nearly all imports."""
_MEMORY_SHARE = 0.7
_OPEN_FILES = 4096


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    remedy: str | None = None
    """What to do, as commands where possible; None where nothing needs doing."""
    required: bool = True
    """Whether the lab cannot run without it."""


def checks(readings: Readings) -> tuple[Check, ...]:
    """In the order in which to mend them. Where the machine is no Linux, what only Linux has is left out."""
    if readings.system != "Linux":
        return (_platform(readings), _python(readings))
    return (
        _platform(readings),
        _python(readings),
        *_tools(readings),
        _sandbox(readings),
        *_features(readings),
        _open_files(readings),
        _capacity(readings),
        _control_plane(readings),
    )


def first_problem(found: Iterable[Check]) -> str | None:
    """The first required check that failed, with its remedy."""
    for check in found:
        if check.required and not check.ok:
            return f"{check.name}: {check.detail}" + (f"\n{check.remedy}" if check.remedy else "")
    return None


def _platform(readings: Readings) -> Check:
    if readings.system == "Linux":
        return Check("platform", True, f"Linux {readings.release} {readings.distribution}".rstrip())
    detail = f"{readings.system}: the lab needs Linux; list, judge, diff and the tests without lab work here"
    return Check("platform", False, detail, a_linux_machine())


def _python(readings: Readings) -> Check:
    version = ".".join(str(part) for part in readings.python)
    if readings.python >= (3, 11):
        return Check("python", True, version)
    return Check("python", False, f"{version} is too old", "PYTHON=/path/to/python3.12 make setup   # 3.11 or newer")


def _tools(readings: Readings) -> Iterable[Check]:
    for tool, package in NEEDED_TOOLS.items():
        yield _tool(readings, tool, package, required=True)
    for tool, package in PATH_TOOLS.items():
        yield _tool(readings, tool, package, required=False, use=f"the path kube-proxy-{tool}")
    for tool, protocol in SERVER_TOOLS.items():
        yield _tool(readings, tool, tool, required=False, use=f"stacks of the protocol {protocol}")
    for tool, package in USEFUL_TOOLS.items():
        yield _tool(readings, tool, package, required=False)


def _tool(
    readings: Readings, tool: str, package: str, *, required: bool, use: str = "looking into a run by hand"
) -> Check:
    path = readings.tools.get(tool)
    if path is not None:
        return Check(tool, True, path, required=required)
    detail = "not found" if required else f"not found; only for {use}"
    return Check(tool, False, detail, install(package, root=readings.user == 0), required=required)


def _sandbox(readings: Readings) -> Check:
    name = "namespaces"
    attempt = readings.attempt
    if attempt is None:
        return Check(name, False, "not tried, since unshare is missing", install("util-linux", root=readings.user == 0))
    if attempt.status == 0:
        return Check(name, True, f"can be made {'as root' if readings.user == 0 else 'as an ordinary user'}")
    reason, remedy = _refusal(readings)
    return Check(name, False, f"{reason} ({attempt.error or f'unshare ended with status {attempt.status}'})", remedy)


def _refusal(readings: Readings) -> tuple[str, str]:
    """Why the sandbox cannot be made, the surest cause first: a limit of 0 forbids whatever else is allowed."""
    limits, ordinary = readings.limits, readings.user != 0
    for kind in ("user", "net", "mnt", "pid"):
        setting = f"user.max_{kind}_namespaces"
        if limits.get(setting) == 0 and (ordinary or kind != "user"):
            return f"{setting} is 0", set_for_good(setting, 16384, or_root=kind == "user")
    if readings.container and "mount" in (readings.attempt.error if readings.attempt else ""):
        return f"{readings.container} does not let /proc be mounted", a_permissive_container()
    if ordinary and limits.get("kernel.unprivileged_userns_clone") == 0:
        setting = "kernel.unprivileged_userns_clone"
        return f"{setting} is 0: only root may make user namespaces", set_for_good(setting, 1, or_root=True)
    if readings.container and not readings.sys_admin:
        filtered = "its seccomp filter" if readings.seccomp else "a missing CAP_SYS_ADMIN"
        return f"{readings.container} forbids namespaces by {filtered}", a_permissive_container()
    if ordinary and limits.get("kernel.apparmor_restrict_unprivileged_userns") == 1:
        setting = "kernel.apparmor_restrict_unprivileged_userns"
        remedy = set_for_good(setting, 0, or_root=True)
        return (
            f"{setting} is 1: AppArmor takes all power from user namespaces of ordinary users (Ubuntu since 23.10)",
            f"{remedy}\nor load an AppArmor profile that allows `userns` to {readings.tools.get('unshare')}",
        )
    if readings.seccomp and not readings.sys_admin:
        return "a seccomp filter forbids namespaces (this may be a container)", a_permissive_container()
    if not ordinary and not readings.sys_admin:
        return "this root has no CAP_SYS_ADMIN (this may be a container)", a_permissive_container()
    return "the kernel refuses namespaces", "Run as root, or in a virtual machine; in a chroot they are always refused."


_FEATURES = {
    "proc": ("/proc", "can be mounted inside a namespace", ""),
    "veth": ("veth", "virtual Ethernet pairs can be made", "veth"),
    "nftables": ("nft rules", "connection tracking and NAT can be used", "nf_tables nft_ct nft_nat"),
    "conntrack": ("conntrack sysctls", "can be set inside a namespace", "nf_conntrack"),
    "packets": ("packet sockets", "can be opened inside a namespace", "af_packet"),
}
"""What ``inside`` tries: its name for a user, what it means where it works, and the kernel modules that bring it."""


def _features(readings: Readings) -> Iterable[Check]:
    """What works inside; nothing where there is no inside, since the sandbox's own check says so already."""
    if readings.attempt is None or readings.attempt.status != 0:
        return
    for key, (name, meaning, modules) in _FEATURES.items():
        error = readings.attempt.features.get(key, "not tried")
        if error is None:
            yield Check(name, True, meaning)
        elif readings.container:
            yield Check(name, False, error, a_permissive_container())
        elif modules:
            yield Check(name, False, error, f"An administrator loads the kernel's modules: modprobe --all {modules}")
        else:
            yield Check(name, False, error, "Run as root, or in a virtual machine.")


def _open_files(readings: Readings) -> Check:
    limit = readings.open_files
    if limit < 0 or limit >= _OPEN_FILES:
        return Check("open files", True, "no limit" if limit < 0 else f"up to {limit}", required=False)
    return Check(
        "open files",
        False,
        f"hard limit {limit}: a run of many cells needs more",
        f"As root: ulimit -Hn {_OPEN_FILES * 4}; for good: nofile in /etc/security/limits.conf",
        required=False,
    )


def _capacity(readings: Readings) -> Check:
    cores = f"{readings.cores} core{'s' if readings.cores != 1 else ''}"
    if readings.memory_mib is None:
        return Check("capacity", True, cores, required=False)
    cells = int(readings.memory_mib * _MEMORY_SHARE / _PROGRAM_MIB)
    start = cells * _PROGRAM_START_SECONDS / readings.cores
    detail = f"{readings.memory_mib} MiB free, {cores}: about {cells} Python cells at once, started in {start:.0f} s"
    remedy = None if cells >= 4 else "Free some memory: a scenario and its controls need four programs at once."
    return Check("capacity", cells >= 4, detail, remedy, required=False)


def _control_plane(readings: Readings) -> Check:
    name = "control plane"
    if readings.assets is None:
        if readings.built:
            return Check(
                name, True, f"Kubernetes {', '.join(readings.built)}, built here; and embedded", required=False
            )
        return Check(name, True, "embedded; `watcher build control-plane` makes the real one", required=False)
    missing = [binary for binary in ("etcd", "kube-apiserver") if binary not in readings.assets_found]
    if not missing:
        return Check(name, True, f"Kubernetes' own in {readings.assets}; and embedded", required=False)
    return Check(
        name,
        False,
        f"embedded only: KUBEBUILDER_ASSETS={readings.assets} has no {' and no '.join(missing)}",
        "Set KUBEBUILDER_ASSETS to the folder that `setup-envtest use -p path` prints, or unset it.",
        required=False,
    )
