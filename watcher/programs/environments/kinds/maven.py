"""Java by Maven: the program's jar and those that it runs with, each of them held to a list of hashes.

Maven has no lock of its own: versions are pinned in pom.xml, and what came of them is compared with the client's list.
Beside them lies the shared class data of the commands that ask for it (``class_data``).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from watcher.errors import FileError, ToolMissing
from watcher.programs.environments import class_data
from watcher.programs.environments.work import Project, Work
from watcher.toolchains.alone import alone
from watcher.toolchains.command import has_home, needed

GET = "install Maven and a JDK: in Debian and Ubuntu `apt-get install maven default-jdk-headless`"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
SETTLED = "class-data.txt"
"""In the environment: what its class data was made from, or why there is none."""


def identity(project: Project) -> tuple[str, ...]:
    needed("mvn", GET)
    home = _java_home()
    try:
        release = (home / "release").read_text()
    except OSError:
        release = ""
    # Class data is made of what the commands load.
    return str(home), release, *("\0".join(command) for command in _sharing(project))


def inputs(project: Project) -> tuple[Path, ...]:
    return project.sources()


def make(project: Project, work: Work) -> None:
    home = _java_home()
    source = work.copy(inputs(project), work.scratch / "source") / project.lock_folder
    libraries = work.place / "lib"
    libraries.mkdir(parents=True)
    (work.place / "bin").mkdir()
    (work.place / "bin" / "java").symlink_to(home / "bin" / "java")
    command = [str(needed("mvn", GET)), "--batch-mode", "--no-transfer-progress", "-DskipTests", "package", COPY]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={libraries}"]
    if not has_home():
        command.append(f"-Dmaven.repo.local={project.cache / 'maven'}")
    # Maven's local repository is not made for several at once.
    with alone(project.cache / ".maven.lock", lambda: work.say("waiting for another Maven")):
        work.run(
            command,
            source,
            {**os.environ, "JAVA_HOME": str(home)},
            hint="it needs the network, or the mirror that Maven's settings.xml names",
        )
    _check(project, work, libraries)
    made = [jar for jar in (source / "target").glob("*.jar") if not jar.name.startswith("original-")]
    if len(made) != 1:
        raise work.failure(f"`mvn package` made {len(made)} jars", "it must make the one that has the program")
    shutil.copyfile(made[0], libraries / made[0].name)


def settle(project: Project, work: Work) -> None:
    """Class data, where a command names it. HotSpot takes it only with the class path that it was made with."""
    commands = [[part.format(environment=work.place, folder=project.folder) for part in c] for c in _sharing(project)]
    said = "none: no command names it"
    if commands:
        try:
            said = class_data.make(commands, class_data.Place(work.place, work.scratch), work.say)
        except class_data.NoClassData as error:
            said = f"none, so that its programs take longer to start: {error}"
    work.say(f"shared class data: {said}")
    settled = work.place / SETTLED
    settled.write_text(f"{said}\n")
    settled.chmod(0o644)


def is_whole(place: Path) -> bool:
    return all((place / name).is_file() for name in ("bin/java", SETTLED)) and any(place.glob("lib/*.jar"))


def _sharing(project: Project) -> list[tuple[str, ...]]:
    """The commands that use the archive."""
    flag = f"-XX:SharedArchiveFile={{environment}}/{class_data.ARCHIVE}"
    return [command for command in project.commands if flag in command]


def _check(project: Project, work: Work, libraries: Path) -> None:
    """Every jar is on the list with its hash, and nothing else is on the list."""
    file = project.folder / project.lock
    wanted = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        found = re.fullmatch(r"([0-9a-f]{64}) [ *]([^/\s]+\.jar)", line)
        if found is None:
            raise FileError(str(file), f"line {number}", "is not a line of sha256sum over a jar")
        wanted[found[2]] = found[1]
    there = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in sorted(libraries.glob("*.jar"))}
    if there != wanted:
        for name, digest in there.items():
            if wanted.get(name) != digest:
                work.say(f"{digest}  {name}  # {'another hash' if name in wanted else 'not listed'}")
        for name in wanted.keys() - there.keys():
            work.say(f"{wanted[name]}  {name}  # listed, not there")
        raise work.failure(
            f"its jars are not those of {project.lock}",
            "where pom.xml was changed on purpose, write the list anew from the lines above; otherwise somebody on the "
            "way changes jars: do not run them",
        )


def _java_home() -> Path:
    """Of a JDK. Raises ToolMissing."""
    named = os.environ.get("JAVA_HOME")
    if not named and (found := shutil.which("javac")) is None:
        raise ToolMissing("there is no JDK: javac is not on the PATH, and JAVA_HOME is not set", advice=GET)
    home = Path(named) if named else Path(found or "").resolve().parents[1]
    if not (home / "bin" / "javac").is_file():
        raise ToolMissing(f"there is no JDK in {home}, which JAVA_HOME names", advice=GET)
    return home
