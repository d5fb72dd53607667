"""Shared class data of the real Java programs: it is used, and where it cannot be nothing else changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.catalog import Catalog, FoundStack
from watcher.model import Settings
from watcher.programs import contract
from watcher.programs.environments.class_data import ARCHIVE
from watcher.programs.environments.stand_in import NAME, NAMESPACE, TOUCHES, serving

STACKS = Catalog.load().stacks
JAVA = [name for name, found in STACKS.items() if any(ARCHIVE in part for part in found.stack.command)]
ONE, ANOTHER = "java-kubernetes", "java-fabric8-jdk"
PATIENCE_SECONDS = 60.0
SHARED = "source: shared objects file"
FLAG = "-XX:SharedArchiveFile="
Place = Callable[[FoundStack], Path]
Command = Callable[..., list[str]]


def with_flags(command: list[str], *flags: str, archive: Path | None = None) -> list[str]:
    """The same with flags more, and another archive."""
    named = [f"{FLAG}{archive}" if archive and part.startswith(FLAG) else part for part in command]
    at = named.index("-cp")
    return [*named[:at], *flags, *named[at:]]


class Ran:
    """What became of a program that was started as a cell starts it, until it had observed all."""

    def __init__(self, command: list[str], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        log, output = folder / "classes.log", folder / "output"
        with serving() as server, output.open("wb") as out, (folder / "errors").open("wb") as errors:
            (folder / "kubeconfig").write_text(server.kubeconfig())
            process = subprocess.Popen(
                with_flags(command, f"-Xlog:class+load:file={log}"),
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(folder),
                    "TMPDIR": str(folder),
                    "KUBECONFIG": str(folder / "kubeconfig"),
                    **contract.environment(Settings(), "default", NAMESPACE, NAME),
                },
                stdout=out,
                stderr=errors,
            )
            try:
                deadline = time.monotonic() + PATIENCE_SECONDS
                while output.read_bytes().count(b"observed") < TOUCHES and process.poll() is None:
                    assert time.monotonic() < deadline, output.read_text()
                    time.sleep(0.05)
            finally:
                process.terminate()
                try:
                    self.status = process.wait(10)
                finally:
                    process.kill()
        self.errors = (folder / "errors").read_text(errors="replace")
        self.lines = output.read_bytes().splitlines()
        self._classes = [line for line in log.read_text().splitlines() if "source:" in line]

    def keeps_the_contract(self) -> bool:
        try:
            events = [contract.record(line, 0.0, None).event for line in self.lines]
        except contract.Violation:
            return False
        return events[0] == "started" and events.count("observed") == TOUCHES and self.status == 0

    def shared(self) -> float:
        """Which part of the program's and the libraries' classes came from the archive; those of the JDK do anyway."""
        own = [line for line in self._classes if not line.split("]")[-1].strip().startswith(("java.", "jdk.", "sun."))]
        return sum(SHARED in line for line in own) / len(own)


@pytest.mark.parametrize("stack", JAVA)
def test_its_classes_come_from_the_archive(stack: str, place: Place, command: Command, tmp_path: Path) -> None:
    """An archive that is there and not taken costs every cell half a second of CPU, and nothing says so."""
    assert (place(STACKS[stack]) / ARCHIVE).is_file(), (place(STACKS[stack]) / "class-data.txt").read_text()
    ran = Ran(command(stack), tmp_path)
    assert ran.keeps_the_contract(), (ran.lines, ran.errors)
    assert ran.shared() > 0.9


def missing(archive: Path, _own: Path, _others: Path) -> None:
    assert not archive.exists()


def junk(archive: Path, _own: Path, _others: Path) -> None:
    archive.write_bytes(b"no archive\n" * 1000)


def anothers(archive: Path, _own: Path, others: Path) -> None:
    shutil.copyfile(others, archive)


def cut_short(archive: Path, own: Path, _others: Path) -> None:
    archive.write_bytes(own.read_bytes()[: 1 << 20])


def of_another_build(archive: Path, own: Path, _others: Path) -> None:
    """As an archive is whose JVM was upgraded in its place: its head names the build."""
    octets = own.read_bytes()
    head, rest = octets[:4096], octets[4096:]
    named = bytes(head).find(b"HotSpot") if b"HotSpot" in head else bytes(head).find(b"OpenJDK")
    assert named > 0, "the head does not name its build"
    archive.write_bytes(head[:named] + b"Another" + head[named + 7 :] + rest)


@pytest.mark.parametrize("fault", [missing, junk, anothers, cut_short, of_another_build])
def test_one_that_does_not_fit_changes_nothing(
    fault: Callable[[Path, Path, Path], None], place: Place, command: Command, tmp_path: Path
) -> None:
    """A JVM's word on it among the program's lines would end every Java cell as a violation of the contract."""
    archive = tmp_path / "other.jsa"
    fault(archive, *(place(STACKS[name]) / ARCHIVE for name in (ONE, ANOTHER)))
    ran = Ran(with_flags(command(ONE), archive=archive), tmp_path / "cell")
    assert ran.keeps_the_contract(), (ran.lines, ran.errors)
    assert ran.shared() == 0


@pytest.mark.parametrize("told", [True, False])
def test_a_jvms_warnings_are_no_lines_of_the_program(
    told: bool, place: Place, command: Command, tmp_path: Path
) -> None:
    """HotSpot warns on standard output if nobody tells it otherwise: of an archive of the kind that lies on top of its
    own, for another class path, for one; newer ones warn of every archive that they do not take.
    """
    environment, archive = place(STACKS[ONE]), tmp_path / "top.jsa"
    shutil.copytree(environment / "lib", tmp_path / "lib")
    made = [str(environment / "bin" / "java"), f"-XX:ArchiveClassesAtExit={archive}", "-cp", f"{tmp_path}/lib/*"]
    done = subprocess.run(
        [*made, "WatchProgram"], env={"WATCHER_PROFILE": "none"}, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == contract.UNSUPPORTED_STATUS, done
    assert archive.is_file()
    arguments = with_flags(command(ONE), archive=archive)
    if not told:
        arguments = [part for part in arguments if not part.startswith("-Xlog:")]
    ran = Ran(arguments, tmp_path / "cell")
    assert ran.keeps_the_contract() is told, (ran.lines, ran.errors)
    assert ("[cds" in ran.errors) is told
