"""Clients that ask now and then: on which connection the question after the touch went out, and how long it took."""

from __future__ import annotations

from watcher.judge.case import Case
from watcher.judge.flows import JITTER_SECONDS, Flow


def question(case: Case) -> dict[str, object] | None:
    """Of the first question after the touch: when it was asked, after how many seconds it was answered with the touch's
    nonce (None: never), and whether its octets went out on a connection that was there before.

    None where none was asked.
    """
    asked = case.delayed_since(case.touch)
    if not case.asks or asked == case.touch.sent:
        return None
    seen = case.facts.observed(case.touch)
    carrier = _carrier(case, asked)
    reused = None if carrier is None else (carrier.established or carrier.first) < asked - JITTER_SECONDS
    return {
        "asked": case.after_l0(asked),
        "answered_after": None if seen is None else round(seen - asked, 3),
        "port": None if carrier is None else carrier.port,
        "reused": reused,
    }


def _carrier(case: Case, asked: float) -> Flow | None:
    """The connection of the first data that the client sent from then on."""
    first = {
        flow: min(
            (
                p.t
                for p in flow.packets
                if p.direction == "to-server" and p.length > 1 and p.t >= asked - JITTER_SECONDS
            ),
            default=None,
        )
        for flow in case.flows
    }
    return min((flow for flow, t in first.items() if t is not None), key=lambda flow: first[flow] or 0.0, default=None)
