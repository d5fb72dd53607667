"""``watcher path``: what it takes, whom it asks, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from watcher.cli import app
from watcher.cli.pathing import parse_ages, steps
from watcher.errors import UsageError
from watcher.idle import access
from watcher.idle.measure import Measured
from watcher.idle.place import Place
from watcher.idle.verdict import Try
from watcher.totals import Tried

SERVER = "https://api.example:6443"


def kubeconfig(folder: Path, **cluster: Any) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "first",
        "contexts": [
            {"name": "first", "context": {"cluster": "c", "user": "u", "namespace": "mine"}},
            {"name": "second", "context": {"cluster": "c", "user": "u"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **cluster}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    file = folder / "config"
    file.write_text(json.dumps(content))
    return file


def test_ages() -> None:
    """What is asked for is what is tried."""
    assert parse_ages("120, 60,60") == (60, 120)
    assert steps(60, 900) == tuple(range(60, 901, 60))
    assert steps(0.1, 0.3) == pytest.approx((0.1, 0.2, 0.3))


@pytest.mark.parametrize("wrong", ["", "a", "0", "-1,5", "nan", "inf", "60;120", ",".join(map(str, range(1, 70)))])
def test_wrong_ages_are_refused(wrong: str) -> None:
    """Before a quarter of an hour has gone by."""
    with pytest.raises(UsageError):
        parse_ages(wrong)


@pytest.mark.parametrize(("step", "until"), [(0, 900), (-1, 10), (100, 50), (1, float("inf")), (1, 900)])
def test_wrong_steps_are_refused(step: float, until: float) -> None:
    """The same for step and until."""
    with pytest.raises(UsageError):
        steps(step, until)


def test_a_context_is_read(tmp_path: Path) -> None:
    """By the official loader, so that whatever kubectl can reach is reached."""
    credentials, namespace = access.of_kubeconfig(None, kubeconfig(tmp_path))
    server = credentials()
    assert (server.host, server.port, server.token, namespace) == ("api.example", 6443, "secret", "mine")
    assert access.of_kubeconfig("second", kubeconfig(tmp_path))[1] == "default"


def without_current_context(folder: Path) -> Path:
    file = kubeconfig(folder)
    content = json.loads(file.read_text())
    del content["current-context"]
    file.write_text(json.dumps(content))
    return file


def test_who_names_a_context_needs_no_current_one(tmp_path: Path) -> None:
    """A kubeconfig put together for several clusters is refused, though the command says which."""
    credentials, namespace = access.of_kubeconfig("first", without_current_context(tmp_path))
    assert (credentials().host, namespace) == ("api.example", "mine")


def test_without_any_context_the_way_out_is_said(tmp_path: Path) -> None:
    """The loader's own words speak of keys in an object."""
    with pytest.raises(UsageError, match="no current context; --context NAME"):
        access.of_kubeconfig(None, without_current_context(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", "a: b", "contexts: 3", "contexts: [3]", "{", "contexts: [{name: x}]"])
def test_what_is_no_kubeconfig_is_a_usage_error(tmp_path: Path, content: str) -> None:
    """A traceback of the package, which says neither which file nor what to do."""
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(UsageError, match="kubeconfig cannot be used"):
        access.of_kubeconfig("x", file)


def test_a_proxy_is_refused(tmp_path: Path) -> None:
    """Else the proxy's timeout is published as the path's."""
    with pytest.raises(UsageError, match="proxy"):
        access.of_kubeconfig(None, kubeconfig(tmp_path, **{"proxy-url": "http://proxy.example:3128"}))


def test_an_unverified_server_is_refused(tmp_path: Path) -> None:
    """A token must not be sent to whoever answers."""
    with pytest.raises(UsageError, match="certificate"):
        access.of_kubeconfig(None, kubeconfig(tmp_path, **{"insecure-skip-tls-verify": True}))


def test_an_unknown_context_is_a_usage_error(tmp_path: Path) -> None:
    """With the loader's words, not its traceback."""
    with pytest.raises(UsageError):
        access.of_kubeconfig("third", kubeconfig(tmp_path))


def test_a_pod_is_known_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a token that the kubelet has rotated is taken up."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(UsageError):
        access.in_pod(tmp_path)
    for name, content in (("namespace", "here\n"), ("ca.crt", "PEM"), ("token", "old")):
        (tmp_path / name).write_text(content)
    credentials, namespace = access.in_pod(tmp_path)
    assert (namespace, credentials().token) == ("here", "old")
    (tmp_path / "token").write_text("new\n")
    assert (credentials().host, credentials().port, credentials().token) == ("10.96.0.1", 443, "new")


def alive(age: float) -> Try:
    return Try(age_seconds=age, idle_seconds=age, outcome=Tried.ALIVE)


def silent(age: float) -> Try:
    return Try(age_seconds=age, idle_seconds=age, outcome=Tried.SILENT)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, timeout: float, *more: str, problem: str = "") -> Any:
    def play(_: Place, ages: tuple[float, ...], **__: Any) -> Measured:
        made = tuple(alive(age) if age < timeout else silent(age) for age in ages)
        return Measured(made, (problem,) if problem else ())

    monkeypatch.setattr(Place, "play", play)
    return CliRunner().invoke(app, ["path", "--kubeconfig", str(kubeconfig(folder)), *more])


def test_what_was_measured_ends_with_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A timeout, or none: both are answers."""
    done = run(monkeypatch, tmp_path, 250, "--no-refine")
    assert done.exit_code == 0
    assert "between 240 s and 300 s" in done.stdout
    assert "azure-slb-silent" in done.stdout
    done = run(monkeypatch, tmp_path, float("inf"))
    assert done.exit_code == 0
    assert "No idle timeout up to 900 s" in done.stdout


def test_what_cannot_be_known_ends_with_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A script must not take a restart of the API server for a timeout."""
    done = run(monkeypatch, tmp_path, 250, "--json", problem="the busy connection ended")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["finding"]["result"] == "cannot-know"


def test_wrong_usage_ends_with_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As with every command."""
    assert run(monkeypatch, tmp_path, 250, "--ages", "x").exit_code == 2


def test_the_second_round_is_in_the_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every try is there, with the interval that it narrowed."""
    shown = json.loads(run(monkeypatch, tmp_path, 250, "--json").stdout)
    assert len(shown["rounds_seconds"]) == 2
    assert len(shown["tries"]) == sum(len(ages) for ages in shown["rounds_seconds"])
    assert shown["finding"]["dead_seconds"] - shown["finding"]["alive_seconds"] < 5
    assert "secret" not in json.dumps(shown)
