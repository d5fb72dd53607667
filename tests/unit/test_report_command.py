"""``watcher report``, and the pages that ``watcher publish`` makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.publish.runs import a_run_folder
from watcher import cli
from watcher.model import Ending
from watcher.publish import page as pages
from watcher.report import page, readme

EMPTY = f"top\n{readme.BEGIN}\nold\n{readme.END}\nend\n"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text(EMPTY)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def test_report_writes_beside_the_results() -> None:
    """The files are somewhere else, or the command says nothing of them."""
    run = a_run_folder(Path("runs/one"))
    result = call("report", str(run))
    assert result.exit_code == 0, result.output
    names = ["page.html", "junit.xml", "matrix.md", "clients.md"]
    assert [Path(line).name for line in result.stdout.split()] == names
    assert all((run / name).is_file() for name in names)
    assert "<!doctype html>" in (run / "page.html").read_text()


def test_a_published_run_is_not_written_to() -> None:
    """What was published once is not what is there now."""
    a_run_folder(Path("runs/one"))
    place = Path(call("publish", "runs/one").stdout.strip())
    before = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
    result = call("report", str(place))
    assert result.exit_code == 2
    assert "never changed" in result.stderr
    assert call("report", str(place), "--output", "elsewhere").exit_code == 0
    assert Path("elsewhere/page.html").is_file()
    assert {file: file.read_bytes() for file in place.rglob("*") if file.is_file()} == before


def test_no_folder() -> None:
    """A typing error ends in a traceback."""
    result = call("report", "nowhere")
    assert result.exit_code == 2
    assert "is no folder" in result.stderr


def test_publish_makes_the_page_once() -> None:
    """A link to a published run's page leads to other content each time that something else is published."""
    a_run_folder(Path("runs/one"))
    place = Path(call("publish", "runs/one").stdout.strip())
    page = Path("results/pages") / f"{place.name}.html"
    first = page.read_text()
    assert f"pages/{place.name}.html" in Path("results/index.html").read_text()
    page.write_text("drawn by an older version")
    assert call("publish").exit_code == 0
    assert page.read_text() == "drawn by an older version"
    assert call("publish", "--pages-again").exit_code == 0
    assert page.read_text() == first


def test_a_missing_page_is_made() -> None:
    """Runs that were published before there were pages never get one."""
    a_run_folder(Path("runs/one"))
    place = Path(call("publish", "runs/one").stdout.strip())
    page = Path("results/pages") / f"{place.name}.html"
    page.unlink()
    call("publish")
    assert page.is_file()


def test_links_of_the_page_lead_to_files() -> None:
    """Evidence that was published is not found."""
    import base64
    import gzip
    import json
    import re

    a_run_folder(Path("runs/one"))
    place = Path(call("publish", "runs/one").stdout.strip())
    page = Path("results/pages") / f"{place.name}.html"
    links = [
        link
        for chunk in re.findall(r'id="chunk-\d+">([^<]*)<', page.read_text())
        for cell in json.loads(gzip.decompress(base64.b64decode(chunk))).values()
        for link in cell.get("files", [])
    ]
    assert links
    assert all((page.parent / link).is_file() for link in links)
    assert any(link.endswith("client-link.pcap.gz") for link in links)


def test_a_run_without_journal_is_shown_all_the_same() -> None:
    """results.json alone, as somebody mailed it, cannot be looked at."""
    run = a_run_folder(Path("runs/one"))
    call("judge", str(run), "--write")
    (run / "journal.jsonl").unlink()
    assert call("report", str(run)).exit_code == 0


def test_a_program_that_has_moved_on_is_not_shown_as_what_ran() -> None:
    """Beside an old verdict stands a program that never got it."""
    from watcher.catalog import Catalog

    found = Catalog.load().stacks["python-urllib3"]
    told, sources = pages.program(found, found.stack.version)
    assert told.files == ("clients/python-urllib3/watch.py",)
    assert "import urllib3" in sources[told.files[0]]
    assert pages.program(found, "1.0") == (page.Program(told.description, (), told.default_source), {})


def test_sources_of_a_program_that_is_built(tmp_path: Path) -> None:
    """A command that names a binary leaves its readers without a line of source, or shows them lock files."""
    from watcher.catalog import Catalog, FoundStack

    folder = tmp_path / "clients" / "go"
    for name in ("contract.go", "informer.go", "sub/more.go", "go.sum", "go.mod", "client.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    known = Catalog.load().stacks["python-urllib3"]
    command = ("env", "X=1", "{environment}/bin/watcher", "informer")
    found = FoundStack(known.stack.model_copy(update={"command": command}), known.build, folder)
    told, sources = pages.program(found, None)
    assert told.files == ("go/informer.go", "go/contract.go", "go/sub/more.go")
    assert sources["go/informer.go"] == "informer.go"


def test_each_ending_of_a_path_has_words() -> None:
    """A new kind of network makes every page fail."""
    assert set(pages.ENDINGS) == set(Ending)


def test_diff_as_a_page() -> None:
    """The option is there, and the file is not."""
    a_run_folder(Path("runs/one"))
    result = call("diff", "runs/one", "runs/one", "--html", "diff.html", "--json")
    assert result.exit_code == 0, result.output
    assert "No difference in what both runs decide" in Path("diff.html").read_text()
