"""Whole runs in which a proxy, a mute server or one without history stands in: verdicts with proof, and mutants."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.environments import built
from watcher.catalog import PACKAGE
from watcher.errors import LabUnavailable
from watcher.lab.control_plane import haproxy
from watcher.model import CellResult, Results

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

HERE = Path(__file__).parent
STACK = "python-urllib3"
SCENARIOS = ("haproxy-20s", "haproxy-50s", "proxy-closed", "port-forward-ended", "server-mute", "history-refused")
EXPECTED = {
    **{(name, "default"): "died" for name in SCENARIOS},
    **{(name, "tcp-keepalive"): "stuck" if name == "server-mute" else "ok" for name in SCENARIOS},
}
"""It says that its watch is over, and retries where its profile says so; only against silence it has no remedy."""


@dataclass(frozen=True)
class Ran:
    status: int
    output: str
    results: Results

    def cell(self, scenario: str, profile: str = "default") -> CellResult:
        return self.results.by_key()[STACK, profile, scenario]


def run(folder: Path, *arguments: str, mutant: Path | None = None) -> Ran:
    places = [str(mutant)] if mutant is not None else []
    places += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    done = subprocess.run(
        [sys.executable, "-m", "watcher", "run", "--scale", "10", "--control-plane", "embedded", "--stacks", STACK,
         "--output", str(folder), *arguments],
        capture_output=True, text=True, timeout=380, check=False,
        env={**os.environ, "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(places)},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert (folder / "results.json").exists(), said
    return Ran(done.returncode, said, Results.model_validate_json((folder / "results.json").read_text()))


def switched_off(folder: Path) -> list[str]:
    """Each scenario with the same proof and without its fault: nothing is done, or the proxy has no idle timeout."""
    arguments = ["--scenarios", "no-*", "--profiles", "default"]
    for name in SCENARIOS:
        text = (PACKAGE / "scenarios" / f"{name}.toml").read_text()
        text, changed = re.subn(r'(?m)^fault = ".*"$', 'fault = "none"', text)
        assert changed == 1
        text = re.sub(r'(?m)^path = "haproxy-.*"$', 'path = "proxy"', text)
        file = folder / f"no-{name}.toml"
        file.write_text(text)
        arguments += ["--scenario", str(file)]
    return arguments


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ran]]]:
    """One run after the other, so that nothing but its own load is near it."""
    try:
        haproxy.binary()
    except LabUnavailable as missing:
        pytest.skip(str(missing))
    built(STACK)
    folder = tmp_path_factory.mktemp("runs")
    with ThreadPoolExecutor(1) as pool:
        yield {
            "as they are": pool.submit(
                run, folder / "as", "--profiles", "default,tcp-keepalive", "--scenarios", ",".join(SCENARIOS)
            ),
            "switched off": pool.submit(run, folder / "off", *switched_off(folder)),
            "slow proxy": pool.submit(
                run, folder / "slow", "--profiles", "default", "--scenarios", "haproxy-20s", mutant=HERE / "slow_proxy"
            ),
        }


@pytest.mark.parametrize(("scenario", "profile"), EXPECTED)
def test_a_verdict_has_its_proof(scenario: str, profile: str, ran: dict[str, Future[Ran]]) -> None:
    """A maintainer who reproduces a report must see the very thing that it tells of."""
    seen = ran["as they are"].result().cell(scenario, profile)
    assert (seen.verdict, seen.proof) == (EXPECTED[scenario, profile], "happened"), seen.reason


def test_the_controls_agree(ran: dict[str, Future[Ran]]) -> None:
    """A path that delivers to nobody, or to everybody, would be blamed on the clients."""
    seen = ran["as they are"].result()
    assert seen.status == 0, seen.output
    assert len(seen.results.controls) == 2 * len(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_that_is_switched_off_is_unproven(scenario: str, ran: dict[str, Future[Ran]]) -> None:
    """A fault that does not take hold would make every client look well."""
    off = ran["switched off"].result()
    seen = off.cell(f"no-{scenario}")
    assert (seen.verdict, seen.proof.split(" ")[0]) == ("invalid", "unproven"), seen.reason
    assert off.status == 3


def test_a_proxy_that_waits_for_longer_is_unproven(ran: dict[str, Future[Ran]]) -> None:
    """HAProxy with another timeout than the scenario says is another scenario."""
    seen = ran["slow proxy"].result().cell("haproxy-20s")
    assert (seen.verdict, seen.proof.split(" ")[0]) == ("invalid", "unproven"), seen.reason
    assert "closed-on-idle" in seen.reason
