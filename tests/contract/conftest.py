"""The client programs' commands, with their environments built."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.catalog import Catalog, FoundStack
from watcher.programs import environments

BUILT_BY_TESTS = "python"
"""Downloads; a compiler's minutes are `make clients`, which CI has done before."""


@pytest.fixture(scope="session")
def place() -> Callable[[FoundStack], Path]:
    """Of a stack's environment. Building one of Python's needs the network, once per lock file and machine; another
    that is not there skips the test, which in CI is a failure.
    """

    def built(found: FoundStack) -> Path:
        if not environments.is_built(found.folder, found.build) and found.build.kind != BUILT_BY_TESTS:
            missing = environments.lacks(found.folder, found.build)
            if missing is not None or os.environ.get("CI") != "true":
                pytest.skip(
                    missing.message if missing is not None else f"not built: `watcher build {found.stack.name}`"
                )
        return environments.build(found.folder, found.build)

    return built


@pytest.fixture(scope="session")
def command(place: Callable[[FoundStack], Path]) -> Callable[..., list[str]]:
    """Of a stack by its name. ``folder`` is where its program is taken from instead of the client's own."""
    found = Catalog.load().stacks

    def arguments(name: str, folder: Path | None = None) -> list[str]:
        this = found[name]
        return [part.format(environment=place(this), folder=folder or this.folder) for part in this.stack.command]

    return arguments
