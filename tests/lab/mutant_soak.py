"""The soak with one thing broken (``MUTANT``): the tests of faults must see each of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from watcher.records import Record
from watcher.soak import __main__ as soak
from watcher.soak import failures, spool, store
from watcher.soak.totals_merge import merge
from watcher.totals import Totals, Update


def forgets() -> None:
    """What was on disk is not gone on with after a kill."""
    recover = spool.Spool.recover

    def nothing(self: spool.Spool) -> tuple[None, Iterator[Record]]:
        list(recover(self)[1])
        return None, iter(())

    spool.Spool.recover = nothing  # type: ignore[method-assign]  # that is what a mutant is


def loses() -> None:
    """A miss is counted, but never becomes a failure."""
    failures.FailureWriter.miss = lambda *_: None  # type: ignore[method-assign]  # that is what a mutant is


def charges() -> None:
    """An update that was refused is counted as one that was answered."""

    def wrong(totals: Totals | None, session: str, number: int, delta: Totals) -> Totals:
        updates = {Update.OK: sum(delta.updates.values())}
        return merge(totals, session, number, delta.model_copy(update={"updates": updates}))

    vars(store)["merge"] = wrong


if __name__ == "__main__":
    {"forgets": forgets, "loses": loses, "charges": charges}[os.environ["MUTANT"]]()
    sys.exit(soak.main())
