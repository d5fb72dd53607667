"""The client programs' commands, with their environments built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.catalog import Catalog
from watcher.programs import environments


@pytest.fixture(scope="session")
def command() -> Callable[..., list[str]]:
    """Of a stack by its name; building an environment needs the network, once per lock file and machine.

    ``folder`` is where its program is taken from instead of the client's own.
    """
    found = Catalog.load().stacks

    def arguments(name: str, folder: Path | None = None) -> list[str]:
        this = found[name]
        built = environments.build(this.folder, this.build)
        return [part.format(environment=built, folder=folder or this.folder) for part in this.stack.command]

    return arguments
