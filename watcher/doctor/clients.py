"""Whether the client programs have their environments: the one thing missing that is only a download away."""

from __future__ import annotations

from watcher.doctor.checks import Check
from watcher.errors import WatcherError

_NAME = "client environments"


def environments() -> Check:
    """Never an error: a broken manifest is what a doctor should say, not die of."""
    # Late, so that the lab can be examined where the catalog is what is broken.
    from watcher.catalog import Catalog
    from watcher.programs import environments

    try:
        folders = {found.folder: found.build for found in Catalog.load().stacks.values()}
        missing = sorted(folder.name for folder, build in folders.items() if not environments.is_built(folder, build))
    except WatcherError as error:
        return Check(_NAME, False, error.message, error.advice, required=False)
    if missing:
        return Check(_NAME, False, f"not built: {', '.join(missing)}", "watcher build", required=False)
    return Check(_NAME, True, f"{len(folders)} built", required=False)
