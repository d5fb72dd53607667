"""The steps of a packet ladder in words, for somebody who has never heard of conntrack."""

from __future__ import annotations

from dataclasses import dataclass

from watcher.report.words import seconds_text
from watcher.timeline import Step, Timeline, What

NAMES = {"client": "client", "server": "API server", "path": "network"}


def rows(timeline: Timeline) -> list[dict[str, object]]:
    """What the page draws: time, shape of the arrow, words. ``tone``: good, bad, warn or none."""
    drawn = []
    told = Told(timeline.touch if timeline.touch is not None else timeline.ends)
    for step, after in zip(timeline.steps, (*timeline.steps[1:], None), strict=True):
        words, tone = _words(step, after, told)
        told.lost |= step.what is What.LOST
        told.change_lost |= told.is_lost_change(step)
        drawn.append(_drawn(step, words, tone))
    return drawn


@dataclass
class Told:
    """What the steps above have said already."""

    touch: float
    lost: bool = False
    change_lost: bool = False

    def is_lost_change(self, step: Step) -> bool:
        return step.what is What.LOST and step.octets > 1 and step.sender == "server" and step.at >= self.touch


def _drawn(step: Step, words: str, tone: str) -> dict[str, object]:
    row: dict[str, object] = {"t": step.at, "w": words}
    if tone:
        row["tone"] = tone
    if step.what is What.SILENCE:
        row["silence"] = 1
    if step.what not in _ARROWS:
        return row
    row |= {"from": step.sender, "to": "client" if step.direction == "to-client" else "server", "n": step.packets}
    if step.direction is None:
        row |= {"to": "server" if step.sender == "client" else "client", "both": 1}
    if not step.arrived:
        row["lost"] = 1
    if step.what in (What.RESET, What.ASTRAY_RESET):
        row["cut"] = 1
    return row


_ARROWS = frozenset(
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


def _words(step: Step, after: Step | None, told: Told) -> tuple[str, str]:
    sender = NAMES.get(step.sender or "", "")
    receiver = "client" if step.direction == "to-client" else "API server"
    match step.what:
        case What.OPENED:
            return f"The client connects (port {step.port}): TCP and TLS handshakes, then its request to watch.", ""
        case What.TALK:
            return _talk(step, sender, told.touch), ""
        case What.CHANGE:
            return "The API server sends the change, and it arrives.", "good"
        case What.LOST:
            return _lost(step, after, sender, told), "bad"
        case What.RESET if step.sender == "path":
            what = "arrives" if step.arrived else "is lost"
            return f"The network sends a reset to the {receiver} in the other side's name: it {what}.", "warn"
        case What.RESET:
            what = "" if step.arrived else " The network drops that, too."
            return f"The {sender} gives the connection up with a reset.{what}", "warn"
        case What.CLOSED:
            return f"The {sender} closes the connection (port {step.port}).", ""
        case What.SILENCE:
            why = " without a packet." if told.lost else " of silence: nothing changes, so nothing is sent."
            return f"{_seconds(step.until - step.at)}{why}", ""
        case What.REPEATED:
            which = "step" if step.steps == 1 else f"{step.steps} steps"
            return f"… and the {which} above {step.times} times more, every {_seconds(step.every_seconds)}.", ""
        case What.CONTROL_TOUCH:
            return "The ConfigMap is changed a first time, to see that the watch works.", "event"
        case What.FORGOTTEN:
            return (
                f"The network forgets the connection. It keeps a table of connections and drops from it what was silent"
                f" for {_seconds(step.every_seconds)}. From now on its packets belong to nothing.",
                "bad",
            )
        case What.FAULT:
            return f"The fault begins: {step.text}.", "bad"
        case What.ASTRAY if step.sender == "client":
            return f"The client sends a packet to {step.text}, an address that it did not connect to.", "warn"
        case What.ASTRAY:
            return (
                f"A packet reaches the client from {step.text}, the server's own address: the network has not put back"
                " the one that the client connected to. Its kernel knows no such connection.",
                "bad",
            )
        case What.ASTRAY_RESET:
            return (
                f"So the client's kernel resets {step.text}. The server takes that for the end of the connection and"
                " closes it; the program is not told.",
                "bad",
            )
        case What.HEALED:
            return "The fault is over.", "event"
        case What.TOUCH:
            return "The ConfigMap is changed. Will the client see it?", "event"
        case What.FRESH_WORKS:
            dead = ": only the old one is dead." if told.lost else "."
            return f"A fresh connection through the same network works{dead}", "event"
        case What.FRESH_FAILS:
            return f"A fresh connection through the same network fails: {step.text}", "warn"
        case What.OBSERVED:
            took = step.every_seconds or 0
            return f"The client has seen the change, {_took(took)} after it was made.", "good"
        case What.DEADLINE:
            return f"{_seconds(step.every_seconds)} are over, and the client has not seen the change.", "bad"
        case What.EXITED:
            return f"The program ends by itself ({step.text}): somebody can notice.", "warn"
        case What.WINDOW_CLOSED:
            return "The lab stops waiting and ends the program.", "event"


def _talk(step: Step, sender: str, touch: float) -> str:
    if step.octets > 1:
        if step.sender == "server" and abs(step.until) < 0.05:  # the last packet of the control touch is L0
            return "The API server sends the first change, and it arrives: the watch works."
        if step.at >= touch or step.at <= 0:
            return f"The {sender} sends data, and it arrives."
        return f"The {sender} sends data ({step.octets} octets), and it arrives: the connection is not idle."
    if step.packets > 1:
        return f"The {sender} asks “are you there?” (TCP keepalive) and is answered: the connection is not idle."
    return f"A packet of the {sender} arrives."


def _lost(step: Step, after: Step | None, sender: str, told: Told) -> str:
    if told.is_lost_change(step):
        if told.change_lost:
            times = "once more" if step.packets == 1 else f"{step.packets} times more"
            return f"No answer came, so the API server sends the change {times}. All of it is dropped."
        answered = after is not None and after.what is What.RESET and after.sender == "path"
        how = "does not let it through" if answered else "drops it without a word"
        first = f"The API server sends the change. The network {how}."
        return first if step.packets == 1 else f"{first} {step.packets - 1} more tries fare no better."
    if step.octets <= 1 and step.sender == "client":
        times = "" if step.packets == 1 else f", {step.packets} times"
        return f"The client asks “are you there?” (TCP keepalive){times}. It is dropped: no answer."
    times = "a packet" if step.packets == 1 else f"{step.packets} packets"
    return f"The {sender} sends {times}: dropped on the way."


def _seconds(value: float | None) -> str:
    return f"{seconds_text(value or 0.0)} s"


def _took(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else _seconds(value)
