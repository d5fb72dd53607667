"""Shared class data of a JVM: the classes that the programs of an environment load, read and verified once for all.

Half of what a Java program costs until it has seen its first touch is loading classes, and every cell loads the same.
So each of the environment's commands is run once against a stand-in of a server, and what it loaded becomes an archive
that HotSpot maps into later ones. The program and its library are what they were. An archive that is missing, or that
this JVM does not take (it looks at its own build, at the class path and at each jar's time and size), is left alone by
``-Xshare:auto``, which is HotSpot's default; so whatever fails here is noted, and no more.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from watcher.model import Settings
from watcher.programs import contract
from watcher.programs.environments.stand_in import NAME, NAMESPACE, TOUCHES, StandIn, serving
from watcher.toolchains.command import OnLine, run

ARCHIVE = "classes.jsa"
"""In the environment. Made where a command names it: ``-XX:SharedArchiveFile={environment}/classes.jsa``."""
WATCH_SECONDS = 60.0
"""That a program has on a busy machine until it has observed all; then what it has loaded so far must do."""
END_SECONDS = 10.0
_CLASS_PATH = "lib/*"
_OBSERVED = b'"event":"observed"'


class NoClassData(Exception):
    """Why there will be none."""


@dataclass(frozen=True)
class Place:
    """The environment where it will be used, since HotSpot keeps the names of jars; and a folder that goes away."""

    environment: Path
    scratch: Path


def make(commands: Iterable[Sequence[str]], place: Place, say: OnLine) -> str:
    """Makes the archive, and returns what is in it in words. Raises NoClassData; then there is none."""
    lists = []
    seen = 0
    try:
        with serving() as server:
            for number, command in enumerate(commands):
                loaded = place.scratch / f"classes-{number}.list"
                seen += _watched(command, loaded, server, say)
                lists.append(loaded.read_text())
        names = merged(lists)
        if not names:
            raise NoClassData("the programs loaded no class")
        _dump(names, place, say)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoClassData(f"{type(error).__name__}: {error}") from error
    return f"{len(names)} lines of classes; {seen} of {len(lists)} programs observed the stand-in's touch"


def merged(lists: Iterable[str]) -> list[str]:
    """Each line of HotSpot's lists once. Pure.

    The numbers that some versions give to classes are a list's own, and are for class loaders of a program's own: these
    classes are left out, and the numbers of all others.
    """
    lines = (line for each in lists for line in each.splitlines() if line and not line.startswith("#"))
    return list(dict.fromkeys(re.sub(r" id: \d+$", "", line) for line in lines if " source: " not in line))


def _watched(command: Sequence[str], loaded: Path, server: StandIn, say: OnLine) -> bool:
    """Runs it until it has observed all, with ``loaded`` for the names of its classes. Whether it did observe."""
    home = loaded.with_suffix(".home")
    home.mkdir()
    (home / "kubeconfig").write_text(server.kubeconfig())
    environment = {
        "PATH": _path(),
        "HOME": str(home),
        "TMPDIR": str(home),
        "KUBECONFIG": str(home / "kubeconfig"),
        **contract.environment(Settings(), "default", NAMESPACE, NAME),
    }
    program, *arguments = command
    # Whatever becomes of us, it ends.
    bounded = ["timeout", f"{WATCH_SECONDS + END_SECONDS:g}", program, f"-XX:DumpLoadedClassList={loaded}", *arguments]
    say("$ " + " ".join(bounded))
    output = home / "output"
    with output.open("wb") as out, (home / "errors").open("wb") as errors:
        process = subprocess.Popen(
            bounded, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=errors
        )
        deadline = time.monotonic() + WATCH_SECONDS
        while process.poll() is None and time.monotonic() < deadline and _observed(output) < TOUCHES:
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    if not (done := _observed(output) >= TOUCHES):
        for line in (home / "errors").read_text(errors="replace").splitlines()[-3:]:
            say(line)
    return done


def _path() -> str:
    """All that a JVM gets of our own environment: JAVA_TOOL_OPTIONS would make another archive."""
    return os.environ.get("PATH", os.defpath)


def _observed(output: Path) -> int:
    return output.read_bytes().replace(b" ", b"").count(_OBSERVED)


def _dump(names: list[str], place: Place, say: OnLine) -> None:
    """Writes it beside its place and moves it there when a JVM has mapped it: half of one is not always noticed."""
    java, class_path = str(place.environment / "bin" / "java"), f"{place.environment}/{_CLASS_PATH}"
    listed, made = place.scratch / "classes.list", place.environment / f".{ARCHIVE}"
    listed.write_text("".join(f"{name}\n" for name in names))
    made.unlink(missing_ok=True)
    archive = f"-XX:SharedArchiveFile={made}"
    # With G1 alone it takes objects of the heap with it; those with another collector can use these, too.
    how = ["-XX:+UseG1GC", "-Xmx512m", f"-XX:SharedClassListFile={listed}", archive, "-cp", class_path]
    for command in (
        [java, "-Xshare:dump", *how],
        [java, "-Xshare:on", archive, "-cp", class_path, "-version"],
    ):
        if (status := run(command, place.scratch, {"PATH": _path()}, say)) != 0:
            made.unlink(missing_ok=True)
            raise NoClassData(f"java {command[1]} ended with status {status}")
    made.chmod(0o644)
    made.replace(place.environment / ARCHIVE)
