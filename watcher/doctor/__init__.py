"""What this machine lacks for the lab, why, and how to get it.

Reading the machine (``readings``) and judging what was read (``checks``) are apart, so that the judgement can be tried
with the readings of machines that nobody has at hand.
"""

from __future__ import annotations

from watcher.doctor.checks import Check, checks, first_problem
from watcher.doctor.clients import environments
from watcher.doctor.readings import read

__all__ = ["Check", "examine", "lab_problem"]


def examine() -> tuple[Check, ...]:
    """Everything worth knowing, in the order in which to mend it. Takes well under a second and changes nothing."""
    return (*checks(read()), environments())


def lab_problem() -> str | None:
    """The first reason why the lab cannot run here, with its remedy; None where it can."""
    return first_problem(checks(read()))
