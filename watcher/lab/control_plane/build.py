"""Builds kube-apiserver, kube-proxy and etcd from their Go modules, into a cache folder, once.

A build lies in a folder named by version and by a hash of all it is made from, so that several stay side by side. It is
made beside its place, asked for its version, and moved there when it is whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import platform
import re
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

from watcher.errors import ControlPlaneFailure, LabUnavailable, WatcherError
from watcher.lab.control_plane import binaries, modules
from watcher.lab.control_plane.binaries import Binaries
from watcher.lab.control_plane.modules import PROGRAMS
from watcher.toolchains import go as toolchain
from watcher.toolchains.alone import alone
from watcher.toolchains.command import OnLine, run
from watcher.toolchains.go import Go, Toolchain

# Measured for Kubernetes 1.36.3 on x86_64, rounded up.
RESULT_MIB = 200
MEANWHILE_MIB = 2200
PACKAGES_MIB = 2500
MODULES_MIB = 900
COMPILER_MIB = 1900
UNFINISHED = ".unfinished-"

OnStep = Callable[[str], None]


def build(
    cache: Path,
    version: str | None = None,
    *,
    on_step: OnStep = lambda _what: None,
    on_line: OnLine = lambda _line: None,
) -> Binaries:
    """The control plane of that Kubernetes, built unless it is there; the pinned one when no version is given.

    ``on_step`` is told what begins, ``on_line`` gets what uv and go say meanwhile. Several may build at once: one does,
    the others wait. Needs the network, or Go's caches filled. Raises UsageError for what is no version, WatcherError
    and ControlPlaneFailure otherwise, naming the log.
    """
    wanted = modules.pinned_kubernetes() if version is None else modules.release(version)
    if sys.platform != "linux":
        raise LabUnavailable("a real control plane runs on Linux only", advice="use a Linux machine or a container")
    go = toolchain.choose(cache, modules.needed_go())
    place = cache / binaries.FOLDER / f"{wanted}-{_key(wanted, go)}"
    if (there := binaries.built(place)) is not None:
        return there
    log = place.with_name(f"{place.name}.log")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with alone(place.parent / ".lock", lambda: on_step("waiting for another build of a control plane")):
            if (there := binaries.built(place)) is not None:
                return there
            for left in (*place.parent.glob(f"{UNFINISHED}*"), *([place] if place.exists() else [])):
                shutil.rmtree(left)
            # Of a name nobody had: a build that was killed can have left a compiler behind that still writes.
            unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=place.parent))
            try:
                with log.open("w") as lines:

                    def keep(line: str) -> None:
                        lines.write(f"{line}\n")
                        on_line(line)

                    _Build(cache, wanted, go, unfinished, str(log), on_step, keep).run(place)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            log.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(cache, ()) from error
        raise WatcherError(
            f"the control plane cannot be written to {place.parent}: {error.strerror or error}",
            advice="WATCHER_CACHE names another folder for it: WATCHER_CACHE=/var/tmp/watcher watcher build "
            "control-plane",
        ) from error
    made = binaries.built(place)
    assert made is not None
    return made


class _Build:
    """One build, from nothing to its folder."""

    def __init__(
        self, cache: Path, version: str, go: Go, scratch: Path, log: str, on_step: OnStep, on_line: OnLine
    ) -> None:
        self._cache = cache
        self._version = version
        self._go = go
        self._scratch = scratch
        self._log = log
        self._on_step = on_step
        self._on_line = on_line
        fetch = go.fetched and not go.binary.is_file()
        self._of = len(PROGRAMS) + 1 + fetch
        self._number = 0

    def run(self, place: Path) -> None:
        """Raises WatcherError, ControlPlaneFailure or OSError; then nothing is at ``place``."""
        if self._go.fetched and not self._go.binary.is_file():
            self._step(f"Go {self._go.version.removeprefix('go')}, since the PATH has none that is new enough")
        go = toolchain.prepare(self._go, self._cache, self._scratch, self._on_line)
        sources, result = self._scratch / "modules", self._scratch / "result"
        sources.mkdir()
        result.mkdir()
        self._fetch_modules(go, sources)
        for program in PROGRAMS:
            self._step(program.name)
            flags = modules.linker_flags(program, self._version)
            build = ["build", "-v", "-trimpath", "-ldflags", flags, "-o", str(result / program.name), program.package]
            self._call(go, sources / program.folder, build, f"{program.name} could not be compiled", self._broken)
        made = binaries.of_folder(result, binaries.BUILT)
        if made.version != self._version or made.etcd_version != modules.pinned_etcd():
            raise ControlPlaneFailure(
                f"Kubernetes {self._version} was built, but it says that it is {made.version} with etcd "
                f"{made.etcd_version}",
                log=self._log,
            )
        shutil.copytree(sources, result / "modules")
        (result / binaries.MANIFEST).write_text(json.dumps(self._manifest(result), indent=1) + "\n")
        for entry in (result, *result.rglob("*")):
            entry.chmod(0o755 if entry.is_dir() or entry.stat().st_mode & 0o100 else 0o644)
        result.rename(place)
        if go.ours:
            for folder in go.caches:
                shutil.rmtree(folder, ignore_errors=True)

    def _fetch_modules(self, go: Toolchain, sources: Path) -> None:
        said = f"Go modules of Kubernetes {self._version} and etcd {modules.pinned_etcd()}"
        if self._version != modules.pinned_kubernetes():
            said += f"; {modules.pinned_kubernetes()} is the pinned one, so these are resolved anew"
        self._step(said)
        failed = f"the modules of Kubernetes {self._version} could not be fetched"
        modules.lay(self._version, sources, lambda folder, rest: self._call(go, folder, rest, failed, self._unfetched))
        for folder in modules.FOLDERS:
            packages = [program.package for program in PROGRAMS if program.folder == folder]
            self._call(go, sources / folder, ["list", "-deps", *packages], failed, self._unfetched)

    def _step(self, what: str) -> None:
        self._number += 1
        self._on_step(f"[{self._number}/{self._of}] {what}")

    def _call(
        self, go: Toolchain, folder: Path, arguments: list[str], failed: str, why: Callable[[str], str]
    ) -> list[str]:
        """Runs go and returns its lines. ``why`` reads them, should it fail, for what to advise."""
        lines: deque[str] = deque(maxlen=10_000)
        environment = {**go.environment, "PWD": str(folder)}

        def keep(line: str) -> None:
            lines.append(line)
            self._on_line(line)

        status = run([str(go.binary), *arguments], folder, environment, keep)
        if status == 0:
            return list(lines)[1:]  # the first is the command
        said = "\n".join(lines)
        if re.search("no space left on device|disk quota exceeded", said):
            raise _no_space(self._cache, go.caches, log=self._log)
        raise ControlPlaneFailure(
            f"{failed}: go {arguments[0]} ended with status {status}",
            log=self._log,
            advice=f"{why(said)}\nits log: {self._log}",
        )

    def _unfetched(self, said: str) -> str:
        if needed := re.search(r"requires go >= (\S+)", said):
            return f"Kubernetes {self._version} needs Go {needed[1]}: put that on the PATH"
        if re.search("checksum mismatch|SECURITY ERROR", said):
            return "what was fetched is not what go.sum pins: somebody on the way changes modules; do not build from it"
        if re.search(
            rf"v{re.escape(self._version)}(\.info|\.mod|\.zip)?: (40[34]|410|unknown revision|.*not found)", said
        ):
            return f"the module proxy does not have Kubernetes {self._version}, or does not give it"
        return "it needs the network, or the mirror that GOPROXY names; then the same command goes on"

    def _broken(self, said: str) -> str:
        if "signal: killed" in said:
            return f"the kernel ended the compiler, as it does when memory runs out: it needs {COMPILER_MIB} MiB"
        if self._version != modules.pinned_kubernetes():
            return f"{modules.pinned_kubernetes()} is the version that is known to build"
        return "this version is known to build with the Go of its go.mod"

    def _manifest(self, result: Path) -> dict[str, object]:
        return {
            "schema": binaries.SCHEMA,
            "kubernetes": self._version,
            "etcd": modules.pinned_etcd(),
            "go": self._go.version,
            "machine": platform.machine(),
            "pinned": self._version == modules.pinned_kubernetes(),
            "sizes": {program.name: (result / program.name).stat().st_size for program in PROGRAMS},
        }


def _key(version: str, go: Go) -> str:
    """Of all that decides what comes out. The proxy's modules never change, so a version stands for its sources."""
    flags = [modules.linker_flags(program, version) for program in PROGRAMS]
    parts = (modules.identity(), *(text.encode() for text in (version, go.version, platform.machine(), *flags)))
    key = hashlib.sha256()
    for part in parts:
        key.update(len(part).to_bytes(8, "big") + part)
    return key.hexdigest()[:16]


def _no_space(cache: Path, go_caches: tuple[Path, ...], log: str | None = None) -> ControlPlaneFailure:
    packages, sources = map(str, go_caches) if go_caches else ("Go's build cache", "Go's module cache")
    lines = [
        f"free some: {MEANWHILE_MIB} MiB in {cache}, of which {RESULT_MIB} MiB stay in use,",
        f"up to {PACKAGES_MIB} MiB in {packages} (GOCACHE moves it)",
        f"and up to {MODULES_MIB} MiB in {sources} (GOMODCACHE moves it); "
        "`go clean -cache -modcache` gives the last two back",
    ]
    if log is not None:
        lines.append(f"its log: {log}")
    return ControlPlaneFailure("the disk is full, so the control plane is not built", log=log, advice="\n".join(lines))
