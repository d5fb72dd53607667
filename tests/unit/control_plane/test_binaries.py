"""Which control plane a run gets, and what is said of programs that are not what they should be."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.errors import ControlPlaneFailure, LabUnavailable, UsageError
from watcher.lab.control_plane import binaries

KUBERNETES = (
    "#!/bin/sh\ncase $1 in --version) echo Kubernetes v{version} ;; --help) echo '      {flag} strings' ;; esac\n"
)
ETCD = "#!/bin/sh\nprintf 'etcd Version: {version}\\nGit SHA: Not provided\\n'\n"


def program(name: str, version: str) -> str:
    """A stand-in that answers as that program does."""
    if name == "etcd":
        return ETCD.format(version="3.6.7")
    return KUBERNETES.format(version=version, flag="--etcd-servers" if name == "kube-apiserver" else "--proxy-mode")


def put(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(0o755)


def a_build(cache: Path, version: str, key: str = "0") -> Path:
    """What a finished build leaves."""
    folder = cache / binaries.FOLDER / f"{version}-{key}"
    names = ("kube-apiserver", "kube-proxy", "etcd")
    for name in names:
        put(folder / name, program(name, version))
    sizes = {name: (folder / name).stat().st_size for name in names}
    manifest = {"schema": 1, "kubernetes": version, "etcd": "3.6.7", "machine": platform.machine(), "sizes": sizes}
    (folder / binaries.MANIFEST).write_text(json.dumps(manifest))
    return folder


def an_elf(machine: int) -> bytes:
    """The start of a program for that machine, and nothing after it."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little") + bytes(44)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(binaries.ASSETS, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def assets(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As ``setup-envtest`` leaves them; ``cache`` first, which clears the variable."""
    assert cache.parent == tmp_path
    folder = tmp_path / "assets"
    for name in ("kube-apiserver", "etcd"):
        put(folder / name, program(name, "1.35.0"))
    put(folder / "kubectl", "#!/bin/sh\nexit 1\n")
    monkeypatch.setenv(binaries.ASSETS, str(folder))
    return folder


def test_without_any_it_is_the_embedded_one(cache: Path) -> None:
    """The first run on a machine must need nothing but Python."""
    assert binaries.find("auto", cache) is None


def test_who_asks_for_the_real_one_gets_no_other(cache: Path) -> None:
    """A published result would rest on an imitation while its command line says otherwise."""
    with pytest.raises(LabUnavailable, match=r"no kube-apiserver here\n.*`watcher build control-plane`") as caught:
        binaries.find("kubernetes", cache)
    assert caught.value.exit_code == 3


def test_a_choice_that_does_not_exist(cache: Path) -> None:
    """A typing error must not run hours against another control plane."""
    with pytest.raises(UsageError, match=r"'kubernets'\n.*auto, embedded, kubernetes"):
        binaries.find("kubernets", cache)


@pytest.mark.parametrize("choice", ["auto", "kubernetes"])
def test_the_variable_comes_first(choice: str, assets: Path, cache: Path) -> None:
    """Who has Kubernetes' own binaries at hand, as every operator's tests do, names the version to be measured."""
    a_build(cache, "1.36.3")
    found = binaries.find(choice, cache)
    assert found == binaries.Binaries(
        assets, assets / "kube-apiserver", assets / "etcd", None, "1.35.0", "3.6.7", binaries.ASSETS
    )


def test_the_embedded_one_needs_no_variable(assets: Path, cache: Path) -> None:
    """A broken folder of another tool's must not stop a run that does not use it."""
    (assets / "etcd").unlink()
    assert binaries.find("embedded", cache) is None
    with pytest.raises(ControlPlaneFailure):
        binaries.find("auto", cache)


def test_an_empty_variable_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`KUBEBUILDER_ASSETS= watcher run` is how a shell takes it away for one command."""
    monkeypatch.setenv(binaries.ASSETS, "")
    assert binaries.find("auto", cache) is None


def test_with_a_kube_proxy_beside_it(assets: Path, cache: Path) -> None:
    """Else the kube-proxy paths could only be run with our own build."""
    put(assets / "kube-proxy", program("kube-proxy", "1.35.0"))
    found = binaries.find("auto", cache)
    assert found is not None
    assert found.kube_proxy == assets / "kube-proxy"


def test_the_newest_of_the_cache(cache: Path) -> None:
    """By number, a release after its candidates: as text, 1.9 would be newer than 1.36."""
    for version in ("1.9.12", "1.36.0-rc.1", "1.36.0-beta.2", "1.35.10"):
        a_build(cache, version)
    found = binaries.find("auto", cache)
    assert found is not None
    assert (found.version, found.origin) == ("1.36.0-rc.1", binaries.BUILT)


def test_the_last_build_of_a_version(cache: Path) -> None:
    """Built anew with a fixed Go, the older build of the same version must not come back by chance."""
    builds = [a_build(cache, "1.36.0", "0"), a_build(cache, "1.36.0", "1")]
    for older, newer in (builds, builds[::-1]):
        os.utime(older / binaries.MANIFEST, (1, 1))
        os.utime(newer / binaries.MANIFEST, (2, 2))
        found = binaries.find("kubernetes", cache)
        assert found is not None
        assert found.folder == newer
        assert found.kube_proxy == newer / "kube-proxy"


def _as_if_unfinished(folder: Path) -> None:
    folder.rename(folder.with_name(".unfinished-1"))


def _for_another_machine(folder: Path) -> None:
    manifest = json.loads((folder / binaries.MANIFEST).read_text())
    (folder / binaries.MANIFEST).write_text(json.dumps({**manifest, "machine": "pdp11"}))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / binaries.MANIFEST).unlink(),
        lambda folder: (folder / binaries.MANIFEST).write_text("{"),
        lambda folder: (folder / binaries.MANIFEST).write_text("[]"),
        lambda folder: (folder / "kube-apiserver").write_bytes(b""),
        lambda folder: (folder / "kube-proxy").unlink(),
        lambda folder: (folder / "etcd").chmod(0o644),
        _for_another_machine,
        _as_if_unfinished,
    ],
)
def test_a_build_that_is_not_whole_is_not_used(spoil: Callable[[Path], object], cache: Path) -> None:
    """A half-finished build would fail at the start of a run, or in the middle of it."""
    folder = a_build(cache, "1.36.3")
    assert binaries.built(folder) is not None
    spoil(folder)
    assert binaries.find("auto", cache) is None


OTHER_MACHINE = an_elf(183 if platform.machine() == "x86_64" else 62)
THIS_MACHINE = an_elf(binaries._MACHINES[platform.machine()])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("kube-apiserver", None, "cannot be read: No such file"),
        ("etcd", None, "cannot be read: No such file"),
        ("kube-apiserver", OTHER_MACHINE, r"is for \S+, and this machine is "),
        ("etcd", b"\xcf\xfa\xed\xfe" + bytes(60), "is no program for Linux"),
        ("etcd", b"", "is no program for Linux"),
        ("etcd", b"<html>404 Not Found</html>", "is no program for Linux"),
        ("etcd", THIS_MACHINE, "cannot be started|is not etcd.*status -"),
        ("etcd", "#!/nowhere/sh\n", "cannot be started: No such file"),
        ("kube-apiserver", ETCD.format(version="3.6.7"), "is not kube-apiserver.*status 0 after Git SHA"),
        ("kube-apiserver", "#!/bin/sh\necho unknown flag >&2; exit 4", "is not kube-apis.*status 4 after unknown flag"),
        ("kube-apiserver", program("kube-proxy", "1.35.0"), "is another program.*no --etcd-servers"),
        ("kube-proxy", program("kube-apiserver", "1.35.0"), "is another program.*no --proxy-mode"),
        ("kube-proxy", program("kube-proxy", "1.34.0"), "is 1.34.0, but its kube-apiserver 1.35.0"),
        ("kube-apiserver", "#!/bin/sh\n", "is not kube-apiserver, or .*status 0 after nothing"),
        ("kube-apiserver", program("kube-apiserver", "0.0.0-master+$Format:%H$"), "was built without its version"),
    ],
)
def test_a_wrong_program_is_named(
    name: str, content: str | bytes | None, problem: str, assets: Path, cache: Path
) -> None:
    """Else the user of a foreign folder gets the log of a server that never ran, or a result with a wrong version."""
    assert binaries.find("auto", cache) is not None
    (assets / name).unlink(missing_ok=True)
    if content is not None:
        put(assets / name, content)
    with pytest.raises(ControlPlaneFailure, match=rf"^{assets / name} ({problem})") as caught:
        binaries.find("auto", cache)
    assert caught.value.exit_code == 3
    assert caught.value.advice is not None
    assert binaries.ASSETS in caught.value.advice


def test_a_program_that_may_not_be_run(assets: Path, cache: Path) -> None:
    """An archive unpacked without its modes is the most common slip."""
    (assets / "kube-apiserver").chmod(0o644)
    with pytest.raises(ControlPlaneFailure, match="kube-apiserver is not executable"):
        binaries.find("auto", cache)


def test_a_folder_instead_of_a_program(assets: Path, cache: Path) -> None:
    """The archive's folder inside the folder: no traceback."""
    (assets / "etcd").unlink()
    (assets / "etcd").mkdir()
    with pytest.raises(ControlPlaneFailure, match="etcd cannot be read: Is a directory"):
        binaries.find("auto", cache)


def test_a_program_that_does_not_answer(
    assets: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ignores --version would hold up the command for ever, or go on after it."""
    # The others answer in this time, and etcd starts its child, on a machine that is busy, too.
    monkeypatch.setattr(binaries, "ANSWER_SECONDS", 3.0)
    numbers = tmp_path / "numbers"
    # Its child holds what it inherited, too.
    put(assets / "etcd", f"#!/bin/sh\nsleep 600 &\necho $$ $! >{numbers}\nsleep 600\n")
    began = time.monotonic()
    with pytest.raises(ControlPlaneFailure, match=r"etcd did not answer --version within 3 s"):
        binaries.find("auto", cache)
    assert time.monotonic() - began < 60, "it was waited for"
    started = [int(number) for number in numbers.read_text().split()]
    assert len(started) == 2
    until = time.monotonic() + 30
    while any(alive(number) for number in started):
        assert time.monotonic() < until, "what it started went on"
        time.sleep(0.02)


def alive(number: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has asked for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
