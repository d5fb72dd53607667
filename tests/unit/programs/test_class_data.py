"""Shared class data of JVMs: made with the environment, for the commands that name it, and never needed.

Maven and java are stand-ins here, the server is the real one; tests/contract has a real JVM.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from watcher.model import Build, Client
from watcher.programs import environments
from watcher.programs.environments import class_data
from watcher.programs.environments.class_data import ARCHIVE, NoClassData, Place, make, merged

MVN = """#!/bin/sh
for argument; do case $argument in -DoutputDirectory=*) lib=${argument#*=} ;; esac; done
echo mvn >>"$CALLS"; printf library >"$lib/example-1.0.jar"; mkdir target; touch target/program.jar
"""
# A "program" loads what it is called, and says that it has observed as often as TOUCHES; the archive is the list.
JAVA = """#!/bin/sh
for argument; do case $argument in
-XX:DumpLoadedClassList=*) loaded=${argument#*=} ;;
-XX:SharedClassListFile=*) listed=${argument#*=} ;;
-XX:SharedArchiveFile=*) archive=${argument#*=} ;;
esac; last=$argument; done
case $1 in
-Xshare:dump) cat "$listed" >"$archive"; exit @DUMP@ ;;
-Xshare:on) exit @FITS@ ;;
esac
[ "$WATCHER_PROFILE" = default ] && [ -n "$KUBECONFIG" ] && [ -z "$JAVA_TOOL_OPTIONS" ] || exit 1
printf '# a note\\njava/lang/Object id: 1\\n%s id: 2\\n' "$last" >"$loaded"
for touch in @TOUCHES@; do echo '{"event": "observed"}'; done
trap 'exit 0' TERM
while :; do sleep 0.05; done
"""
RIGHT = {"DUMP": "0", "FITS": "0", "TOUCHES": "1 2"}
LOCK = f"{hashlib.sha256(b'library').hexdigest()}  example-1.0.jar\n"
SHARED = f"-XX:SharedArchiveFile={{environment}}/{ARCHIVE}"
JAVA_IN = "{environment}/bin/java"


def java(file: Path, **wrong: str) -> Path:
    script = JAVA
    for name, value in {**RIGHT, **wrong}.items():
        script = script.replace(f"@{name}@", value)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    file.chmod(0o755)
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client's, on a machine with Maven and a JDK."""
    tools = tmp_path / "jdk" / "bin"
    java(tools / "java")
    (tools / "mvn").write_text(MVN)
    (tools / "javac").write_text("")
    for name in ("mvn", "javac"):
        (tools / name).chmod(0o755)
    (tools.parent / "release").write_text('JAVA_VERSION="17.0.1"\n')
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("JAVA_HOME", str(tools.parent))
    monkeypatch.setenv("WATCHER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dof=whoever-called")
    made = tmp_path / "java-example"
    made.mkdir()
    (made / "jars.lock").write_text(LOCK)
    (made / "pom.xml").write_text("<project/>")
    return made


def build(*commands: tuple[str, ...]) -> Build:
    """As the manifest of such stacks has it."""
    base: dict[str, object] = {
        "description": "d",
        "language": "l",
        "library": "b",
        "version": "1",
        "profiles": ["default"],
        "default_source": "s",
        "memory_mib": 1,
    }
    stacks = [{**base, "name": f"stack-{number}", "command": command} for number, command in enumerate(commands)]
    client = Client.model_validate({"build": {"kind": "maven", "lock": "jars.lock"}, "stack": stacks})
    return client.build_of(client.stack[0])


WATCH, INFORMER = (JAVA_IN, SHARED, "WatchProgram"), (JAVA_IN, SHARED, "InformerProgram")
WITHOUT = (JAVA_IN, "WatchProgram")


def calls(folder: Path) -> int:
    return (folder.parent / "calls").read_text().count("mvn")


def test_the_build_makes_it_of_what_all_programs_load(folder: Path) -> None:
    """A class that is missing there is loaded by every cell; and no cell may wait for an archive at its start."""
    place = environments.build(folder, build(WATCH, INFORMER))
    assert (place / ARCHIVE).read_text().splitlines() == ["java/lang/Object", "WatchProgram", "InformerProgram"]
    assert "2 of 2 programs observed" in (place / "class-data.txt").read_text()
    assert [entry.name for entry in place.iterdir() if entry.name.startswith(".")] == []
    assert (place / ARCHIVE).stat().st_mode & 0o777 == 0o644


def test_nobody_asks_for_it(folder: Path) -> None:
    """A Java client of somebody's own, whose commands do not name it, is built as ever."""
    place = environments.build(folder, build(WITHOUT))
    assert not (place / ARCHIVE).exists()
    assert (place / "class-data.txt").read_text() == "none: no command names it\n"
    assert environments.is_built(folder, build(WITHOUT))


def test_other_commands_or_another_java_are_another_environment(folder: Path) -> None:
    """An archive of another JVM's or of other flags is not taken, and every start is slow again, with no word of it."""
    first = environments.environment_for(folder, build(WATCH))
    assert environments.environment_for(folder, build(WATCH)) == first
    others = {environments.environment_for(folder, each) for each in (build(WATCH, INFORMER), build((*WATCH, "more")))}
    (folder.parent / "jdk" / "release").write_text('JAVA_VERSION="17.0.2"\n')
    others.add(environments.environment_for(folder, build(WATCH)))
    assert len(others | {first}) == 4


def test_other_commands_without_it_are_the_same_environment(folder: Path) -> None:
    """A flag that decides nothing of what is built must not compile for a minute."""
    assert environments.environment_for(folder, build(WITHOUT)) == environments.environment_for(
        folder, build((*WITHOUT, "more"))
    )


@pytest.mark.parametrize(("wrong", "said"), [("DUMP", "java -Xshare:dump"), ("FITS", "java -Xshare:on")])
def test_without_an_archive_it_is_built_all_the_same(wrong: str, said: str, folder: Path) -> None:
    """A JDK that cannot make one, or does not take what it made, would leave the user without any Java client; and half
    of one can end a JVM that maps it.
    """
    java(folder.parent / "jdk" / "bin" / "java", **{wrong: "1"})
    place = environments.build(folder, build(WATCH))
    assert environments.is_built(folder, build(WATCH))
    assert (place / "class-data.txt").read_text().startswith("none, so that its programs take longer to start")
    assert f"{said} ended with status 1" in (place / "class-data.txt").read_text()
    assert list(place.glob("*.jsa")) == list(place.glob(".*.jsa")) == []


def test_a_program_that_never_observes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has loaded until then is most of it; and the build must end."""
    monkeypatch.setattr(class_data, "WATCH_SECONDS", 0.5)
    program = java(tmp_path / "environment" / "bin" / "java", TOUCHES="1")
    said: list[str] = []
    told = make([[str(program), "WatchProgram"]], Place(tmp_path / "environment", tmp_path), said.append)
    assert "0 of 1 programs observed" in told
    assert (tmp_path / "environment" / ARCHIVE).exists()


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    """The reason is what the user finds in the environment."""
    with pytest.raises(NoClassData, match=r"FileNotFoundError: .*classes-0\.list"):
        make([[str(tmp_path / "none"), "WatchProgram"]], Place(tmp_path, tmp_path), lambda _line: None)


def test_an_interrupted_build_is_not_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an interrupted `watcher build` leaves an environment that starts slowly for ever."""

    def interrupted(*_arguments: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(class_data, "make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            environments.build(folder, build(WATCH))
    assert not environments.is_built(folder, build(WATCH))
    place = environments.build(folder, build(WATCH))
    assert calls(folder) == 2
    assert (place / ARCHIVE).exists()


def test_numbers_of_classes_are_their_lists_own() -> None:
    """The same number for two classes makes HotSpot refuse the merged list."""
    first = "# note\njava/lang/Object id: 0\nA id: 1\n@lambda-proxy A run ()V\n"
    second = "java/lang/Object id: 0\nB id: 1\nOwn id: 2 super: 0 source: own.jar\n"
    assert merged([first, second]) == ["java/lang/Object", "A", "@lambda-proxy A run ()V", "B"]


def test_a_manifest_cannot_name_the_commands_of_its_build() -> None:
    """They are the stacks' own: two places would come to differ."""
    stack: dict[str, object] = {"name": "s", "description": "d", "language": "l", "library": "b", "version": "1"}
    stack |= {"default_source": "s", "profiles": ["default"], "memory_mib": 1, "command": ["x"]}
    with pytest.raises(ValueError, match="commands are the stacks' own"):
        Client.model_validate({"build": {"kind": "none", "commands": [["x"]]}, "stack": [stack]})
