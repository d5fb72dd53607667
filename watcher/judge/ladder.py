"""A cell's packets as the steps of a ladder: what belongs together is one step, and what repeats is told once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from operator import attrgetter
from statistics import median

from watcher.judge.case import Case
from watcher.judge.flows import JITTER_SECONDS, Flow, Seen
from watcher.timeline import Step, What

MOST_STEPS = 60
TOGETHER_SECONDS = 1.5
"""Packets of one connection that follow this closely are one exchange."""
QUIET_SECONDS = 2.0
LONGEST_CYCLE = 6
"""Steps of a pattern that is looked for: close, reset, silence, open, talk, silence."""

_PACKETS = frozenset(
    {
        What.OPENED,
        What.TALK,
        What.CHANGE,
        What.LOST,
        What.RESET,
        What.CLOSED,
        What.ASTRAY,
        What.ASTRAY_RESET,
    }
)
_ABSORBS = {
    What.OPENED: {What.OPENED, What.TALK},
    What.TALK: {What.TALK},
    What.CHANGE: {What.TALK},
    What.CLOSED: {What.CLOSED, What.TALK, What.RESET},
    What.LOST: {What.LOST},
    What.RESET: {What.RESET},
    What.ASTRAY: {What.ASTRAY},
    What.ASTRAY_RESET: {What.ASTRAY_RESET},
}


def steps(case: Case, stop: float) -> tuple[list[Step], int]:
    """The steps up to ``stop`` (seconds after L0, when the harness ends the program), and how many were left out."""
    both = [*_events(case, stop), *(step for step in _packet_steps(case) if step.at <= stop)]
    both.sort(key=attrgetter("at"))
    grouped = _repeats_told_once(_with_silences(_joined(both)))
    if len(grouped) <= MOST_STEPS:
        return grouped, 0
    half = MOST_STEPS // 2
    return [*grouped[:half], *grouped[-half:]], len(grouped) - MOST_STEPS


def _packet_steps(case: Case) -> Iterator[Step]:
    carrier = _carrier(case)
    for flow in case.flows:
        for packet in flow.packets:
            at = case.after_l0(packet.t)
            yield Step(
                what=_what(packet, carrier),
                at=at,
                until=at,
                port=flow.port,
                packets=1,
                sender=packet.sender,
                direction=packet.direction,
                arrived=packet.at_client is not None
                if packet.direction == "to-client"
                else packet.at_server is not None,
                octets=packet.length,
            )

    for packet in case.astray:
        at = case.after_l0(packet.t)
        yield Step(
            what=What.ASTRAY_RESET if "R" in packet.flags else What.ASTRAY,
            at=at,
            until=at,
            packets=1,
            sender=packet.sender,
            direction=packet.direction,
            arrived=packet.crossed,
            octets=packet.length,
            text=packet.peer or "",
        )


def _what(packet: Seen, carrier: Seen | None) -> What:
    if "R" in packet.flags:
        return What.RESET
    if packet.stopped:
        return What.LOST
    if "F" in packet.flags:
        return What.CLOSED
    if "S" in packet.flags:
        return What.OPENED
    return What.CHANGE if packet is carrier else What.TALK


def _carrier(case: Case) -> Seen | None:
    """The packet that brought the touch: the first of data to the client, on a connection from before the touch."""
    seen = case.facts.observed(case.touch)
    if seen is None:
        return None

    def brings(flow: Flow, packet: Seen) -> bool:
        return (
            flow.first < case.touch.sent <= packet.t <= seen + JITTER_SECONDS
            and packet.direction == "to-client"
            and packet.length > 1
            and packet.at_client is not None
        )

    found = [packet for flow in case.flows for packet in flow.packets if brings(flow, packet)]
    return min(found, key=lambda packet: packet.t, default=None)


def _events(case: Case, stop: float) -> Iterator[Step]:
    def event(what: What, t: float, **more: object) -> Step:
        return Step.model_validate({"what": what, "at": case.after_l0(t), "until": case.after_l0(t), **more})

    yield event(What.CONTROL_TOUCH, case.control.sent)
    for expired in case.expired:
        idle = case.plan.timing.idle_timeout_seconds
        yield event(What.FORGOTTEN, expired.at, port=expired.flow.port, every_seconds=idle)
    for fault in case.facts.faults:
        if fault.action == "apply":
            yield event(What.FAULT, fault.t, text=fault.name)
        elif case.after_l0(fault.t) <= stop:
            yield event(What.HEALED, fault.t, text=fault.name)
    yield event(What.TOUCH, case.touch.sent)
    for probe in case.facts.probes:
        if probe.to != "virtual":
            continue  # no connection as the client would make it
        what = What.FRESH_WORKS if probe.ok else What.FRESH_FAILS
        yield event(what, probe.t, every_seconds=round(probe.seconds, 3), text=(probe.error or "")[:200])
    seen = case.facts.observed(case.touch)
    if seen is not None:
        took = round(seen - case.touch.sent, 3)
        yield event(What.OBSERVED, seen, every_seconds=took)
    deadline = case.touch.sent + case.plan.timing.deadline_seconds
    if seen is None or seen > deadline:
        yield event(What.DEADLINE, deadline, every_seconds=case.plan.timing.deadline_seconds)
    exited = case.facts.exited
    if exited is not None and not exited.by_harness:
        yield event(What.EXITED, exited.t, text=f"status {exited.status}")
    if seen is None:
        yield Step(what=What.WINDOW_CLOSED, at=stop, until=stop)


def _joined(ordered: list[Step]) -> list[Step]:
    done: list[Step] = []
    for step in ordered:
        last = done[-1] if done else None
        if last is not None and _joins(last, step):
            both_ways = last.direction != step.direction or last.direction is None
            done[-1] = last.model_copy(
                update={
                    "until": max(last.until, step.until),
                    "packets": last.packets + step.packets,
                    "direction": None if both_ways and last.what is not What.CHANGE else last.direction,
                }
            )
        else:
            done.append(step)
    return done


def _joins(last: Step, step: Step) -> bool:
    if step.what not in _ABSORBS.get(last.what, ()) or last.port != step.port:
        return False
    if last.what in (What.LOST, What.RESET):
        same = (last.sender, last.direction, last.arrived) == (step.sender, step.direction, step.arrived)
        return same and (last.what is What.LOST or step.at - last.until <= TOGETHER_SECONDS)
    return step.at - last.until <= TOGETHER_SECONDS


def _with_silences(joined: list[Step]) -> list[Step]:
    done: list[Step] = []
    for step in joined:
        since = max((each.until for each in done), default=step.at)
        if step.at - since > QUIET_SECONDS:
            done.append(Step(what=What.SILENCE, at=since, until=step.at))
        done.append(step)
    return done


def _repeats_told_once(told: list[Step]) -> list[Step]:
    done: list[Step] = []
    at = 0
    while at < len(told):
        length, times = max(
            ((length, _times(told, at, length)) for length in range(1, LONGEST_CYCLE + 1)),
            key=lambda found: (found[0] * found[1] if found[1] >= 3 else 0, -found[0]),
        )
        if times < 3:
            done.append(told[at])
            at += 1
            continue
        repeats = told[at : at + length * times]
        done += repeats[:length]
        begins = [repeats[number * length].at for number in range(times)]
        done.append(
            Step(
                what=What.REPEATED,
                at=repeats[length].at,
                until=repeats[-1].until,
                packets=sum(step.packets for step in repeats[length:]),
                times=times - 1,
                steps=length,
                every_seconds=round(median(later - earlier for earlier, later in pairwise(begins)), 1),
            )
        )
        at += length * times
    return done


def _times(told: list[Step], at: int, length: int) -> int:
    """How often the ``length`` steps from ``at`` on come, one after another. One without packets is no pattern."""
    first = [_kind(step) for step in told[at : at + length]]
    if len(first) < length or not any(step.what in _PACKETS for step in told[at : at + length]):
        return 0
    times = 1
    while [_kind(step) for step in told[at + times * length : at + (times + 1) * length]] == first:
        times += 1
    return times


def _kind(step: Step) -> tuple[object, ...]:
    if step.what not in _PACKETS and step.what is not What.SILENCE:
        return (step.what, step.at)  # an event is never one of many
    sender = step.sender if step.what in (What.LOST, What.RESET) else None
    return (step.what, step.arrived, sender, step.octets > 1)
