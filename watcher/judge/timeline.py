"""From a journal to timelines: what happened in each cell, in an order that somebody can follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from watcher.judge import ladder
from watcher.judge.case import Case, Incomplete
from watcher.judge.recovery import stopped
from watcher.judge.replay import Replayed, cells
from watcher.records import FlowKey, Record, Socket
from watcher.timeline import (
    BY_PATH,
    DATA,
    ENDS,
    PROBE,
    STOPPED,
    TO_SERVER,
    Connection,
    Idle,
    Look,
    Said,
    Timeline,
)

MAX_PACKETS = 300
"""Drawn of one cell. A quiet watch has fewer; of a busy one the first and the last are shown."""
MAX_CONNECTIONS = 60
MAX_SAID = 60
MAX_TEXT = 200

T = TypeVar("T")


def timelines(records: Iterable[Record]) -> dict[str, Timeline]:
    """By the folder of the cell's evidence, which is how results name the repeat that stands for a cell."""
    found = {}
    for case, replayed, closed in cells(records):
        if closed.folder is None:
            continue
        try:
            found[closed.folder] = timeline(case, replayed)
        except Incomplete:
            continue  # its verdict says what is missing
    return found


def timeline(case: Case, replayed: Replayed) -> Timeline:
    """Raises Incomplete for a cell that has no L0."""
    stop = case.after_l0(stopped(case))
    packets = list(_packets(case, stop))
    steps, left_out = ladder.steps(case, stop)
    said = [
        Said(
            at=case.after_l0(line.t),
            event="told to end" if line.by_harness and line.event == "exited" else line.event,
            text=_text(line.nonce or line.message, line.status),
        )
        for line in sorted(replayed.lines, key=lambda line: line.t)
    ]
    begins = min([0.0, *(case.after_l0(flow.first) for flow in case.flows), *(each.at for each in said)])
    return Timeline(
        begins=begins,
        ends=max([stop, *(step.until for step in steps)]),
        touch=case.after_l0(case.touch.sent),
        deadline=case.after_l0(case.touch.sent + case.plan.timing.deadline_seconds),
        steps=tuple(steps),
        steps_left_out=left_out,
        said=tuple(_first_and_last(said, MAX_SAID)),
        connections=tuple(_connections(case, stop)),
        looks=tuple(_looks(case)),
        idle=tuple(
            Idle(port=each.flow.port, since=case.after_l0(each.since), until=case.after_l0(each.at))
            for each in case.expired
        ),
        packets=tuple(_first_and_last(packets, MAX_PACKETS)),
        packets_left_out=max(0, len(packets) - MAX_PACKETS),
    )


def _text(message: str | None, status: int | None) -> str:
    said = " ".join((message or "").split())[:MAX_TEXT]
    return said if status is None else f"status {status} {said}".strip()


def _first_and_last(items: list[T], most: int) -> list[T]:
    if len(items) <= most:
        return items
    half = most // 2
    return [*items[:half], *items[len(items) - (most - half) :]]


def _packets(case: Case, stop: float) -> Iterator[tuple[int, int]]:
    seen = sorted((packet for flow in case.flows for packet in flow.packets), key=lambda packet: packet.t)
    for packet in seen:
        at = case.after_l0(packet.t)
        if at > stop:
            return
        code = TO_SERVER * (packet.direction == "to-server") + STOPPED * packet.stopped
        code += BY_PATH * (packet.sender == "path") + ENDS * packet.ends
        code += PROBE * (packet.length <= 1) + DATA * (packet.length > 1)
        yield round(at * 1000), code


def _connections(case: Case, stop: float) -> Iterator[Connection]:
    for flow in case.flows[:MAX_CONNECTIONS]:
        if flow.established is None:
            continue
        end = flow.client_end()
        ended = None if end is None else case.after_l0(end.t)
        known = end is not None and ended is not None and ended <= stop
        yield Connection(
            port=flow.port,
            begins=case.after_l0(flow.established),
            ends=ended if known else None,
            ended_by=end.by if end is not None and known else None,
            flag=end.flag if end is not None and known else "",
        )


def _looks(case: Case) -> Iterator[Look]:
    for sockets in case.facts.sockets.values():
        text = "; ".join(map(_socket, sockets.sockets)) or "no socket"
        yield Look(at=case.after_l0(sockets.t), of="client", text=text)
    for sockets in case.facts.server_sockets.values():
        text = "; ".join(map(_socket, sockets.sockets)) or "no socket"
        yield Look(at=case.after_l0(sockets.t), of="server", text=text)
    for conntrack in case.facts.conntrack.values():
        text = "; ".join(map(_entry, conntrack.flows)) or "no entry: the connection is unknown"
        yield Look(at=case.after_l0(conntrack.t), of="path", text=text)


def _socket(socket: Socket) -> str:
    said = f"port {socket.port} {socket.state}"
    if socket.keepalive is not None:
        said += ", keepalive "
        said += (
            f"{socket.keepalive_idle_seconds}/{socket.keepalive_interval_seconds}/{socket.keepalive_count}"
            if socket.keepalive
            else "off"
        )
    if socket.user_timeout_seconds:
        said += f", user timeout {socket.user_timeout_seconds:g} s"
    if socket.timer:
        said += f", timer {socket.timer}"
    if socket.unacknowledged:
        said += f", {socket.unacknowledged} unacknowledged"
    return said


def _entry(flow: FlowKey) -> str:
    left = "" if flow.expires_seconds is None else f", forgotten after {flow.expires_seconds:g} s of silence"
    return f"port {flow.port} {flow.state}{left}"
