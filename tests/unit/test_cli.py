"""The command line: what it accepts, what it prints where, and how it ends."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.unit.report.examples import a_cell, a_run
from watcher import cli, doctor
from watcher.errors import LabFailure, UsageError
from watcher.model import Build, Results, Verdict
from watcher.programs import environments
from watcher.records import Record, Unserved
from watcher.report import files
from watcher.runner.options import RunOptions

MANIFEST = """
[build]
kind = "python"
lock = "requirements.lock"

[[stack]]
name = "mine"
description = "a client of my own"
language = "python"
library = "mine"
version = "1.0"
command = ["{environment}/bin/python", "{folder}/watch.py"]
profiles = ["default", "retry"]
default_source = "https://example.org/readme"
memory_mib = 40
"""


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wide pipe, and an empty folder to work in."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def client(tmp_path: Path) -> str:
    folder = tmp_path / "my-client"
    folder.mkdir()
    (folder / "client.toml").write_text(MANIFEST)
    return str(folder)


class Runner(ModuleType):
    """Stands for ``watcher.runner.run``, which only Linux can import: notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__("watcher.runner.run")
        self.asked: list[RunOptions] = []
        self.results = a_run(a_cell(), a_cell(Verdict.STUCK, None, "nothing came", profile="retry"))
        self.error: BaseException | None = None

    def run(self, options: RunOptions, *_: object) -> Results:
        self.asked.append(options)
        if self.error is not None:
            raise self.error
        assert options.output is not None
        options.output.mkdir(parents=True, exist_ok=True)
        return self.results


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Runner:
    """A machine that can run the lab, and a runner that only notes what it was asked for."""
    runner = Runner()
    monkeypatch.setitem(sys.modules, "watcher.runner.run", runner)
    monkeypatch.setattr(doctor, "lab_problem", lambda: None)
    return runner


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def save(folder: Path, results: Results) -> str:
    folder.mkdir(parents=True)
    (folder / files.RESULTS).write_text(files.derived(results)[files.RESULTS])
    return str(folder)


def test_without_arguments_it_teaches() -> None:
    """A newcomer sees an error instead of the question that is answered here and the first three commands."""
    result = call()
    assert result.exit_code == 0
    assert "within 10 seconds" in " ".join(result.stdout.split())
    for command in ("watcher doctor", "watcher run --scale 12", "watcher list profiles"):
        assert command in result.stdout


@pytest.mark.parametrize("command", ["run", "list", "judge", "diff", "build", "doctor"])
def test_every_command_explains_itself(command: str) -> None:
    """`--help` of a command has no explanation or does not say how the command ends."""
    result = call(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    if command != "list":
        assert "Exit status" in result.stdout


def test_version() -> None:
    """A bug report cannot name the version."""
    result = call("--version")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "watcher")


@pytest.mark.parametrize("kind", ["profiles", "paths", "faults", "scenarios"])
def test_list_has_one_line_each_and_the_same_names_as_json(kind: str) -> None:
    """A script finds other names than a reader, or a name without its explanation."""
    lines = call("list", kind).stdout.splitlines()
    values = json.loads(call("list", kind, "--json").stdout)
    assert [line.split()[0] for line in lines] == [value["name"] for value in values]
    for line, value in zip(lines, values, strict=True):
        assert line.endswith(value["description"])


def test_list_stacks_keeps_a_place_for_what_is_to_come() -> None:
    """A user of .NET asks what there is, and learns nothing; or a script plans a stack that has no program."""
    assert "KubernetesClient: .NET, no program yet" in call("list", "stacks").stdout.splitlines()[-1]
    assert "KubernetesClient" not in call("list", "stacks", "--json").stdout


def test_list_stacks_shows_protocol_and_the_users_own(client: str) -> None:
    """A user's own client is not seen, or nobody knows how it watches."""
    line = next(line for line in call("list", "stacks", "--client", client).stdout.splitlines() if "mine" in line)
    assert line.split(maxsplit=1) == ["mine", "watch, mine 1.0: a client of my own"]
    values = json.loads(call("list", "stacks", "--client", client, "--json").stdout)
    assert next(value for value in values if value["name"] == "mine")["protocol"] == "watch"


def test_list_of_nonsense_is_wrong_usage() -> None:
    """A typing error ends in a traceback or in success."""
    result = call("list", "profile")
    assert result.exit_code == 2
    assert "profiles" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scale", "0"], "--scale must be a number greater than 0, not 0"),
        (["--scale", "-3"], "not -3"),
        (["--scale", "nan"], "not nan"),
        (["--scale", "inf"], "not inf"),
        (["--scale", "fast"], "'--scale'"),
        (["--repeat", "0"], "'--repeat'"),
        (["--jobs", "0"], "'--jobs'"),
        (["--profiles", "retyr"], "did you mean 'retry'"),
        (["--scenarios", "azure-slp"], "did you mean 'azure-slb'"),
        (["--stacks", "mien"], "did you mean 'mine'"),
        (["--stacks", ","], "the list of stacks is empty"),
        (["--fail-on", "stuk"], "did you mean 'stuck'"),
        (["--resume"], "--resume needs --output"),
        (["--client", "absent"], "absent: holds no client.toml"),
        (["--scenario", "absent.toml"], "absent.toml: cannot be read"),
        (["--frobnicate"], "frobnicate"),
    ],
)
def test_bad_input_ends_with_2_before_anything_runs(lab: Runner, client: str, arguments: list[str], said: str) -> None:
    """A typing error costs a run, or its message does not say what to do."""
    result = call("run", "--client", client, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert lab.asked == []


def test_run_hands_over_what_was_asked_for(lab: Runner, client: str) -> None:
    """An option is accepted and has no effect."""
    result = call(
        "run", "--client", client, "--stacks", "mi*", "--profiles", "tcp-keepalive,default",
        "--scenarios", "azure-slb*", "--scale", "12.5", "--repeat", "3", "--jobs", "4",
        "--control-plane", "embedded", "--fail-on", "late,died", "--output", "here",
        "--cells", "*/default/azure-slb,*/*/control", "--tie-break",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (options,) = lab.asked
    assert options.stacks == "mine"
    assert options.profiles == "tcp-keepalive,default"
    assert str(options.scenarios).split(",")[0] == "azure-slb"
    assert "control" not in str(options.scenarios)
    assert (options.scale, options.repeat, options.jobs) == (12.5, 3, 4)
    assert options.control_plane == "embedded"
    assert options.fail_on == (Verdict.LATE, Verdict.DIED)
    assert (options.output, options.resume) == (Path("here"), False)
    assert (options.cells, options.tie_break) == ("*/default/azure-slb,*/*/control", True)


def test_resume_goes_on_with_what_was_begun(lab: Runner, client: str) -> None:
    """A run that is resumed at another scale, or with other stacks, would mix two runs in one folder."""
    assert call("run", "--client", client, "--resume", "--output", "here").exit_code == 0
    assert lab.asked[0].resume
    for option, value in (("--scale", "10"), ("--stacks", "mine"), ("--cells", "*/*/control")):
        result = call("run", "--client", client, "--resume", "--output", "here", option, value)
        assert result.exit_code == 2
        assert option in result.stderr
    assert len(lab.asked) == 1


def test_run_is_in_true_time_unless_asked_otherwise(lab: Runner, client: str) -> None:
    """A published result is scaled, and nobody noticed."""
    call("run", "--client", client)
    assert lab.asked[0].scale == 1.0
    assert lab.asked[0].output is not None
    assert lab.asked[0].output.parts[0] == "runs"


@pytest.mark.usefixtures("lab")
def test_run_prints_the_matrix_to_a_pipe_as_plain_text(client: str) -> None:
    """`watcher run > file` holds escape codes or progress, or no matrix."""
    result = call("run", "--client", client, "--output", "here")
    assert "\x1b" not in result.stdout
    assert "✗ python-kubernetes / retry / control: stuck: nothing came" in result.stdout
    assert (Path("here") / "matrix.md").read_text().startswith("# Matrix")


@pytest.mark.parametrize(
    ("trusted", "fail_on", "status"),
    [(True, None, 0), (True, "late", 0), (True, "late,stuck", 1), (False, None, 3), (False, "stuck", 3)],
)
def test_run_ends_as_its_help_says(lab: Runner, client: str, trusted: bool, fail_on: str | None, status: int) -> None:
    """CI is green on a run that cannot be trusted, or red on one whose verdicts nobody asked to fail on."""
    lab.results = a_run(a_cell(), a_cell(Verdict.STUCK, profile="retry"), trusted=trusted)
    result = call("run", "--client", client, *(["--fail-on", fail_on] if fail_on else []))
    assert result.exit_code == status


def test_run_where_no_lab_can_be_says_what_to_do(lab: Runner, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS the command fails in the middle of an import instead of showing the way to a Linux machine."""
    monkeypatch.setattr(doctor, "lab_problem", lambda: "platform: Darwin\nstart a virtual machine [thus]")
    result = call("run", "--client", client)
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        "error: the lab cannot run on this machine",
        "  platform: Darwin",
        "  start a virtual machine [thus]",
    ]
    assert lab.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("wrong [bold]folder[/bold]", advice="do\nthis"), 2),
        (LabFailure("it broke"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_are_one_block_and_no_traceback(lab: Runner, client: str, error: BaseException, status: int) -> None:
    """The user gets a page of Python, or markup in a file name is swallowed."""
    lab.error = error
    result = call("run", "--client", client)
    assert result.exit_code == status
    assert "Traceback" not in result.output
    if status == 2:
        assert result.stderr == "error: wrong [bold]folder[/bold]\n  do\n  this\n"
    if status == 130:
        assert result.stderr == "error: interrupted\n"


def test_diff_ends_with_1_on_a_difference_only(tmp_path: Path) -> None:
    """A check in CI is always green, or red although nothing changed."""
    before = save(tmp_path / "before", a_run(a_cell()))
    after = save(tmp_path / "after", a_run(a_cell(Verdict.STUCK, None, "deaf")))
    same = call("diff", before, before)
    assert (same.exit_code, "no difference" in same.stdout) == (0, True)
    differs = call("diff", before, f"{after}/results.json")
    assert differs.exit_code == 1
    assert "changed: python-kubernetes / default / control: ok -> stuck: deaf" in differs.stdout
    as_json = call("diff", before, after, "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["changed"] is True


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not json", "results.json"),
        (b"\xff\xfe", "results.json"),
        (b"{}", "run: Field required"),
        (b'{"schema_version": 2}', "schema_version"),
    ],
)
def test_a_results_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """A damaged file, or one of a later version, ends in a traceback."""
    (tmp_path / "results.json").write_bytes(content)
    result = call("diff", str(tmp_path), str(tmp_path))
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", [["diff", "absent", "absent"], ["judge", "absent"]])
def test_a_run_that_is_not_there_is_wrong_usage(command: list[str]) -> None:
    """A misspelt folder ends in a traceback."""
    result = call(*command)
    assert result.exit_code == 2
    assert "absent" in result.stderr


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """A judge that finds one stuck cell in any journal, and the records it was shown."""
    shown: list[Record] = []

    def results_of(records: list[Record]) -> Results:
        shown.extend(records)
        return a_run(a_cell(Verdict.STUCK, None, "nothing came"), trusted=len(records) == 1)

    judge = ModuleType("watcher.judge.results")
    monkeypatch.setattr(judge, "results_of", results_of, raising=False)
    monkeypatch.setitem(sys.modules, judge.__name__, judge)
    return shown


RECORD = Unserved(t=1.0, what="GET /api/v1/pods").model_dump_json().encode() + b"\n"


@pytest.mark.parametrize("name", ["journal.jsonl", "journal.jsonl.gz"])
def test_judge_prints_and_writes_only_when_asked(tmp_path: Path, judged: list[Record], name: str) -> None:
    """A published run is rewritten by somebody who only wanted to look at it, or cannot be judged again."""
    (tmp_path / name).write_bytes(gzip.compress(RECORD) if name.endswith("gz") else RECORD)
    printed = call("judge", str(tmp_path))
    assert printed.exit_code == 0
    assert "stuck: nothing came" in printed.stdout
    assert judged == [Unserved(t=1.0, what="GET /api/v1/pods")]
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert call("judge", str(tmp_path), "--write").exit_code == 0
    assert {file.name for file in tmp_path.iterdir()} == {name, "results.json", "matrix.md"}
    as_json = call("judge", str(tmp_path), "--json")
    assert as_json.stdout == (tmp_path / "results.json").read_text()


@pytest.mark.usefixtures("judged")
def test_judge_of_a_run_that_cannot_be_trusted_ends_with_3(tmp_path: Path) -> None:
    """A script publishes a run whose controls failed."""
    (tmp_path / "journal.jsonl").write_bytes(RECORD * 2)
    assert call("judge", str(tmp_path)).exit_code == 3


def test_a_damaged_journal_is_named_with_its_line(tmp_path: Path) -> None:
    """A damaged journal ends in a traceback, or its rest is silently left out."""
    (tmp_path / "journal.jsonl").write_bytes(RECORD + b"{nonsense\n" + RECORD)
    result = call("judge", str(tmp_path))
    assert result.exit_code == 2
    assert "journal.jsonl:2" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("judged")
def test_diff_judges_a_run_that_was_interrupted_before_it_had_results(tmp_path: Path) -> None:
    """An interrupted run, with most cells finished, cannot be compared at all."""
    (tmp_path / "journal.jsonl").write_bytes(RECORD)
    finished = save(tmp_path / "finished", a_run(a_cell()))
    assert call("diff", finished, str(tmp_path)).exit_code == 1


def test_doctor_says_what_is_missing_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lacks nft is told that it is fine."""
    checks = (
        doctor.Check("python", True, "3.11.2"),
        doctor.Check("nft", False, "not found", "apt-get install nftables\n[then again]"),
        doctor.Check("tcpdump", False, "not found", None, required=False),
    )
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    result = call("doctor")
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["MISSING", "nft", "not", "found"]
    assert [line.strip() for line in lines[2:4]] == ["apt-get install nftables", "[then again]"]
    printed = call("doctor", "--json")
    as_json: dict[str, Any] = json.loads(printed.stdout)
    assert (printed.exit_code, as_json["lab"]) == (3, False)
    assert as_json["checks"][1]["remedy"].startswith("apt-get")
    monkeypatch.setattr(doctor, "examine", lambda: checks[::2])
    assert call("doctor").exit_code == 0


def test_build_goes_on_when_one_client_fails(client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One package index that does not answer, and no client at all can be measured; or a failure looks like success."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "client.toml").write_text(MANIFEST.replace('name = "mine"', 'name = "other"'))
    built: list[str] = []

    def build(folder: Path, _: Build, **_on_line: object) -> Path:
        if folder == Path(client):
            raise LabFailure("no [network]", advice="try again")
        built.append(folder.name)
        return folder

    monkeypatch.setattr(environments, "build", build)
    result = call("build", "mine", "other", "--client", client, "--client", str(other))
    assert built == ["other"]
    assert result.exit_code == 3
    assert "error: no [network]\n  try again\n" in result.stderr
    assert "[2/2] other: mine 1.0: ready" in result.stderr
    assert "error: not built: my-client" in result.stderr
    assert call("build", "other", "--client", str(other)).exit_code == 0
    assert call("build", "nobody", "--client", str(other)).exit_code == 2


def test_python_dash_m_is_the_same_command_and_quick() -> None:
    """`python -m watcher` is missing, or a list of words takes as long as loading the lab."""
    before = cpu_seconds_of_children()
    done = subprocess.run(
        [sys.executable, "-m", "watcher", "list", "scenarios"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("control ")
    assert done.stderr == ""
    # Of its own: what else the machine does is not its affair.
    assert cpu_seconds_of_children() - before < 5, "far above the usual 0.4 s"


def cpu_seconds_of_children() -> float:
    """Of those that have ended; none runs beside the test."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("module", ["watcher.lab", "watcher.runner", "aiohttp", "pyroute2", "rich.console", "asyncio"])
def test_a_list_loads_nothing_of_the_lab(module: str) -> None:
    """`watcher list` needs Linux, or a second, because it imports what only a run needs."""
    program = (
        "import sys\nfrom watcher.cli import app\n"
        "try:\n    app(['list', 'profiles'])\nexcept SystemExit:\n    pass\n"
        f"sys.exit({module!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
