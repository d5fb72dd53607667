"""The sandbox: namespaces of our own for everything that the lab does, and its removal by the kernel.

The command outside holds a pipe to the first process inside; that process ends when the pipe does, and with it, as it
is the init of its PID namespace, everything else. ``--kill-child`` covers the one process in between.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from watcher.errors import LabFailure, LabUnavailable

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where nft and ip are: an ordinary user's own PATH need not name them."""
SCRATCH = Path("/run/watcher")
"""Inside the sandbox: its own tmpfs, gone with it."""


def command(arguments: Sequence[str]) -> list[str]:
    """The command line that runs ``arguments`` as the sandbox's first process. Root needs no user namespace."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *arguments]


def start(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts the sandbox. Its input is the pipe it lives by, its output is for records, its errors go to ``log``."""
    if sys.platform != "linux":
        raise LabUnavailable(
            "the lab needs Linux: it is made of the kernel's network namespaces", advice="see `watcher doctor`"
        )
    try:
        with log.open("ab") as errors:
            return subprocess.Popen(
                command(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
    except FileNotFoundError as error:
        raise LabUnavailable("`unshare` is missing", advice="`watcher doctor` names what to install") from error


def end(stage: subprocess.Popen[bytes]) -> None:
    """Ends the sandbox by closing the pipe it lives by; kills ``unshare`` if that should not be enough."""
    for pipe in (stage.stdin, stage.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    try:
        stage.wait(timeout=10)
    except subprocess.TimeoutExpired:
        stage.kill()
        stage.wait()


def live_by(input_fd: int, ended: Callable[[], None], told: Callable[[], None] = lambda: None) -> None:
    """Ends this process, and so the sandbox, when the pipe from outside ends; ``ended`` gets a last word.

    ``told`` is called, in a thread of its own, for whatever comes through the pipe meanwhile.
    """

    def watch() -> None:
        while os.read(input_fd, 4096):
            told()
        ended()
        os._exit(3)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def furnish() -> None:
    """Inside, first of all: a scratch tmpfs over /run, a place for namespaces, as many open files as allowed."""
    cover(Path("/run"))
    for folder in (Path("/run/netns"), SCRATCH, SCRATCH / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(SCRATCH / "tmp")
    os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cover(place: Path, *, most_octets: int | None = None) -> None:
    """Inside: hides a folder under an empty tmpfs, which takes no more than ``most_octets``. Raises LabFailure."""
    options = "mode=0755" if most_octets is None else f"mode=0755,size={most_octets}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "watcher", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        raise LabFailure(
            f"cannot mount a tmpfs in the sandbox: {mounted.stderr.strip()}",
            advice="`watcher doctor` looks for the cause",
        )
