"""Where proofs are known by their names, and what a failed one may be excused by."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import NamedTuple

from watcher.errors import UsageError
from watcher.judge.case import Case
from watcher.model import Evidence


class Finding(NamedTuple):
    """Whether a proof holds, and what was seen, in plain words."""

    holds: bool
    seen: str


Proof = Callable[[Case], Finding]
PROOFS: dict[str, Proof] = {}

STANDING: set[str] = set()
"""Proofs of what was done to the cell: nothing that its client did excuses one that fails."""

IDLE: set[str] = set()
"""Proofs of what becomes of a silent flow: a client whose flow was never silent, or was replaced, has escaped it."""


def proof(name: str, *, standing: bool = False, idle: bool = False) -> Callable[[Proof], Proof]:
    """Registers a proof. One with neither flag is of the flows that a fault found: it is excused only where the client
    had closed all of its own before.
    """
    if standing and idle:
        raise ValueError(f"proof {name!r}: what was done to the cell is not what became of a silent flow")

    def register(function: Proof) -> Proof:
        if name in PROOFS:
            raise ValueError(f"two proofs named {name!r}")
        PROOFS[name] = function
        if standing:
            STANDING.add(name)
        if idle:
            IDLE.add(name)
        return function

    return register


def check(evidence: Evidence) -> None:
    """Raises UsageError where a scenario names a proof that does not exist."""
    for name in (*evidence.before, *evidence.after):
        if name not in PROOFS:
            nearest = get_close_matches(name, PROOFS, n=1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise UsageError(f"unknown proof {name!r}", advice=f"{hint}there are: {', '.join(sorted(PROOFS))}")
