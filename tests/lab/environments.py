"""Client environments for tests that run real programs."""

from __future__ import annotations

from watcher.catalog import Catalog
from watcher.programs import environments


def built(*stacks: str) -> None:
    """Builds what these stacks need, where it is not there yet."""
    catalog = Catalog.load()
    for name in stacks:
        found = catalog.stacks[name]
        environments.build(found.folder, found.build)
