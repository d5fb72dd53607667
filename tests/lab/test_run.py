"""Whole runs of the command: verdicts with proof, mutants caught, hostile programs survived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dpkt
import pytest

from tests.lab.environments import built
from watcher import journal
from watcher.catalog import Catalog
from watcher.judge.results import results_of
from watcher.lab.control_plane.binaries import find
from watcher.model import CellResult, Results
from watcher.programs import environments
from watcher.records import Program
from watcher.report.diff import Change, compare

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
MUTANTS = HERE / "clients" / "mutants"
STACKS = ("python-kubernetes", "python-kubernetes-informer", "python-kubernetes-asyncio", "python-urllib3")


@dataclass(frozen=True)
class Ran:
    folder: Path
    status: int
    output: str
    errors: str

    @property
    def results(self) -> Results:
        return Results.model_validate_json((self.folder / "results.json").read_text())

    def cell(self, stack: str, scenario: str, profile: str = "default") -> CellResult:
        return self.results.by_key()[stack, profile, scenario]


def run(folder: Path, *arguments: str) -> Ran:
    control_plane = () if "--control-plane" in arguments else ("--control-plane", "embedded")
    done = subprocess.run(
        [sys.executable, "-m", "watcher", "run", "--scale", "12", *control_plane, "--output", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return Ran(folder, done.returncode, done.stdout, done.stderr)


IDLE = (
    "--stacks",
    ",".join(STACKS),
    "--profiles",
    "default,tcp-keepalive",
    "--scenarios",
    "azure-slb,azure-slb-reset-lost,azure-slb-silent,aws-nlb",
)
RUNS = {
    "mutants": (
        "--client", str(MUTANTS), "--stacks", "mutant-*", "--profiles", "default",
        "--scenarios", "control,blackhole",
    ),
    "claims": (
        "--client", str(MUTANTS), "--stacks", "mutant-keeps,mutant-claims", "--profiles", "tcp-keepalive",
        "--scenarios", "control",
    ),
    "faults off": (
        "--client", str(MUTANTS), "--stacks", "mutant-honest", "--profiles", "default",
        "--scenario", str(HERE / "scenarios" / "no-blackhole.toml"),
        "--scenario", str(HERE / "scenarios" / "no-expiry.toml"),
        "--scenarios", "no-*",
    ),
    "healthy": ("--stacks", ",".join(STACKS), "--scenarios", "control"),
    "idle": IDLE,
    "idle, real": (*IDLE, "--control-plane", "kubernetes"),
}  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ran]]]:
    """The short runs beside each other; the long one by itself, so that nothing but its own load is near it."""
    built(*STACKS)
    real = find("auto", environments.cache_folder())
    catalog = Catalog.load([MUTANTS])
    found = catalog.stacks["mutant-honest"]
    environments.build(found.folder, found.build)
    with ThreadPoolExecutor(1) as pool:
        yield {
            name: pool.submit(run, tmp_path_factory.mktemp("run") / "out", *arguments)
            for name, arguments in RUNS.items()
            if "kubernetes" not in arguments or real is not None
        }


def test_the_honest_mutant_is_judged_like_any_client(ran: dict[str, Future[Ran]]) -> None:
    """Otherwise the others below could be caught for the wrong reason."""
    mutants = ran["mutants"].result()
    assert mutants.status == 0, mutants.output + mutants.errors
    assert mutants.cell("mutant-honest", "control").verdict == "ok"
    assert mutants.cell("mutant-honest", "control").proof == "happened"
    assert mutants.cell("mutant-honest", "blackhole").verdict == "stuck"


@pytest.mark.parametrize("kind", ["old", "guess"])
@pytest.mark.parametrize("scenario", ["control", "blackhole"])
def test_a_liar_is_not_believed(kind: str, scenario: str, ran: dict[str, Future[Ran]]) -> None:
    """A client that claims what it did not see would be the best in every matrix."""
    assert ran["mutants"].result().cell(f"mutant-{kind}", scenario).verdict == "stuck"


def test_an_exit_with_status_0_is_a_death(ran: dict[str, Future[Ran]]) -> None:
    """A controller that has ended sees nothing, however politely it left."""
    assert ran["mutants"].result().cell("mutant-exits-zero", "blackhole").verdict == "died"


def test_ending_a_healthy_watch_is_a_false_abort(ran: dict[str, Future[Ran]]) -> None:
    """A client that gives up on a quiet but healthy connection does so in production every quiet night."""
    assert ran["mutants"].result().cell("mutant-exits-zero", "control").verdict == "false-abort"


@pytest.mark.parametrize(
    ("kind", "word"), [("garbage", "not JSON"), ("flood", "1048576 bytes"), ("not-utf8", "not UTF-8")]
)
def test_hostile_output_ends_its_program_and_not_the_run(kind: str, word: str, ran: dict[str, Future[Ran]]) -> None:
    """One broken program must not cost the others their cells, and its output is kept."""
    mutants = ran["mutants"].result()
    cell = mutants.cell(f"mutant-{kind}", "control")
    assert cell.verdict == "died"
    assert word in cell.reason
    kept = mutants.folder / "cells" / f"mutant-{kind}" / "default" / "control" / "program.jsonl"
    assert kept.stat().st_size > (1 << 20 if kind == "flood" else 100)


def test_a_program_that_ignores_sigterm_is_ended_and_judged_by_what_it_saw(ran: dict[str, Future[Ran]]) -> None:
    """Its stubbornness is no fault of its watch."""
    assert ran["mutants"].result().cell("mutant-stubborn", "control").verdict == "ok"


def test_a_keepalive_that_is_claimed_and_not_set_is_no_result(ran: dict[str, Future[Ran]]) -> None:
    """A library would be recommended for a keepalive that its sockets never had; one that has it is judged."""
    claims = ran["claims"].result()
    kept = claims.cell("mutant-keeps", "control", "tcp-keepalive")
    assert (kept.verdict, kept.proof) == ("ok", "happened"), kept.reason
    lied = claims.cell("mutant-claims", "control", "tcp-keepalive")
    assert lied.verdict == "invalid"
    assert lied.reason == "claims contradicted: it says keepalive on, its socket has it off"
    assert claims.status == 3, "more than 5 % invalid cells: the run cannot be trusted"


def test_the_journal_says_what_each_program_cost(ran: dict[str, Future[Ran]]) -> None:
    """`make bench` has nothing to compare, and a run is filled by what nobody measured."""
    exits = [r for r in journal.read(ran["claims"].result().folder) if isinstance(r, Program) and r.event == "exited"]
    assert len(exits) == 4  # two programs, two controls
    for each in exits:
        assert 0 < (each.cpu_seconds or 0) < 60, each
        assert 0 < (each.memory_mib or 0) < 1_000, each


@pytest.mark.parametrize("scenario", ["no-blackhole", "no-expiry"])
def test_a_fault_that_is_switched_off_makes_the_cell_invalid(scenario: str, ran: dict[str, Future[Ran]]) -> None:
    """A fault that did not happen would make every client look resilient."""
    off = ran["faults off"].result()
    cell = off.cell("mutant-honest", scenario)
    assert cell.verdict == "invalid"
    assert cell.proof.startswith("unproven")
    assert off.status == 3, "more than 5 % invalid cells: the run cannot be trusted"


def test_a_healthy_watch_is_ok_whatever_the_setting(ran: dict[str, Future[Ran]]) -> None:
    """A setting that breaks a healthy, quiet watch would be a cure worse than the disease."""
    healthy = ran["healthy"].result()
    assert healthy.status == 0, healthy.output + healthy.errors
    catalog = Catalog.load()
    supported = {(stack, profile) for stack in STACKS for profile in catalog.stacks[stack].stack.profiles}
    verdicts = {(cell.stack, cell.profile): (cell.verdict, cell.reason) for cell in healthy.results.cells}
    assert len(supported) > 25
    assert {key: verdicts[key] for key in supported if verdicts[key][0] != "ok"} == {}
    assert {verdict for key, (verdict, _) in verdicts.items() if key not in supported} == {"unsupported"}


@pytest.mark.parametrize("scenario", ["azure-slb-reset-lost", "azure-slb-silent", "aws-nlb"])
@pytest.mark.parametrize("stack", STACKS)
def test_deaf_by_default_and_cured_by_keepalive(stack: str, scenario: str, ran: dict[str, Future[Ran]]) -> None:
    """The very finding that the project exists for, on every idle path whose reset does not reach the client."""
    idle = ran["idle"].result()
    assert idle.status == 0, idle.output + idle.errors
    deaf, cured = idle.cell(stack, scenario), idle.cell(stack, scenario, "tcp-keepalive")
    assert (deaf.verdict, deaf.proof) == ("stuck", "happened")
    assert (cured.verdict, cured.proof) == ("ok", "prevented (kept alive by client)")


@pytest.mark.parametrize("stack", STACKS)
def test_a_delivered_reset_is_noticed(stack: str, ran: dict[str, Future[Ran]]) -> None:
    """azure-slb with its reset delivered: a client ends loudly or carries on, it does not go deaf."""
    cell = ran["idle"].result().cell(stack, "azure-slb")
    assert cell.verdict in ("died", "ok", "late")
    assert cell.proof == "happened"


def test_both_control_planes_give_the_same_verdicts(ran: dict[str, Future[Ran]]) -> None:
    """A matrix for documentation must not rest on an imitation; and who has only that must not be misled by it."""
    if find("auto", environments.cache_folder()) is None:
        pytest.skip("no real control plane: `make control-plane` builds it")
    embedded, real = ran["idle"].result(), ran["idle, real"].result()
    assert real.status == 0, real.output + real.errors
    assert real.results.run.control_plane.startswith("kubernetes 1.")
    compared = compare(embedded.results, real.results)
    assert [cell for cell in compared.cells if cell.change is not Change.SAME] == []
    assert len(compared.cells) == len(STACKS) * 2 * 4


def test_each_cell_keeps_the_packets_that_prove_it(ran: dict[str, Future[Ran]]) -> None:
    """A verdict is contested with two pcap files, or not at all."""
    folder = ran["idle"].result().folder / "cells" / "python-urllib3" / "default" / "azure-slb-silent"
    data_on = {}
    for link in ("client", "server"):
        with (folder / f"{link}-link.pcap").open("rb") as file:
            packets = [dpkt.ethernet.Ethernet(frame).data.data for _, frame in dpkt.pcap.Reader(file)]
        data_on[link] = sum(1 for tcp in packets if tcp.sport in (443, 6443) and len(tcp.data))
    assert data_on["server"] > data_on["client"] > 0, "the server's event reached the path and never left it"


def test_a_run_is_judged_again_from_its_journal(ran: dict[str, Future[Ran]]) -> None:
    """The journal alone must carry every verdict, on any machine."""
    idle = ran["idle"].result()
    assert results_of(journal.read(idle.folder)) == idle.results


def test_a_piped_run_prints_plain_lines(ran: dict[str, Future[Ran]]) -> None:
    """A CI log is read as text: one line a cell, no control characters, the matrix at the end."""
    idle = ran["idle"].result()
    assert "\x1b" not in idle.output + idle.errors
    assert "python-urllib3/default/aws-nlb" in idle.errors + idle.output
    assert json.loads((idle.folder / "environment.json").read_text())["scale"] == 12
