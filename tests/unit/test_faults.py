"""Faults say in known words what they need."""

from __future__ import annotations

import pytest

from watcher import faults
from watcher.catalog import Catalog
from watcher.errors import UsageError

CATALOG = Catalog.load()


@pytest.mark.parametrize("name", faults.names())
def test_a_scenario_that_has_nothing_is_refused_in_words_or_taken(name: str) -> None:
    """An unknown need would be an error of Python's in the face of a user."""
    scenario = CATALOG.scenarios["control"].model_copy(update={"fault": name})
    path = CATALOG.paths["kube-proxy-nftables"]
    try:
        faults.check(scenario, path)
    except UsageError as refused:
        assert f"fault {name} needs" in str(refused)  # noqa: PT017 - taken or refused, both are well


@pytest.mark.parametrize("name", CATALOG.scenarios)
def test_every_scenario_has_what_its_fault_needs(name: str) -> None:
    """One that comes with the software and cannot be run."""
    scenario = CATALOG.scenarios[name]
    faults.check(scenario, CATALOG.paths[scenario.path])
