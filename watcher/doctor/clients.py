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
        wanted = dict.fromkeys((found.folder, found.build) for found in Catalog.load().stacks.values())
        missing = [(folder, build) for folder, build in wanted if not environments.is_built(folder, build)]
        lacks = [environments.lacks(folder, build) for folder, build in missing]
    except WatcherError as error:
        return Check(_NAME, False, error.message, error.advice, required=False)
    if missing:
        names = ", ".join(dict.fromkeys(folder.name for folder, _ in missing))
        tools = dict.fromkeys(f"{lack.message}: {lack.advice}" for lack in lacks if lack is not None)
        remedy = "\n".join([*tools, "watcher build"])
        return Check(_NAME, False, f"not built: {names}", remedy, required=False)
    return Check(_NAME, True, f"{len(wanted)} built", required=False)
