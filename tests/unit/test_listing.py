"""``watcher list scenarios``: readable with many rows."""

from __future__ import annotations

import pytest

from watcher.catalog import Catalog
from watcher.cli import listing

CATALOG = Catalog.load()


def test_a_reader_sees_every_scenario_once_beneath_its_fault() -> None:
    """In forty lines of equal look nobody finds the row that is theirs."""
    lines = list(listing.grouped(CATALOG))
    fault = ""
    seen: dict[str, tuple[str, str]] = {}
    for line in lines[:-1]:
        if line.startswith("  "):
            name, path, _ = line.split(maxsplit=2)
            assert name not in seen
            seen[name] = (fault, path)
        elif line:
            fault, _, explanation = line.partition(": ")
            assert explanation == CATALOG.faults[fault]
    assert seen == {name: (scenario.fault, scenario.path) for name, scenario in CATALOG.scenarios.items()}
    assert max(len(line) for line in lines if line.startswith("  ")) <= 100, "wider than many terminals"
    assert lines[0].startswith("none: "), "the controls are what the rest is read against"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("control", "150 s quiet"),
        ("control-busy", "every 2 s for 180 s"),
        ("blackhole", "30 s later"),
        ("azure-slb", "240 s idle, then 30 s"),
        ("azure-slb-observed", "262.6 s idle, then 30 s"),
        ("outage-5min", "300 s, then 5 s"),
        ("frozen-azure-slb", "300 s, then 30 s"),
    ],
)
def test_when_the_touch_comes_is_said_in_true_seconds(name: str, said: str) -> None:
    """A report says "after four minutes": that is how its scenario is found."""
    scenario = CATALOG.scenarios[name]
    assert listing.when(scenario, CATALOG.paths[scenario.path]) == said
