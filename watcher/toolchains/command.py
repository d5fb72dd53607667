"""A tool as a process that only prints: started, its lines passed on, its status returned."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import uv

from watcher.errors import ToolMissing, WatcherError

OnLine = Callable[[str], None]


def run(command: list[str], folder: Path, environment: Mapping[str, str], on_line: OnLine) -> int:
    """Runs it in ``folder``; ``on_line`` gets what it prints, on whichever stream. Returns its status."""
    on_line("$ " + " ".join(command))
    with subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=0o022,  # other users of this machine may use it, whatever the umask is
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            on_line(line.rstrip("\n"))
    return process.returncode


def uv_binary() -> str:
    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise WatcherError(
            "the program uv is not in this installation", advice="install the package uv again"
        ) from error


def needed(name: str, advice: str) -> Path:
    """The program of that name on the PATH. Raises ToolMissing with that advice."""
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"{name} is not on the PATH", advice=advice)
    return Path(found)


def says(binary: Path, *arguments: str) -> str | None:
    """What a tool prints of itself, such as its version; None when it does not work. Asked once for each binary."""
    try:
        state = binary.stat()
    except OSError:
        return None
    return _says(binary, arguments, state.st_mtime_ns, state.st_size)


@cache
def _says(binary: Path, arguments: tuple[str, ...], _mtime_ns: int, _size: int) -> str | None:
    try:
        answer = subprocess.run(
            [str(binary), *arguments],
            cwd="/",  # some heed the project that they are called in
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def has_home() -> bool:
    """Whether the user's tools have a home directory to keep their caches in."""
    home = os.environ.get("HOME", "")
    return bool(home) and os.access(home, os.W_OK)
