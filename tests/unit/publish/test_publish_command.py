"""``watcher publish``, and that what this repository publishes is in step."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.publish.rehearsals import a_rehearsal
from tests.unit.publish.runs import a_run_folder, lines, unchanged
from watcher import cli, journal
from watcher.errors import FileError
from watcher.judge.results import results_of
from watcher.model import Results
from watcher.publish import pages, soak
from watcher.report import index, readme, soaks
from watcher.summary import predictions

ROOT = Path(__file__).parents[3]
EMPTY = f"top\n{readme.BEGIN}\nold\n{readme.END}\nend\n"
WITH_SOAK = f"{EMPTY}{soaks.MARKERS[0]}\nolder\n{soaks.MARKERS[1]}\nlast\n"
LIMITS = ("--least-hours", "1", "--least-touches", "6")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text(EMPTY)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["publish", *arguments])


def test_a_run_is_published_and_shown() -> None:
    """The command ends well, and neither page knows of the run."""
    a_run_folder(Path("runs/one"))
    result = call("runs/one")
    assert result.exit_code == 0, result.output
    place = Path(result.stdout.strip())
    assert place.parent == Path("results")
    assert "MB of at most 10.0 MB" in result.stderr
    page = Path("README.md").read_text()
    assert f"Run [{place.name}](results/{place.name}/matrix.md)" in page
    assert page.startswith("top\n")
    assert page.endswith("\nend\n")
    assert f"[{place.name}]({place.name}/matrix.md)" in Path("results/README.md").read_text()
    saved = Results.model_validate_json((place / "results.json").read_bytes())
    assert results_of(journal.read(place)) == saved


def test_pages_can_be_made_again() -> None:
    """A better table cannot be shown before the next run."""
    a_run_folder(Path("runs/one"))
    call("runs/one")
    page, overview = Path("README.md").read_text(), Path("results/README.md").read_text()
    Path("README.md").write_text(EMPTY)
    Path("results/README.md").unlink()
    assert call().exit_code == 0
    assert (Path("README.md").read_text(), Path("results/README.md").read_text()) == (page, overview)


def test_the_page_may_lie_elsewhere() -> None:
    """Links in another page lead nowhere."""
    a_run_folder(Path("runs/one"))
    page = Path("docs/my page.md")
    page.parent.mkdir()
    page.write_text(EMPTY)
    place = Path(call("runs/one", "--to", "all of them", "--readme", str(page)).stdout.strip())
    assert f"](../all%20of%20them/{place.name}/matrix.md)" in page.read_text()
    assert Path("README.md").read_text() == EMPTY


@pytest.mark.parametrize("text", ["no markers", None])
def test_a_page_that_cannot_take_the_table_stops_it_before(text: str | None) -> None:
    """A run is half published: its folder is there, and no page shows it."""
    a_run_folder(Path("runs/one"))
    Path("README.md").unlink()
    if text is not None:
        Path("README.md").write_text(text)
    result = call("runs/one")
    assert result.exit_code == 2
    assert "README.md" in result.stderr
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["runs/scaled"], "not in true time"),
        (["runs/none"], "is no folder"),
        (["runs"], "holds no journal.jsonl"),
    ],
)
def test_refusals(arguments: list[str], problem: str) -> None:
    """What is not fit to be published ends like a success, or in a traceback."""
    a_run_folder(Path("runs/scaled"), lines(unchanged))
    result = call(*arguments)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert Path("README.md").read_text() == EMPTY


def test_anyway() -> None:
    """An experiment cannot be shared by the same means; or it looks like a result."""
    a_run_folder(Path("runs/scaled"), lines(unchanged))
    assert call("runs/scaled", "--anyway").exit_code == 0
    assert "scale 12" in Path("README.md").read_text()


def test_a_published_run_that_was_damaged_is_named() -> None:
    """The pages fall back in silence to an older run."""
    a_run_folder(Path("runs/one"))
    place = Path(call("runs/one").stdout.strip())
    (place / "results.json").write_text("{}")
    result = call()
    assert result.exit_code == 2
    assert str(place / "results.json") in result.stderr


def test_a_soak_is_published_and_shown() -> None:
    """The command ends well, and no page knows of the soak; or the runs' table is gone."""
    a_run_folder(Path("runs/one"))
    a_rehearsal(Path("rehearsals/one"))
    Path("README.md").write_text(WITH_SOAK)
    run = Path(call("runs/one").stdout.strip())
    assert "older" in Path("README.md").read_text()
    result = call("rehearsals/one", *LIMITS)
    assert result.exit_code == 0, result.output
    place = Path(result.stdout.strip())
    assert place.parent == Path("results/soaks")
    summary = (place / "summary.md").read_text()
    assert f"lab: run {run.name}, public as azure-slb" in summary
    assert "lab, azure-slb: " in summary
    page = Path("README.md").read_text()
    assert f"Soak [{place.name}](results/soaks/{place.name}/summary.md)" in page
    assert f"Run [{run.name}](results/{run.name}/matrix.md)" in page
    assert "older" not in page
    assert page.endswith(f"{soaks.MARKERS[1]}\nlast\n")
    overview = Path("results/README.md").read_text()
    assert f"[{place.name}](soaks/{place.name}/summary.md)" in overview
    assert f"[{run.name}]({run.name}/matrix.md)" in overview
    shown = Path("results/index.html").read_text()
    assert f'href="soaks/{place.name}/summary.html"' in shown
    assert f'href="pages/{run.name}.html"' in shown
    before = page, overview, shown
    Path("README.md").write_text(WITH_SOAK)
    assert call().exit_code == 0
    assert before == tuple(Path(name).read_text() for name in ("README.md", "results/README.md", "results/index.html"))
    assert problems(Path("results"), Path("README.md")) == []


def test_a_soak_needs_its_markers_before() -> None:
    """A soak is half published: its folder is there, and no page shows it."""
    a_rehearsal(Path("rehearsals/one"))
    result = call("rehearsals/one")
    assert result.exit_code == 2
    assert soaks.MARKERS[0] in result.stderr
    assert not Path("results").exists()


def test_a_soak_is_not_fit_by_default_where_a_run_is_not() -> None:
    """The command publishes what its functions refuse."""
    a_rehearsal(Path("rehearsals/scaled"), record={"scale": 12.0})
    Path("README.md").write_text(WITH_SOAK)
    result = call("rehearsals/scaled")
    assert result.exit_code == 2
    assert "not in true time" in result.stderr
    assert Path("README.md").read_text() == WITH_SOAK
    assert call("rehearsals/scaled", "--anyway").exit_code == 0
    assert "scale 12, not in true time" in Path("README.md").read_text()


def test_limits_are_of_a_soak() -> None:
    """Somebody believes that they changed what a run's table says."""
    a_run_folder(Path("runs/one"))
    result = call("runs/one", *LIMITS)
    assert result.exit_code == 2
    assert "are of a soak" in result.stderr


def problems(results: Path, page: Path) -> list[str]:
    """What the pages say otherwise than the published runs, and verdicts that the judge says otherwise today."""
    found = [
        f"{file} is out of step: `watcher publish` makes it again"
        for file, content in pages.pages(results, page).items()
        if content != (file.read_text(encoding="utf-8") if file.exists() else index.render([]))
    ]
    for run in pages.published(results)[:1]:
        again = results_of(journal.read(results / run.name)).by_key()
        found += [
            f"{'/'.join(key)} of {run.name} is {again[key].verdict} today"
            for key, cell in run.results.by_key().items()
            if again[key].verdict is not cell.verdict
        ]
    for each in pages.published_soaks(results):
        place, kept = results / soaks.FOLDER / each.name, each.summary
        lab = [predictions.named(results / name) for name in (kept.prediction, *kept.older_predictions) if name]
        if soak.table(place, kept.least, lab) != kept:
            found.append(f"the table of {each.name} is not what its exports say today")
    return found


def test_readme_and_newest_published_run_are_in_step() -> None:
    """The project's first page shows other verdicts than its newest run, or than its judge would give."""
    assert problems(ROOT / "results", ROOT / "README.md") == []


def test_pages_that_are_out_of_step_are_seen() -> None:
    """The mutants of the test above: a verdict changed in the README, in the results, and markers lost."""
    a_run_folder(Path("runs/one"))
    place = Path(call("runs/one").stdout.strip())
    here = Path("results"), Path("README.md")
    assert problems(*here) == []
    page = here[1].read_text()
    here[1].write_text(page.replace("✗ stuck", "✓ 0.0", 1))
    assert problems(*here) == ["README.md is out of step: `watcher publish` makes it again"]
    here[1].write_text(page)
    saved = place / "results.json"
    saved.write_text(saved.read_text().replace('"verdict":"stuck"', '"verdict":"ok"', 1))
    assert any("is stuck today" in problem for problem in problems(*here))
    here[1].write_text("no markers")
    with pytest.raises(FileError):
        problems(*here)


def test_a_soak_that_is_out_of_step_is_seen() -> None:
    """The mutant of the test above for soaks: a word changed in its table, and in the README."""
    a_rehearsal(Path("rehearsals/one"))
    Path("README.md").write_text(WITH_SOAK)
    place = Path(call("rehearsals/one", *LIMITS).stdout.strip())
    here = Path("results"), Path("README.md")
    assert problems(*here) == []
    saved = place / "summary.json"
    text = saved.read_text()
    saved.write_text(text.replace('"word": "FAIL"', '"word": "PASS"', 1))
    assert f"the table of {place.name} is not what its exports say today" in problems(*here)
    saved.write_text("{}")
    with pytest.raises(FileError, match="summary"):
        problems(*here)
    saved.write_text(text)
    here[1].write_text(here[1].read_text().replace("FAIL", "PASS", 1))
    assert problems(*here) == ["README.md is out of step: `watcher publish` makes it again"]
