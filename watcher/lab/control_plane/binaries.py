"""The programs of a real control plane: where they are, and whether they are what they are said to be."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import ControlPlaneFailure, LabUnavailable, UsageError

CHOICES = ("auto", "embedded", "kubernetes")
ASSETS = "KUBEBUILDER_ASSETS"
BUILT = "watcher build control-plane"
FOLDER = "control-planes"
"""Below the cache folder: one folder for each control plane that was built."""
MANIFEST = "build.json"
"""Written last of all into such a folder."""
SCHEMA = 1
ANSWER_SECONDS = 20.0

# The programs answer these alike on every version; kube-apiserver and kube-proxy differ in their flags only.
_SAYS = {
    "kube-apiserver": (re.compile(r"^Kubernetes v(\S+)", re.MULTILINE), "--etcd-servers"),
    "kube-proxy": (re.compile(r"^Kubernetes v(\S+)", re.MULTILINE), "--proxy-mode"),
    "etcd": (re.compile(r"^etcd Version: (\S+)", re.MULTILINE), None),
}
# e_machine of an ELF header, for each name the kernel gives to a machine.
_MACHINES = {"x86_64": 62, "aarch64": 183, "riscv64": 243, "ppc64le": 21, "s390x": 22, "armv7l": 40, "i686": 3}


@dataclass(frozen=True)
class Binaries:
    """A real control plane that can be started."""

    folder: Path
    kube_apiserver: Path
    etcd: Path
    kube_proxy: Path | None
    """``setup-envtest`` brings none."""
    version: str
    """Of Kubernetes, without the v."""
    etcd_version: str
    origin: str
    """``ASSETS`` or ``BUILT``."""


def find(choice: str, cache: Path) -> Binaries | None:
    """The control plane of that choice; None stands for the embedded one.

    ``auto`` takes what KUBEBUILDER_ASSETS names, else the newest in ``cache``, else the embedded one. What the variable
    names has to be usable: taking another instead would give results about something else than was asked for.

    Raises UsageError for another choice, ControlPlaneFailure for programs that cannot be used, LabUnavailable when it
    must be the real one and there is none.
    """
    if choice not in CHOICES:
        raise UsageError(f"unknown control plane {choice!r}", advice=f"one of {', '.join(CHOICES)}")
    if choice == "embedded":
        return None
    if named := os.environ.get(ASSETS):
        return of_folder(Path(named).absolute(), ASSETS)
    newest = max(in_cache(cache), key=_age, default=None)
    if newest is None and choice == "kubernetes":
        raise LabUnavailable(
            "there is no kube-apiserver here",
            advice=f"`{BUILT}` makes it, once, in some minutes; or let {ASSETS} name a folder that has kube-apiserver "
            "and etcd",
        )
    return newest


def of_folder(folder: Path, origin: str) -> Binaries:
    """The programs of a folder, asked who they are. Raises ControlPlaneFailure, naming the file and what to do."""
    versions = {
        name: _ask(folder, name, origin)
        for name in ("kube-apiserver", "etcd", "kube-proxy")
        if name != "kube-proxy" or (folder / name).exists()
    }
    version = versions["kube-apiserver"]
    if versions.get("kube-proxy", version) != version:
        raise _unusable(folder / "kube-proxy", f"is {versions['kube-proxy']}, but its kube-apiserver {version}", origin)
    return Binaries(
        folder=folder,
        kube_apiserver=folder / "kube-apiserver",
        etcd=folder / "etcd",
        kube_proxy=folder / "kube-proxy" if "kube-proxy" in versions else None,
        version=version,
        etcd_version=versions["etcd"],
        origin=origin,
    )


def in_cache(cache: Path) -> Iterator[Binaries]:
    """All that were built and are whole, for this machine."""
    for manifest in (cache / FOLDER).glob(f"[!.]*/{MANIFEST}"):
        if (found := built(manifest.parent)) is not None:
            yield found


def built(folder: Path) -> Binaries | None:
    """The control plane that was built into ``folder``; None if there is none, or it is not whole."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["schema"] != SCHEMA or manifest["machine"] != platform.machine():
            return None
        for name in _SAYS:
            file = folder / name
            # After a power failure, files that were renamed in time can be empty all the same.
            if file.stat().st_size != manifest["sizes"][name] or not os.access(file, os.X_OK):
                return None
        return Binaries(
            folder=folder,
            kube_apiserver=folder / "kube-apiserver",
            etcd=folder / "etcd",
            kube_proxy=folder / "kube-proxy",
            version=str(manifest["kubernetes"]),
            etcd_version=str(manifest["etcd"]),
            origin=BUILT,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _age(found: Binaries) -> tuple[list[int], bool, list[int], float]:
    """To sort by: the version, a release after its candidates, then when it was built."""
    numbers, _, candidate = found.version.partition("-")
    in_candidate = [int(digits) for digits in re.findall(r"\d+", candidate)]
    # alpha < beta < rc, as it happens, by their first letters
    letters = [ord(candidate[0])] if candidate else []
    when = (found.folder / MANIFEST).stat().st_mtime
    return [int(digits) for digits in re.findall(r"\d+", numbers)], not candidate, letters + in_candidate, when


def _ask(folder: Path, name: str, origin: str) -> str:
    """The version that the program says, once it is sure that it is that program."""
    file = folder / name
    if problem := _problem_of_file(file):
        raise _unusable(file, problem, origin)
    pattern, flag = _SAYS[name]
    status, said = _run(file, "--version", origin)
    version = pattern.search(said)
    if version is None:
        last = said.strip().splitlines()[-1:] or ["nothing"]
        problem = f"is not {name}, or does not say its version: `--version` ended with status {status} after {last[0]}"
        raise _unusable(file, problem, origin)
    if flag is not None and flag not in _run(file, "--help", origin)[1]:
        raise _unusable(file, f"is another program of Kubernetes than {name}: it has no {flag}", origin)
    if version[1].startswith("0.0.0"):
        raise _unusable(file, f"was built without its version: it says {version[0]!r}", origin)
    return version[1]


def _problem_of_file(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            start = opened.read(20)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not os.access(file, os.X_OK):
        return "is not executable"
    if start.startswith(b"#!"):
        return None  # somebody's wrapper
    if not start.startswith(b"\x7fELF") or len(start) < 20:
        return "is no program for Linux"
    wanted = _MACHINES.get(platform.machine())
    machine = int.from_bytes(start[18:20], "little" if start[5] == 1 else "big")
    if wanted is not None and machine != wanted:
        names = [name for name, number in _MACHINES.items() if number == machine]
        return f"is for {names[0] if names else 'another machine'}, and this machine is {platform.machine()}"
    return None


def _run(file: Path, argument: str, origin: str) -> tuple[int, str]:
    """Its status and what it printed; a program that goes on by itself is ended with all that it started."""
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                [str(file), argument],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise _unusable(file, f"cannot be started: {error.strerror}", origin) from error
        try:
            status = process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired as error:
            problem = f"did not answer {argument} within {ANSWER_SECONDS:g} s"
            raise _unusable(file, problem, origin) from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return status, output.read(1 << 20).decode(errors="replace")


def _unusable(file: Path, problem: str, origin: str) -> ControlPlaneFailure:
    if origin == ASSETS:
        advice = (
            f"{ASSETS} names its folder: let it name one with kube-apiserver and etcd for this machine, as "
            f"`setup-envtest use -p path` prints it; or unset it and use `{BUILT}` or --control-plane embedded"
        )
    else:
        advice = (
            f"`{BUILT}` builds it again; if its file system is mounted noexec, WATCHER_CACHE names a folder elsewhere"
        )
    return ControlPlaneFailure(f"{file} {problem}", advice=advice)
