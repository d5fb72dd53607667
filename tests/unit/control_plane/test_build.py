"""A control plane is built once, whole or not at all. Go and uv are stand-ins here: they note how they are called."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uv
from typer.testing import CliRunner

from watcher import cli
from watcher.errors import ControlPlaneFailure, LabUnavailable, UsageError, WatcherError
from watcher.lab.control_plane import binaries, modules
from watcher.lab.control_plane.build import UNFINISHED, build
from watcher.toolchains import go as go_toolchain

# Builds programs that say the version they were linked with. $FAILS names a command that prints $SAYS and fails;
# $HANGS one that never ends; $LIES a version to build in place of the one that is asked for.
GO = r"""#!/bin/sh
command=$1
[ "$1" = mod ] && command="mod $2"
{ printf '%s|' "$@"; echo; env; } >>"$CALLS"
[ "$command" = "$HANGS" ] && { echo hanging; exec sleep 60; }
[ "$command" = "$FAILS" ] && { printf '%b\n' "$SAYS"; exit 1; }
case $command in
env)
    [ -n "$HOME" ] && home=$HOME
    cat <<END
{"GOVERSION": "${GO_VERSION:-go1.26.8}", "GOHOSTOS": "linux", "GOHOSTARCH": "amd64",
 "GOPROXY": "${GOPROXY:-https://proxy.example,direct}",
 "GOCACHE": "${home:+$home/builds}", "GOMODCACHE": "${home:+$home/modules}"}
END
    ;;
list) case $2 in -m) echo "$UPSTREAM" ;; *) sleep "${SLOW:-0}"; mkdir -p "$GOCACHE" "$GOMODCACHE" ;; esac ;;
"mod edit") cat "$UPSTREAM" ;;
"mod tidy") echo "resolved h1:" >go.sum ;;
build)
    flags=$5 out=$7 package=$8
    version=$(echo "$flags" | sed -n 's/.*component-base.version.gitVersion=v\([^ ]*\).*/\1/p')
    case $package in
    */kube-apiserver) what="Kubernetes v${LIES:-$version}" flag=--etcd-servers ;;
    */kube-proxy) what="Kubernetes v${LIES:-$version}" flag=--proxy-mode ;;
    *) what="etcd Version: 3.6.7" flag= ;;
    esac
    echo "$package"
    printf '#!/bin/sh\necho "%s %s"\n' "$what" "$flag" >"$out"
    chmod 755 "$out"
    ;;
esac
"""

UV = r"""#!/bin/sh
{ printf '%s|' "$@"; echo; } >>"$CALLS.uv"
[ -n "$UV_FAILS" ] && { echo "error: dns error"; exit 2; }
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/go/bin" && cp "$GO_TO_FETCH" "$2/go/bin/go"
"""

# As `go mod edit -json` shows the file of an older Kubernetes.
UPSTREAM = {
    "Go": "1.25.0",
    "GoDebug": [{"Key": "default", "Value": "go1.25"}],
    "Replace": [
        {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
        {"Old": {"Path": "example.org/a", "Version": "v1.0.0"}, "New": {"Path": "example.org/b", "Version": "v1.2.0"}},
    ],
}


class Bench:
    """The stand-ins, and what they were asked to do."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.go = folder / "bin" / "go"
        self._calls = folder / "calls"
        self.steps: list[str] = []

    def build(self, version: str | None = None) -> binaries.Binaries:
        return build(self.cache, version, on_step=self.steps.append)

    def calls(self, command: str) -> list[list[str]]:
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [line.split("|")[:-1] for line in lines if line.startswith(f"{command}|")]

    def seen(self, name: str) -> set[str]:
        """The values of an environment variable, in all calls but those that ask for Go's settings."""
        calls = re.split(r"\n(?=(?:env|list|build|mod)\|)", self._calls.read_text())
        working = [call for call in calls if not call.startswith("env|")]
        assert working
        return {found[1] if (found := re.search(rf"^{name}=(.*)$", call, re.MULTILINE)) else "" for call in working}

    def fetches(self) -> list[str]:
        file = self._calls.with_name("calls.uv")
        return file.read_text().splitlines() if file.exists() else []

    def leftovers(self) -> list[str]:
        return [entry.name for entry in (self.cache / binaries.FOLDER).iterdir() if entry.name.startswith(UNFINISHED)]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    made.go.parent.mkdir()
    made.go.write_text(GO)
    made.go.chmod(0o755)
    (tmp_path / "uv").write_text(UV)
    (tmp_path / "uv").chmod(0o755)
    shutil.copy(made.go, tmp_path / "go-to-fetch")
    (tmp_path / "upstream.json").write_text(json.dumps(UPSTREAM))
    monkeypatch.setattr(uv, "find_uv_bin", lambda: str(tmp_path / "uv"))
    monkeypatch.setenv("PATH", f"{made.go.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("UPSTREAM", str(tmp_path / "upstream.json"))
    monkeypatch.setenv("GO_TO_FETCH", str(tmp_path / "go-to-fetch"))
    monkeypatch.setenv("WATCHER_CACHE", str(made.cache))
    for name in (binaries.ASSETS, "GOPROXY", "GOFLAGS", "GOCACHE", "GOMODCACHE", "GOROOT"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_it_is_built_once(bench: Bench) -> None:
    """Every `make matrix` would otherwise compile for five minutes."""
    made = bench.build()
    assert made == binaries.find("kubernetes", bench.cache)
    assert (made.version, made.etcd_version) == (modules.pinned_kubernetes(), modules.pinned_etcd())
    assert [step.split(" ")[:2] for step in bench.steps] == [
        ["[1/4]", "Go"],
        ["[2/4]", "kube-apiserver"],
        ["[3/4]", "kube-proxy"],
        ["[4/4]", "etcd"],
    ]
    assert len(bench.calls("build")) == 3
    assert bench.build() == made
    assert len(bench.calls("build")) == 3
    assert len(bench.steps) == 4
    assert sorted(entry.name for entry in made.folder.parent.iterdir()) == [".lock", made.folder.name]


def test_the_version_is_linked_in(bench: Bench) -> None:
    """/version would say v0.0.0-master, and clients that ask for it would behave as towards another server."""
    bench.build()
    (server, proxy, etcd) = (call[4] for call in bench.calls("build"))
    version = modules.pinned_kubernetes()
    _, minor, _ = version.split(".")
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        for fact in (f"gitVersion=v{version}", "gitMajor=1", f"gitMinor={minor}"):
            assert f" -X {package}.{fact} " in server
    assert proxy == server
    assert "-X" not in etcd


def test_the_user_s_settings_do_not_change_what_comes_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace, GOFLAGS=-mod=vendor or GOOS=windows of somebody's other project would break the build or bend it."""
    for name, value in {
        "GOFLAGS": "-mod=mod",
        "GOOS": "windows",
        "GOARCH": "wasm",
        "GOROOT": "/elsewhere",
        "GOWORK": "/elsewhere/go.work",
        "GOTOOLCHAIN": "go1.99",
        "GOEXPERIMENT": "none",
        "GOAMD64": "v4",
        "CGO_ENABLED": "1",
    }.items():
        monkeypatch.setenv(name, value)
    bench.build()
    seen = {name: bench.seen(name) for name in ("GOFLAGS", "GOOS", "GOARCH", "GOROOT", "GOWORK", "GOTOOLCHAIN")}
    assert seen == {
        "GOFLAGS": {"-mod=readonly -buildvcs=false"},
        "GOOS": {"linux"},
        "GOARCH": {"amd64"},
        "GOROOT": {""},
        "GOWORK": {"off"},
        "GOTOOLCHAIN": {"local"},
    }
    assert bench.seen("GOEXPERIMENT") == {""}
    assert bench.seen("GOAMD64") == {"v1"}
    assert bench.seen("CGO_ENABLED") == {"0"}


@pytest.mark.parametrize(
    ("set_by_user", "used"),
    [
        (None, "https://proxy.example"),
        ("https://mirror.example|direct", "https://mirror.example"),
        ("off", "off"),
        ("direct", "direct"),
    ],
)
def test_only_the_proxy_is_asked(
    set_by_user: str | None, used: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a mirror, Go would hang on hosts that nobody can reach; one who wants just those gets them."""
    if set_by_user is not None:
        monkeypatch.setenv("GOPROXY", set_by_user)
    bench.build()
    assert bench.seen("GOPROXY") == {used}


def test_go_keeps_its_own_caches(bench: Bench, tmp_path: Path) -> None:
    """A Go developer has most of the modules already, and wants no second copy of them."""
    bench.build()
    assert bench.seen("GOCACHE") == {str(tmp_path / "home" / "builds")}
    assert (tmp_path / "home" / "modules").is_dir()
    assert not (bench.cache / "go").exists()


def test_without_a_home_directory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container Go does not know where to keep what it compiles, and would build nothing."""
    monkeypatch.delenv("HOME")
    bench.build()
    assert bench.seen("GOMODCACHE") == {str(bench.cache / "go" / "modules")}


def test_two_versions_side_by_side(bench: Bench) -> None:
    """A comparison of two Kubernetes versions would lose the first to the second."""
    pinned = bench.build()
    other = bench.build("v1.35.4")
    assert other.version == "1.35.4"
    assert "1.35.4" in bench.steps[4]
    assert f"{pinned.version} is the pinned one, so these are resolved anew" in bench.steps[4]
    assert "anew" not in "".join(bench.steps[:4])
    assert bench.calls("mod")[-1][:2] == ["mod", "tidy"]
    assert (other.folder / "modules" / "kubernetes" / "go.sum").read_text() == "resolved h1:\n"
    assert bench.build() == pinned
    assert bench.build("1.35.4") == other
    assert len(bench.calls("build")) == 6


def test_the_pinned_version_is_not_resolved_anew(bench: Bench) -> None:
    """What is pinned must not depend on the day or on the proxy."""
    made = bench.build(modules.pinned_kubernetes())
    assert bench.calls("mod") == []
    for folder in modules.FOLDERS:
        for name in ("go.mod", "go.sum"):
            used = (made.folder / "modules" / folder / name).read_text()
            assert used == (modules.DATA / folder / name).read_text()


def test_another_go_is_another_build(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go's own network code is part of the server: a fixed Go must not leave the old server in use."""
    first = bench.build()
    monkeypatch.setenv("GO_VERSION", "go1.26.9")
    assert bench.build().folder != first.folder


@pytest.mark.parametrize("text", ["1.36", "latest", "1.36.x", "1.036.1", "2.0.0", "1.36.3; rm", "../1.36.3", ""])
def test_what_is_no_version(text: str, bench: Bench) -> None:
    """It becomes part of a path and of a command, and a guess at it would build for minutes."""
    with pytest.raises(UsageError, match="is no version of Kubernetes"):
        bench.build(text)


def test_the_modules_of_another_version() -> None:
    """A replacement that is lost stops the build; a lost GODEBUG makes another server of it than upstream's."""
    assert modules.module_file("1.35.4-rc.1", UPSTREAM).split("\n") == [
        "module controlplane",
        "",
        "go 1.25.0",
        "",
        "godebug default=go1.25",
        "",
        "tool (",
        "\tk8s.io/kubernetes/cmd/kube-apiserver",
        "\tk8s.io/kubernetes/cmd/kube-proxy",
        ")",
        "",
        "require k8s.io/kubernetes v1.35.4-rc.1",
        "",
        "replace (",
        "\tk8s.io/api => k8s.io/api v0.35.4-rc.1",
        "\texample.org/a v1.0.0 => example.org/b v1.2.0",
        ")",
        "",
    ]


def test_the_pins_agree_with_each_other() -> None:
    """A half-updated pin builds a server of two versions, or none on a machine whose caches are empty."""
    version = modules.pinned_kubernetes()
    text = (modules.DATA / "kubernetes" / "go.mod").read_text()
    published = re.findall(r"^\tk8s\.io/\S+ => (\S+) (\S+)$", text, re.MULTILINE)
    assert len(published) > 25
    assert {pin for _, pin in published} == {f"v0.{version.removeprefix('1.')}"}
    for folder, module, pin in (
        ("kubernetes", modules.KUBERNETES, version),
        ("kubernetes", "k8s.io/apiserver", published[0][1].removeprefix("v")),
        ("etcd", modules.ETCD, modules.pinned_etcd()),
    ):
        sums = (modules.DATA / folder / "go.sum").read_text()
        assert re.search(rf"^{re.escape(module)} v{re.escape(pin)} h1:", sums, re.MULTILINE)
        assert re.search(rf"^{re.escape(module)} v{re.escape(pin)}/go.mod h1:", sums, re.MULTILINE)
    for program in modules.PROGRAMS:
        assert program.package in (modules.DATA / program.folder / "go.mod").read_text()


def test_the_wheel_s_go_can_build_what_is_pinned(bench: Bench) -> None:
    """Else a machine without Go could build nothing, and nobody who has Go would notice."""
    bench.go.unlink()
    go = go_toolchain.choose(bench.cache, modules.needed_go())
    assert go.fetched
    assert go_toolchain.parse(go.version) >= modules.needed_go() >= (1, 24)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("go1.26.8", (1, 26, 8)),
        ("go1.27rc1", (1, 27)),
        ("devel go1.28-3f4164f508 Mon Jan 5", (1, 28)),
        ("go1.26.8 X:nodwarf5", (1, 26, 8)),
        ("1.26.0", (1, 26, 0)),
        ("devel +abc", ()),
    ],
)
def test_versions_of_go(text: str, numbers: tuple[int, ...]) -> None:
    """1.9 is older than 1.26; a distribution's suffix or a candidate is no reason to fetch another Go."""
    assert go_toolchain.parse(text) == numbers


@pytest.mark.parametrize("on_the_path", [None, "go1.21.13", "broken"])
def test_go_is_fetched_where_there_is_none(
    on_the_path: str | None, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user of Python tools has no Go, or the old one of a distribution, and must not need to care."""
    if on_the_path == "broken":
        bench.go.write_text("#!/bin/sh\nexit 1\n")
    elif on_the_path is None:
        bench.go.unlink()
    else:
        old = GO.replace("${GO_VERSION:-go1.26.8}", on_the_path)
        bench.go.write_text(old)
    made = bench.build()
    assert bench.steps[0].startswith("[1/5] Go 1.")
    (fetched,) = bench.fetches()
    assert "|--require-hashes|" in fetched
    assert bench.seen("GOFLAGS") == {"-mod=readonly -buildvcs=false -modcacherw"}
    assert bench.seen("GOCACHE") == {str(bench.cache / "go" / "builds")}
    # What nobody else uses is not left behind: gigabytes.
    assert not (bench.cache / "go" / "builds").exists()
    assert not (bench.cache / "go" / "modules").exists()

    assert bench.build() == made
    monkeypatch.setenv("UV_FAILS", "1")
    bench.build("1.35.4")
    assert bench.fetches() == [fetched], "it was fetched again"


def test_it_needs_no_go_once_it_is_built(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Go and without a network must be able to say that all is there."""
    bench.go.unlink()
    made = bench.build()
    shutil.rmtree(bench.cache / "go")
    monkeypatch.setenv("UV_FAILS", "1")
    assert bench.build() == made


def test_go_that_cannot_be_fetched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go and without a network the user must read what to install."""
    bench.go.unlink()
    monkeypatch.setenv("UV_FAILS", "1")
    with pytest.raises(
        WatcherError, match=r"no Go on the PATH .* could not be fetched: uv ended with status 2"
    ) as caught:
        bench.build()
    assert "error: dns error" in str(caught.value)
    assert re.search(r"install Go 1\.\d+\.\d+ or newer", str(caught.value))
    assert (caught.value.exit_code, bench.leftovers()) == (3, [])


def test_no_go_is_new_enough(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update of the pins: to fetch an old Go and fail in it would help nobody."""
    monkeypatch.setattr(modules, "needed_go", lambda: (1, 99))
    with pytest.raises(
        WatcherError, match=r"needs Go 1.99 or newer: .*/go is go1.26.8, and the one to be fetched is 1."
    ):
        bench.build()


@pytest.mark.parametrize(
    ("command", "said", "expected"),
    [
        ("list", "dial tcp: lookup proxy.example: no such host", "could not be fetched: .*\n.*needs the network"),
        (
            "list",
            "k8s.io/kubernetes@v1.35.4: module lookup disabled by GOPROXY=off",
            "needs the network, or the mirror",
        ),
        (
            "list",
            "reading https://p/k8s.io/kubernetes/@v/v1.35.4.info: 404 Not Found",
            "does not have Kubernetes 1.35.4",
        ),
        ("list", "k8s.io/kubernetes@v1.35.4: unknown revision v1.35.4", "does not have Kubernetes 1.35.4"),
        ("mod tidy", "go: k8s.io/api@v0.35.4 requires go >= 1.99.0 (running go 1.26.8)", "needs Go 1.99.0: put that"),
        ("list", "verifying k8s.io/api: checksum mismatch\\nSECURITY ERROR", "is not what go.sum pins"),
        ("build", "x.go:3:5: undefined: y", "kube-apiserver could not be compiled: .*\n.*is known to build"),
        ("build", "compile: signal: killed", "memory runs out"),
        ("build", "write a.out: no space left on device", r"disk is full(.|\n)*MiB in .*/cache, (.|\n)*home/modules"),
        ("list", "write x.zip: disk quota exceeded", r"disk is full"),
    ],
)
def test_a_failure_says_what_to_do_and_leaves_nothing(
    command: str, said: str, expected: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five minutes in, `exit status 1` is no answer; and what is left behind must not be taken for a build."""
    monkeypatch.setenv("FAILS", command)
    monkeypatch.setenv("SAYS", said)
    with pytest.raises(ControlPlaneFailure, match=expected) as caught:
        bench.build("1.35.4")
    assert caught.value.exit_code == 3
    log = caught.value.log
    assert log is not None
    assert f"its log: {log}" in str(caught.value)
    assert said.split("\\n")[0] in Path(log).read_text()
    assert bench.leftovers() == []
    assert binaries.find("auto", bench.cache) is None
    monkeypatch.delenv("FAILS")
    assert bench.build("1.35.4").version == "1.35.4"
    assert not Path(log).exists()


def test_a_full_disk_of_ours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last megabyte can be missing when we write, too: the same answer, not a traceback."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(ControlPlaneFailure, match=r"disk is full(.|\n)*MiB in .*/cache"):
        bench.build()
    assert bench.leftovers() == []
    assert binaries.find("auto", bench.cache) is None


def test_what_was_built_is_asked_who_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A linker flag that upstream renamed would give results with a version that nothing confirms."""
    monkeypatch.setenv("LIES", "1.2.3")
    with pytest.raises(ControlPlaneFailure, match=rf"Kubernetes {modules.pinned_kubernetes()} .*says that it is 1.2.3"):
        bench.build()
    assert binaries.find("auto", bench.cache) is None


def test_a_build_that_is_killed_is_not_used(bench: Bench) -> None:
    """A laptop that is closed in the middle: the next command begins anew, without what was half done."""
    code = "import sys, pathlib; from watcher.lab.control_plane.build import build\n"
    code += "build(pathlib.Path(sys.argv[1]), on_line=print)"
    building = subprocess.Popen(
        [sys.executable, "-uc", code, str(bench.cache)],
        env={**os.environ, "HANGS": "build"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert building.stdout is not None
    with building, building.stdout:
        while building.stdout.readline() not in ("hanging\n", ""):
            pass
        os.killpg(building.pid, signal.SIGKILL)
    assert len(bench.leftovers()) == 1, "it was not killed in the middle"
    assert binaries.find("auto", bench.cache) is None
    began = time.monotonic()
    bench.build()
    assert time.monotonic() - began < 40, "the dead one's lock was waited for"
    assert bench.leftovers() == []


def test_several_at_once_build_it_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs that start together must not compile twice, nor remove what the other is building."""
    monkeypatch.setenv("SLOW", "1")
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(lambda _: bench.build(), range(4)))
    assert len(made) == 1
    assert len(bench.calls("build")) == 3
    assert "waiting for another build of a control plane" in bench.steps


def test_a_spoilt_build_is_made_again(bench: Bench) -> None:
    """Files that a power failure left empty, or that somebody cleared away, must not stay for ever."""
    made = bench.build()
    made.etcd.write_bytes(b"")
    assert binaries.find("auto", bench.cache) is None
    assert bench.build() == made
    assert made.etcd.stat().st_size > 0


def test_others_may_use_it_whatever_the_umask(bench: Bench) -> None:
    """Built by an administrator for a shared machine, it must run for the users of that machine."""
    before = os.umask(0o077)
    try:
        made = bench.build()
    finally:
        os.umask(before)
    for entry in (made.folder, *made.folder.rglob("*")):
        wanted = 0o5 if entry.is_dir() or entry.name in ("etcd", "kube-proxy", "kube-apiserver") else 0o4
        assert entry.stat().st_mode & 0o7 == wanted, entry


def test_a_cache_that_cannot_be_written(bench: Bench) -> None:
    """Users without a home directory, as in containers, must learn which variable helps."""
    bench.cache.touch()
    with pytest.raises(WatcherError, match=r"control plane cannot be written to .*\n.*WATCHER_CACHE"):
        bench.build()


def test_only_on_linux(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Mac it would compile for minutes what no lab can use."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LabUnavailable, match="on Linux only"):
        bench.build()


def call(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["build", *arguments])


def test_the_command(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes without a word look like a command that hangs; and where it went is what KUBEBUILDER_ASSETS needs."""
    monkeypatch.setenv("COLUMNS", "300")
    result = call("control-plane")
    assert result.exit_code == 0, result.stderr
    for name in ("[2/4] kube-apiserver", "[3/4] kube-proxy", "[4/4] etcd"):
        assert f"{name}\n" in result.stderr
        assert re.search(rf"^{re.escape(name)}: ready in \d+\.\d s$", result.stderr, re.MULTILINE)
    made = binaries.find("kubernetes", bench.cache)
    assert made is not None
    last = f"Kubernetes {made.version} with etcd {made.etcd_version}: ready in "
    assert result.stderr.splitlines()[-1].startswith(last)
    assert result.stderr.splitlines()[-1].endswith(f", in {made.folder}")
    again = call("control-plane")
    assert (again.exit_code, len(again.stderr.splitlines())) == (0, 1)


def test_the_command_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts go by the exit code: 3 for what the machine lacks, 2 for what was typed wrong."""
    monkeypatch.setenv("FAILS", "build")
    failed = call("control-plane")
    assert failed.exit_code == 3
    assert "kube-apiserver: failed after" in failed.stderr
    assert "error: kube-apiserver could not be compiled" in failed.stderr
    assert "ready" not in failed.stderr.split("kube-apiserver\n")[1]
    assert call("control-plane", "--kubernetes-version", "1.36").exit_code == 2
    assert call("--kubernetes-version", "1.36.3").exit_code == 2
    assert bench.leftovers() == []


def test_clients_and_control_plane_in_one_command(bench: Bench) -> None:
    """A client that cannot be built must neither stop the control plane nor be forgotten over it."""
    result = call("control-plane", "nobody")
    assert result.exit_code == 2
    assert "nobody" in result.stderr
    assert binaries.find("auto", bench.cache) is not None


def test_the_stand_in_is_called_as_go_is() -> None:
    """The stand-in reads its arguments by place: should the order change, the tests above would test nothing."""
    program = modules.PROGRAMS[0]
    flags = modules.linker_flags(program, "1.36.3")
    assert shlex.split(flags)[:2] == ["-s", "-w"]
    assert shlex.split(flags)[2::2] == ["-X"] * 10
