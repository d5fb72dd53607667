"""A run's results in a few words, for the tests of the reports."""

from __future__ import annotations

import pytest

from tests.unit.report.examples import Cell, Run, a_cell, a_full_run, a_run
from watcher.model import Results


@pytest.fixture
def cell() -> Cell:
    return a_cell


@pytest.fixture
def run() -> Run:
    return a_run


@pytest.fixture
def full() -> Results:
    return a_full_run()
