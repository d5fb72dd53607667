"""Who keeps a program's quiet connection alive, measured from outside, without privilege and without a packet of ours.

Between two touches nothing but keepalive crosses a watch. So two readings of the kernel's counters for the program's
own sockets tell: nothing moved; or segments came and went, and who began (``pieces``).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from watcher.idle.pieces import By, Piece, Sample, compare
from watcher.kernel import duplicates, processes, sock_diag, tcp_info
from watcher.kernel.duplicates import Options
from watcher.kernel.sock_diag import Row
from watcher.totals import Keepalive

LEAST_QUIET_SECONDS = 200.0
"""``none`` is said only after so long a silence in one piece: kube-apiserver's own probes come after 180 s."""
MOST_DESCRIBED = 4_000


@dataclass
class _Sums:
    """Bounded, however long the soak runs."""

    seconds: dict[By, float] = field(default_factory=dict)
    exchanges: int = 0
    longest_silence_seconds: float = 0.0

    def add(self, piece: Piece) -> None:
        self.seconds[piece.by] = self.seconds.get(piece.by, 0.0) + piece.seconds
        self.exchanges += piece.exchanges
        if piece.by == "none":
            self.longest_silence_seconds = max(self.longest_silence_seconds, piece.seconds)


class QuietWatch:
    """Measures one program. ``look`` right after a touch is decided and right before the next, then ``pause``.

    Never raises: what cannot be read is ``unknown``, with the reason in ``option``. ``port`` is the API server's, to
    leave other connections of the program out. In the lab ``least_quiet_seconds`` is divided by the scale.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        least_quiet_seconds: float = LEAST_QUIET_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        read: Callable[[int], Mapping[int, tuple[Row, Options | None]]] | None = None,
    ) -> None:
        self._port = port
        self._least = least_quiet_seconds
        self._clock = clock
        self._read = read or of_process
        self._samples: dict[int, Sample] = {}
        self._sums = _Sums()
        self._option = ""
        self._problem = ""

    def look(self, pid: int) -> None:
        """Compares with the look before, unless ``pause`` came between."""
        try:
            seen = self._read(pid)
        except (OSError, ValueError) as error:
            self._problem = f"cannot be read: {error}"[:200]
            self._samples = {}
            return
        self._problem = ""
        now = self._clock()
        fresh = {}
        for inode, (row, options) in seen.items():
            if row.state != tcp_info.ESTABLISHED or (self._port is not None and row.remote[1] != self._port):
                continue
            fresh[inode] = sample = Sample(now, row, *_option(row, options))
            before = self._samples.get(inode)
            if before is not None and before.row.local == row.local and before.row.remote == row.remote:
                piece = compare(before, sample)
                if piece is not None:
                    self._sums.add(piece)
        if fresh:
            # Of several the one that came last: a program that reconnected watches on its newest.
            self._option = max(fresh.items())[1].option
        self._samples = fresh

    def pause(self) -> None:
        """A touch comes: what crosses from here to the next look is no keepalive."""
        self._samples = {}

    def measured(self) -> Keepalive:
        """Over all that was looked at so far."""
        sums = self._sums
        seconds = sum(sums.seconds.values())
        active = sums.seconds.keys() - {"none"}
        by: Literal["none", "client", "server", "both", "unknown"] = "unknown"
        if len(active) > 1:
            by = "both"
        elif active:
            (by,) = active
        elif sums.longest_silence_seconds >= self._least:
            by = "none"
        option = self._problem if self._problem and not self._option else self._option
        interval = seconds / sums.exchanges if sums.exchanges else None
        return Keepalive(by=by, interval_seconds=interval, quiet_seconds=seconds, option=option[:200])


def _option(row: Row, options: Options | None) -> tuple[str, float | None]:
    """The keepalive setting in words, and its idle time in seconds where keepalive is on."""
    if options is not None:
        return str(options), float(options.keepalive_idle_seconds) if options.keepalive else None
    if row.timer == "keepalive" and row.info is not None:
        # The timer was set at the last segment that was taken in; interval and count stay unknown.
        idle = round(row.timer_seconds + min(row.info.last_data_recv_seconds, row.info.last_ack_recv_seconds))
        return f"on {idle}/?/?", float(idle) or None
    if row.timer is None and row.state == tcp_info.ESTABLISHED:
        return "off", None
    return "", None


def of_process(pid: int) -> dict[int, tuple[Row, Options | None]]:
    """The TCP sockets of the process and its descendants, by inode. Raises OSError where none can be read."""
    rows = sock_diag.rows()
    found: dict[int, tuple[Row, Options | None]] = {}
    for number, each in enumerate(processes.family(pid)):
        try:
            inodes = set(processes.socket_files(each).values()) & rows.keys()
        except OSError:
            if number == 0:
                raise
            continue
        options: dict[int, Options] = {}
        with contextlib.suppress(OSError):  # refused in restricted pods: then the timer must do
            options = duplicates.options(each)
        found |= {inode: (rows[inode], options.get(inode)) for inode in inodes}
    return found


def describe(pid: int) -> str:
    """The program's TCP sockets, one a line, for a failure's record; at most 4,000 characters. Never raises."""
    try:
        seen = of_process(pid)
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"[:MOST_DESCRIBED]
    if not seen:
        return "no TCP sockets"
    lines = [_line(row, options) for _, (row, options) in sorted(seen.items())]
    text = "\n".join(lines)
    return text if len(text) <= MOST_DESCRIBED else f"{text[: MOST_DESCRIBED - 2]}\n…"


def _line(row: Row, options: Options | None) -> str:
    (local, port), (remote, remote_port) = row.local, row.remote
    words = [
        f"{tcp_info.STATES.get(row.state, row.state)} {local}:{port} -> {remote}:{remote_port}",
        f"keepalive {_option(row, options)[0] or 'unknown'}",
        f"timer {row.timer} {row.timer_seconds:.1f} s" if row.timer else "no timer",
    ]
    if row.info is not None:
        info = row.info
        words += [
            f"in {info.segs_in} segments, {info.bytes_received} octets",
            f"last data in {info.last_data_recv_seconds:.1f} s ago",
            f"out {info.segs_out} segments, last data out {info.last_data_sent_seconds:.1f} s ago",
            f"unacknowledged {info.unacked}, retransmitted {info.total_retrans}",
        ]
    return "; ".join(words)
