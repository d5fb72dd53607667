"""Every scenario of the catalog with its fault switched off: nothing may be believed of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab.test_run import MUTANTS, Ran, run
from watcher import model
from watcher.catalog import Catalog
from watcher.judge.proofs import PROOFS
from watcher.lab.control_plane.binaries import find
from watcher.model import Backend, Balancer, CellResult, Ending, Scenario
from watcher.programs import environments

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

CATALOG = Catalog.load([MUTANTS])
STACK = "mutant-honest"
SCALE = "30"
"""Nothing is decided here, so that the deadline's floor and the kernel's whole seconds do no harm."""
FAULTY = {name: scenario for name, scenario in CATALOG.scenarios.items() if scenario.fault != "none"}
WEAK = "off-with-a-weak-proof"


def needs_the_real_one(scenario: Scenario) -> bool:
    path = CATALOG.paths[scenario.path]
    return scenario.backend is Backend.OWN or path.balancer is not Balancer.LAB


def known(scenario: Scenario) -> bool:
    return {*scenario.proof.before, *scenario.proof.after} <= PROOFS.keys()


def toml(value: model.Value) -> str:
    """A value as its file in the catalog would be; the name is the file's."""
    content = value.model_dump(mode="json", exclude_none=True, exclude={"name"})
    tables = {key: inner for key, inner in content.items() if isinstance(inner, dict)}
    lines = [f"{key} = {json.dumps(inner)}" for key, inner in content.items() if key not in tables]
    for table, inner in tables.items():
        lines += ["", f"[{table}]", *(f"{key} = {json.dumps(each)}" for key, each in inner.items())]
    return "\n".join(lines) + "\n"


def switched_off(scenario: Scenario, folder: Path) -> list[str]:
    """Writes the scenario without its fault, and a path that forgets nothing if forgetting is the fault; the options
    that bring them into a run."""
    changed: dict[str, Any] = {"fault": "none"}
    options: list[str] = []
    if scenario.fault == "idle-expiry":
        path = CATALOG.paths[scenario.path].model_copy(
            update={"idle_timeout_seconds": None, "ending": Ending.NEVER, "end_delay_seconds": 0.0}
        )
        changed["path"] = f"forgets-nothing-{path.name}"
        file = folder / f"{changed['path']}.toml"
        file.write_text(toml(path))
        options = ["--path", str(file)]
    file = folder / f"off-{scenario.name}.toml"
    file.write_text(toml(scenario.model_copy(update=changed)))
    return [*options, "--scenario", str(file)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[bool, Future[Ran]]]:
    """One run for each control plane; the key says whether it is the real one."""
    found = CATALOG.stacks[STACK]
    environments.build(found.folder, found.build)
    with ThreadPoolExecutor(1) as pool:
        futures = {}
        for real in (False, True):
            if real and find("auto", environments.cache_folder()) is None:
                continue
            folder = tmp_path_factory.mktemp("off")
            chosen = [each for each in FAULTY.values() if needs_the_real_one(each) is real and known(each)]
            options: dict[tuple[str, str], None] = {}
            for scenario in chosen:
                words = switched_off(scenario, folder)
                options |= dict.fromkeys(zip(words[::2], words[1::2], strict=True))
            weak = CATALOG.scenarios["blackhole"].model_copy(
                update={"fault": "none", "proof": model.Evidence(before=("no-fault",), after=("new-connections-work",))}
            )
            file = folder / f"{WEAK}.toml"
            file.write_text(toml(weak))
            futures[real] = pool.submit(
                run, folder / "out", "--client", str(MUTANTS), "--stacks", STACK, "--profiles", "default",
                *[word for pair in options for word in pair], "--scenario", str(file), "--scenarios", "off-*",
                "--scale", SCALE, "--control-plane", "kubernetes" if real else "embedded",
            )  # fmt: skip
        yield futures


def result(ran: Mapping[bool, Future[Ran]], real: bool) -> Ran:
    if real not in ran:
        pytest.skip("no real control plane: `make control-plane` builds it")
    return ran[real].result()


def cell(ran: Ran, stack: str, scenario: str) -> CellResult:
    results = ran.results
    cells = (*results.cells, *results.controls)
    return next(each for each in cells if (each.stack, each.scenario) == (stack, scenario))


def test_no_scenario_is_left_out() -> None:
    """A scenario that names a proof which does not exist is not in the runs below, nor can anybody run it."""
    assert [name for name, scenario in FAULTY.items() if not known(scenario)] == []


@pytest.mark.parametrize("name", [name for name, scenario in FAULTY.items() if known(scenario)])
@pytest.mark.parametrize("stack", [STACK, "deaf"])
def test_a_scenario_whose_fault_is_switched_off_is_invalid(
    name: str, stack: str, ran: Mapping[bool, Future[Ran]]
) -> None:
    """Its proof would hold without the fault: a lab whose fault does nothing would give verdicts all the same."""
    scenario = FAULTY[name]
    done = result(ran, needs_the_real_one(scenario))
    found = cell(done, stack, f"off-{name}")
    assert found.verdict == "invalid", found
    assert found.proof == "unproven", found
    cause, _, why = found.reason.partition(": ")
    assert cause == "unproven", found.reason
    assert why.partition(":")[0] in (*scenario.proof.before, *scenario.proof.after), found.reason


@pytest.mark.parametrize("real", [False, True])
def test_what_a_weak_proof_would_do(real: bool, ran: Mapping[bool, Future[Ran]]) -> None:
    """The mutant of the above: with proofs that hold without the fault the very same cells are judged."""
    found = cell(result(ran, real), STACK, WEAK)
    assert (found.verdict, found.proof) == ("ok", "happened"), found.reason
