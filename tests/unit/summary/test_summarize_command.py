"""``watcher summarize``: from clusters and from files, into every format."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.unit.report.examples import a_cell, a_run
from tests.unit.summary.soaks import config_map, counted, export, totals
from watcher import cli
from watcher.failure_object import object_of
from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES
from watcher.lab.control_plane.server import Server, serve
from watcher.model import Verdict
from watcher.summary import clusters, exports, predictions
from watcher.totals import Failure, Keepalive

SOAK = totals(counted(observed=190, missed=2, keepalive=Keepalive(by="none", quiet_seconds=9000)))
FAILURE = Failure(
    stack="python-kubernetes",
    profile="default",
    nonce="n",
    touched_at="2026-11-20T00:00:00+00:00",
    missed_at="2026-11-20T00:00:10+00:00",
    deadline_seconds=10,
)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A cluster with a soak's ConfigMaps among others."""
    async with serve() as running:
        for namespace in ("watcher", "empty"):
            running.store.create(NAMESPACES, "", {"metadata": {"name": namespace}})
        for body in (
            config_map("totals-soak", {"totals.json": SOAK.model_dump_json()}),
            config_map("trigger", {"nonce": "n"}),
            object_of(FAILURE),
        ):
            running.store.create(CONFIG_MAPS, "watcher", body)
        yield running


def kubeconfig(folder: Path, server: Server, token: str | None = None) -> str:
    authority = base64.b64encode(server.ca_pem.encode()).decode()
    cluster = {"server": f"https://{server.addresses[0]}", "certificate-authority-data": authority}
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "good", "user": {"token": server.token}}, {"name": "bad", "user": {"token": token or "no"}}],
        "contexts": [
            {"name": "aks-pub", "context": {"cluster": "c", "user": "good", "namespace": "watcher"}},
            {"name": "denied", "context": {"cluster": "c", "user": "bad", "namespace": "watcher"}},
        ],
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(content))
    return str(file)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["summarize", *arguments])


async def test_a_cluster_is_read_by_its_context(server: Server, tmp_path: Path) -> None:
    """The way of the README: a column for each context, and an export to keep."""
    file = kubeconfig(tmp_path, server)
    result = await asyncio.to_thread(
        run, "--kubeconfig", file, "--context", "aks-pub=public", "--export", "kept.json", "--format", "markdown"
    )
    assert result.exit_code == 0, result.output
    assert r"**✗ FAIL \(2 of 192, never\)**" in result.stdout
    assert "Public cluster" in result.stdout
    (kept,) = exports.load(tmp_path / "kept.json")
    assert (kept.cluster, kept.totals, kept.failures) == ("public", (SOAK,), (FAILURE,))
    offline = run("--from", "kept.json", "--format", "markdown")
    made = [line for line in result.stdout.splitlines() if not line.startswith("made ")]
    assert [line for line in offline.stdout.splitlines() if not line.startswith("made ")] == made


async def test_the_namespace_can_be_another(server: Server, tmp_path: Path) -> None:
    """A soak need not be where kubectl points."""
    file = kubeconfig(tmp_path, server)
    result = await asyncio.to_thread(run, "--kubeconfig", file, "--context", "aks-pub", "--namespace", "empty")
    assert result.exit_code == 0, result.output
    assert "aks-pub" in result.stdout
    assert "python-kubernetes" not in result.stdout


async def test_one_cluster_that_cannot_be_read_does_not_hide_the_other(server: Server, tmp_path: Path) -> None:
    """The table of what there is, a word for what is not, and a status that a script sees."""
    file = kubeconfig(tmp_path, server)
    result = await asyncio.to_thread(
        run, "--kubeconfig", file, "--context", "aks-pub=public", "--context", "denied=private", "--format", "json"
    )
    assert result.exit_code == 3, result.output
    summary = json.loads(result.stdout)
    assert [cell["word"] for cell in summary["rows"][0]["cells"]] == ["FAIL", "no data"]
    assert "401" in summary["clusters"][1]["problems"][0]
    assert "private" in result.stderr


async def test_a_long_list_is_read_page_by_page(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hundred failures are more than one answer of an API server."""
    pages = [
        {"metadata": {"continue": "more"}, "items": [object_of(FAILURE), None, {"metadata": 5}]},
        {"metadata": {}, "items": [config_map("totals-soak", {"totals.json": SOAK.model_dump_json()})]},
    ]
    asked = []

    class Response:
        def __init__(self, content: bytes) -> None:
            self._content = content

        def read(self, most: int) -> bytes:
            return self._content[:most]

        def release_conn(self) -> None:
            pass

    def answer(_self: object, _namespace: str, **options: Any) -> Response:
        asked.append(options.get("_continue"))
        return Response(json.dumps(pages[len(asked) - 1]).encode())

    monkeypatch.setattr("kubernetes.client.CoreV1Api.list_namespaced_config_map", answer)
    found = clusters.export("aks-pub", "public", None, Path(kubeconfig(tmp_path, server)))
    assert asked == [None, "more"]
    assert (found.totals, found.failures) == ((SOAK,), (FAILURE,))
    monkeypatch.setattr(clusters, "MOST_PAGE_OCTETS", 100)
    asked.clear()
    with pytest.raises(clusters.ClusterUnreadable, match="more than can be read"):
        clusters.export("aks-pub", "public", None, Path(kubeconfig(tmp_path, server)))


def test_files_of_several_clusters_and_of_kubectl(tmp_path: Path) -> None:
    """Two colleagues, two clusters, one table; offline."""
    (tmp_path / "a.json").write_text(exports.text_of([export(SOAK)]))
    items = [config_map("totals-soak", {"totals.json": SOAK.model_dump_json()})]
    (tmp_path / "b.json").write_text(json.dumps({"items": items}))
    result = run("--from", "a.json", "--from", "b.json=private", "--format", "json", "--export", "both.json")
    assert result.exit_code == 0, result.output
    assert [each["name"] for each in json.loads(result.stdout)["clusters"]] == ["public", "private"]
    assert [each.cluster for each in exports.load(tmp_path / "both.json")] == ["public", "private"]


@pytest.mark.parametrize("format_", ["terminal", "markdown", "html", "json"])
def test_every_format_into_a_file(tmp_path: Path, format_: str) -> None:
    """For a page, a ticket, a script."""
    (tmp_path / "a.json").write_text(exports.text_of([export(SOAK)]))
    result = run("--from", "a.json", "--format", format_, "--output", "out")
    assert (result.exit_code, result.stdout) == (0, "")
    text = (tmp_path / "out").read_text()
    assert "2 of 192" in text
    assert text.endswith("\n")
    assert "\x1b" not in text


def test_an_output_that_knows_ascii_alone(tmp_path: Path) -> None:
    """Windows' older consoles, LANG=C: letters instead of a traceback."""
    (tmp_path / "a.json").write_text(exports.text_of([export(SOAK, problems=("ü",))]))
    result = CliRunner(charset="ascii").invoke(cli.app, ["summarize", "--from", "a.json"])
    assert result.exit_code == 0, result.output
    assert "x FAIL (2 of 192, never)" in result.stdout


def test_limits_can_be_set(tmp_path: Path) -> None:
    """An hour's soak has its table too, but must ask for it."""
    short = totals(counted(observed=6), running_seconds=3600)
    (tmp_path / "a.json").write_text(exports.text_of([export(short)]))
    assert "? not enough data" in run("--from", "a.json").stdout
    assert "✓ PASS" in run("--from", "a.json", "--least-hours", "1", "--least-touches", "6").stdout


def a_published_run(name: str, verdict: Verdict, profile: str, at: str, **more: Any) -> None:
    """Beside the exports; ``name`` is the run's folder."""
    run = a_run(a_cell(verdict, 0.1 if verdict is Verdict.OK else None, scenario="azure-slb", profile=profile))
    changed = {"run": run.run.model_copy(update={"started_at": at, **more.pop("run", {})}), **more}
    folder = Path("results") / name
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(run.model_copy(update=changed).model_dump_json())


def the_labs_words(*options: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """Which run is the newest, and of each profile what is said, and by which other run."""
    watchers = [counted("python-kubernetes", profile, observed=200) for profile in ("default", "retry")]
    Path("a.json").write_text(exports.text_of([export(totals(*watchers))]))
    path = a_run(a_cell(scenario="azure-slb")).scenarios["azure-slb"].path
    result = run("--from", "a.json", "--path", f"public={path}", "--format", "json", *options)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    told = {row["profile"]: row["cells"][0]["predicted"] for row in summary["rows"]}
    return summary["prediction"], {name: (each["reading"], each["run"]) for name, (each,) in told.items()}


def test_the_labs_word_comes_from_the_published_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody should have to look for their folders; and of one day's runs the later one counts, whatever its hash."""
    monkeypatch.setattr(predictions, "clients_folder", lambda: tmp_path / "none" / "clients")
    later, sooner = "2026-11-21-11111111", "2026-11-21-ffffffff"
    a_published_run(later, Verdict.OK, "default", "2026-11-21T17:00:00+00:00")
    a_published_run(sooner, Verdict.STUCK, "default", "2026-11-21T16:30:00.5+00:00")
    assert the_labs_words() == (later, {"default": ("PASS", ""), "retry": ("in no run", "")})
    a_published_run("2026-11-20-eeeeeeee", Verdict.DIED, "retry", "2026-11-20T23:00:00+00:00")
    mended = {"default": ("PASS", ""), "retry": ("PASS with restarts", "2026-11-20-eeeeeeee")}
    assert the_labs_words() == (later, mended)
    # What is no prediction: a run that cannot be trusted, one of other protocols, a folder that is no run.
    a_published_run("2026-11-22-00000000", Verdict.LATE, "retry", "2026-11-22T01:00:00+00:00", run={"trusted": False})
    other = {"python-kubernetes": a_run(a_cell()).stacks["python-kubernetes"].model_copy(update={"protocol": "poll"})}
    a_published_run("2026-11-22-11111111", Verdict.LATE, "retry", "2026-11-22T02:00:00+00:00", stacks=other)
    a_published_run("not-a-run", Verdict.LATE, "retry", "2026-11-22T03:00:00+00:00")
    assert the_labs_words() == (later, mended)
    assert the_labs_words("--prediction", f"results/{sooner}") == (
        sooner,
        {"default": ("FAIL", ""), "retry": ("not in this run", "")},
    )
    (tmp_path / "results" / sooner / "results.json").write_text("{}")
    broken = run("--from", "a.json", "--path", "public=azure-slb-silent")
    assert broken.exit_code == 2
    assert "no results of a run" in str(broken.exception or "") + broken.output
    assert run("--from", "a.json").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to read"),
        (["--context", "=x"], "not what --context takes"),
        (["--from", "missing.json"], "missing.json"),
        (["--from", "a.json", "--path", "public=nowhere"], "unknown path"),
        (["--from", "a.json", "--path", "privat=direct"], "names no column"),
        (["--from", "a.json", "--path", "direct"], "not what --path takes"),
        (["--from", "a.json", "--prediction", "x"], "--prediction needs"),
        (["--context", "nobody", "--kubeconfig", "missing"], "kubeconfig cannot be used"),
        (["--from", "a.json", "--output", "no/such/folder"], "cannot be written"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    """With status 2, and before an hour of anything."""
    (tmp_path / "a.json").write_text(exports.text_of([export(SOAK)]))
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in str(result.exception or "") + result.output
