"""A timeline's lanes: what each of the parties did or believed, over the same seconds."""

from __future__ import annotations

from watcher.report.page.ladder import NAMES
from watcher.timeline import Timeline, What

Mark = list[object]
"""Begin, end (None for a moment), words, tone."""

_SAID = {
    "spawned": "the program is started",
    "watching": "it watches",
    "exited": "the program has ended by itself",
    "told to end": "the lab has ended the program",
}
_TONES = {"error": "bad", "ended": "warn", "exited": "warn"}


def lanes(timeline: Timeline) -> dict[str, object]:
    """Five lanes, in the order in which they are drawn, and the packets as numbers."""
    return {
        "begins": timeline.begins,
        "ends": timeline.ends,
        "touch": timeline.touch,
        "deadline": timeline.deadline,
        "lanes": [
            ["touches", _touches(timeline)],
            ["client says", _said(timeline)],
            ["its sockets", _connections(timeline)],
            ["fault and proof", _network(timeline)],
        ],
        "packets": _differences(timeline.packets),
        "packets_left_out": timeline.packets_left_out,
    }


def _touches(timeline: Timeline) -> list[Mark]:
    found: list[Mark] = [
        [step.at, None, "first change: does the watch work?", ""]
        for step in timeline.steps
        if step.what is What.CONTROL_TOUCH
    ]
    if timeline.touch is not None:
        found.append([timeline.touch, timeline.deadline, "the change, and the time the client has to see it", "event"])
    return found


def _said(timeline: Timeline) -> list[Mark]:
    found: list[Mark] = []
    for said in timeline.said:
        words = _SAID.get(said.event, said.event)
        text = f"{words}: {said.text}" if said.text else words
        tone = _TONES.get(said.event, "")
        if said.event == "observed" and timeline.touch is not None and said.at >= timeline.touch:
            tone = "good"
        found.append([said.at, None, text, tone])
    return found


def _connections(timeline: Timeline) -> list[Mark]:
    found: list[Mark] = []
    for each in timeline.connections:
        end = timeline.ends if each.ends is None else each.ends
        how = (
            "open to the last"
            if each.ends is None
            else f"ended by the {NAMES[each.ended_by or 'client']} ({each.flag})"
        )
        found.append([each.begins, end, f"port {each.port}, as the client sees it: {how}", "bar"])
    looks = [look for look in timeline.looks if look.of != "path"]
    return found + [[look.at, None, f"the {NAMES[look.of]}'s kernel says: {look.text}", "look"] for look in looks]


def _network(timeline: Timeline) -> list[Mark]:
    found: list[Mark] = []
    for idle in timeline.idle:
        found.append([idle.since, idle.until, f"port {idle.port} is silent until the network forgets it", "warn"])
        found.append([idle.until, None, f"the network forgets port {idle.port}", "bad"])
    healed = min((step.at for step in timeline.steps if step.what is What.HEALED), default=timeline.ends)
    for step in timeline.steps:
        if step.what is What.FAULT:
            found.append([step.at, healed, f"fault {step.text}", "bad"])
        if step.what is What.RESET and step.sender == "path":
            to = "client" if step.direction == "to-client" else "API server"
            found.append([step.at, None, f"reset to the {to}{'' if step.arrived else ', lost'}", "bad"])
        if step.what in (What.FRESH_WORKS, What.FRESH_FAILS):
            works = step.what is What.FRESH_WORKS
            words = "proof: a fresh connection works" if works else f"a fresh connection fails: {step.text}"
            found.append([step.at, None, words, "good" if works else "bad"])
    looks = [look for look in timeline.looks if look.of == "path"]
    return found + [[look.at, None, f"the network's own table: {look.text}", "look"] for look in looks]


def _differences(packets: tuple[tuple[int, int], ...]) -> list[int]:
    """Flat pairs: milliseconds since the packet before, and its code."""
    flat, before = [], 0
    for at, code in packets:
        flat += [at - before, code]
        before = at
    return flat
