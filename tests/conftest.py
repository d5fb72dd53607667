"""Rules for all tests: what a lab test says where it cannot run, nothing passed over in CI, the longest first."""

from __future__ import annotations

import functools
import os
from collections.abc import Generator
from typing import TypeVar

import pytest

from tests.order import longest_first
from watcher import doctor

pytest_plugins = ["pytester"]

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)


@functools.cache
def _lab_problem() -> str | None:
    return doctor.lab_problem()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a process that shares the tests with others; all of them must come to the same order."""
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items, lambda item: item.path.relative_to(config.rootpath).as_posix())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture of the lab starts something."""
    if item.get_closest_marker("lab") and (problem := _lab_problem()):
        pytest.skip(f"the lab cannot run here: {problem}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _not_skipped_in_ci((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole module can skip itself, too."""
    return _not_skipped_in_ci((yield))


def _not_skipped_in_ci(report: R) -> R:
    # An expected failure is reported as skipped as well, but it ran.
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"with CI=true nothing may be skipped: {reason}"
    return report
