"""Rust: the binaries of a package, compiled with exactly what Cargo.lock names."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from watcher.errors import ToolMissing
from watcher.programs.environments.work import Project, Work
from watcher.toolchains.command import has_home, needed, says

GET = "install Rust: https://rustup.rs, or in Debian and Ubuntu `apt-get install cargo`"
GET_CC = "Rust links with it: in Debian and Ubuntu `apt-get install gcc libc6-dev`"
# Of whoever called us: each would change what comes out, or where it is put.
_NOT_INHERITED = ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_INSTALL_ROOT", "CARGO_PROFILE")


def identity(_project: Project) -> tuple[str, ...]:
    needed("cargo", GET)
    needed("cc", GET_CC)
    version = says(needed("rustc", GET), "--version")
    if version is None:
        raise ToolMissing("rustc does not work", advice="`rustc --version` says why")
    return version, platform.machine()


def inputs(project: Project) -> tuple[Path, ...]:
    return project.sources()


def make(project: Project, work: Work) -> None:
    package = work.copy(inputs(project), work.scratch / "source") / project.lock_folder
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    environment["CARGO_TARGET_DIR"] = str(work.scratch / "target")
    if not has_home():
        environment.setdefault("CARGO_HOME", str(project.cache / "cargo"))
    command = [str(needed("cargo", GET)), "install", "--path", ".", "--locked", "--no-track"]
    work.run(
        [*command, "--root", str(work.place)],
        package,
        environment,
        hint="it needs the network, or the mirror that cargo's config.toml names",
    )


def settle(_project: Project, _work: Work) -> None:
    """Nothing: it is the same wherever it lies."""


def is_whole(place: Path) -> bool:
    return (place / "bin").is_dir() and any((place / "bin").iterdir())
