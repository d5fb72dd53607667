"""The Go modules of a control plane: the pinned ones that come with this package, or another Kubernetes resolved anew.

Each is a go.mod that names upstream's own programs as tools, and a go.sum: none of our Go code is in what is built.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watcher.errors import UsageError
from watcher.toolchains import go

DATA = Path(__file__).parent / "go"
"""The modules with their sums."""
KUBERNETES = "k8s.io/kubernetes"
ETCD = "go.etcd.io/etcd/server/v3"

Run = Callable[[Path, list[str]], list[str]]
"""Runs ``go`` with these arguments in that folder and gives the lines it printed."""


@dataclass(frozen=True)
class Program:
    name: str
    folder: str
    """Of its go.mod, below ``DATA``."""
    package: str


PROGRAMS = (
    Program("kube-apiserver", "kubernetes", f"{KUBERNETES}/cmd/kube-apiserver"),
    Program("kube-proxy", "kubernetes", f"{KUBERNETES}/cmd/kube-proxy"),
    Program("etcd", "etcd", ETCD),
)
FOLDERS = ("kubernetes", "etcd")


def pinned_kubernetes() -> str:
    return _pinned("kubernetes", KUBERNETES)


def pinned_etcd() -> str:
    return _pinned("etcd", ETCD)


def release(text: str) -> str:
    """``v1.36.3`` or ``1.36.3``, also ``1.37.0-rc.1``, without the v. Raises UsageError for anything else."""
    found = re.fullmatch(r"v?(1\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-(?:alpha|beta|rc)\.\d+)?)", text)
    if found is None:
        raise UsageError(
            f"{text!r} is no version of Kubernetes", advice=f"all three numbers are needed: {pinned_kubernetes()}"
        )
    return found[1]


def needed_go() -> tuple[int, ...]:
    """The oldest Go that can build the pinned modules."""
    lines = (re.search(r"^go (\S+)$", _module_file(folder), re.MULTILINE) for folder in FOLDERS)
    return max(go.parse(line[1]) for line in lines if line)


def identity() -> bytes:
    """Changes with anything that is pinned."""
    files = sorted(file for folder in FOLDERS for file in (DATA / folder).iterdir())
    return b"".join(b"%d %s" % (len(content), content) for content in (file.read_bytes() for file in files))


def lay(version: str, place: Path, run: Run) -> None:
    """Puts the modules of this Kubernetes below ``place``; for another than the pinned, ``go mod tidy`` resolves them.

    etcd is the pinned one for every Kubernetes.
    """
    for folder in FOLDERS:
        (place / folder).mkdir()
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(DATA / folder / name, place / folder / name)
    if version == pinned_kubernetes():
        return
    folder_of_kubernetes = place / "kubernetes"
    (folder_of_kubernetes / "go.sum").unlink()
    (folder_of_kubernetes / "go.mod").write_text("module controlplane\n")
    listed = run(folder_of_kubernetes, ["list", "-m", "-f", "{{.GoMod}}", f"{KUBERNETES}@v{version}"])
    upstream = json.loads("\n".join(run(folder_of_kubernetes, ["mod", "edit", "-json", listed[-1]])))
    (folder_of_kubernetes / "go.mod").write_text(module_file(version, upstream))
    run(folder_of_kubernetes, ["mod", "tidy"])


def module_file(version: str, upstream: Mapping[str, Any]) -> str:
    """A go.mod for this Kubernetes, from its own as ``go mod edit -json`` shows it.

    A replacement counts in the main module alone, so that all of Kubernetes' have to be said again; those that are
    folders in its repository are published as modules, too, with a 0 for the 1. So have its settings of GODEBUG,
    which decide how TLS and HTTP behave.
    """
    lines = ["module controlplane", "", f"go {upstream['Go']}", ""]
    lines += [f"godebug {setting['Key']}={setting['Value']}" for setting in upstream.get("GoDebug") or ()]
    lines += ["", "tool (", *(f"\t{one.package}" for one in PROGRAMS if one.folder == "kubernetes"), ")", ""]
    lines += [f"require {KUBERNETES} v{version}", "", "replace ("]
    for replaced in upstream.get("Replace") or ():
        old, new = replaced["Old"], replaced["New"]
        was = f"{old['Path']} {old['Version']}" if old.get("Version") else old["Path"]
        if new["Path"].startswith("./"):
            lines.append(f"\t{was} => {old['Path']} v0.{version.removeprefix('1.')}")
        else:
            lines.append(f"\t{was} => {new['Path']} {new['Version']}")
    return "\n".join([*lines, ")"]) + "\n"


def linker_flags(program: Program, version: str) -> str:
    """Without symbols; Kubernetes has its version from the linker, and says it in /version and in its user agents."""
    flags = ["-s", "-w"]
    if program.folder == "kubernetes":
        major, minor, _ = version.split(".", 2)
        facts = {
            "gitVersion": f"v{version}",
            "gitMajor": major,
            "gitMinor": minor,
            "gitCommit": "unknown",  # a module does not say
            "gitTreeState": "archive",
        }
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += [f"-X {package}.{name}={value}" for name, value in facts.items()]
    return " ".join(flags)


def _pinned(folder: str, module: str) -> str:
    found = re.search(rf"^(?:require|\t)\s*{re.escape(module)} v(\S+)", _module_file(folder), re.MULTILINE)
    assert found is not None
    return found[1]


def _module_file(folder: str) -> str:
    return (DATA / folder / "go.mod").read_text()
