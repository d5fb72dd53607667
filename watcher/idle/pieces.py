"""From two readings of one socket's counters to who kept it alive between them. Pure.

A keepalive probe of the client is answered with an acknowledgement that our kernel takes in; a probe of the server is
answered by our kernel before it looks at any acknowledgement. Pings (HTTP/2, WebSocket) and bookmarks are data, and so
is a watch that ends and is asked for anew on the same connection: that keeps a flow open, too, but it is no keepalive,
and says nothing of who would have sent one. So data counts only where its octets can be nothing but pings and
bookmarks. All else is left out, whatever else happened meanwhile: no word is better than a wrong one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from watcher.kernel import tcp_info
from watcher.kernel.sock_diag import Row
from watcher.kernel.tcp_info import TcpInfo

PING_OCTETS = frozenset({38, 39, 46, 28})
"""A client's ping as one TLS record: HTTP/2's 17 octets and what ChaCha20 (TLS 1.2), TLS 1.3 and AES-GCM
(TLS 1.2) add; a WebSocket's empty one, masked, with TLS 1.3. A WINDOW_UPDATE (34, 35, 42) is none of them; a request
for a watch has about 100 octets on HTTP/2 and several hundred on HTTP/1.1."""
WEBSOCKET_PING_OCTETS = 28
MASK_OCTETS = 4
"""What a WebSocket's client adds and its server does not."""
LEAST_BOOKMARK_OCTETS = 64
"""Below it is the end of a watch (27 on HTTP/1.1, 31 on HTTP/2), an alert, a GOAWAY; bookmarks have 97 and more."""
MOST_BOOKMARK_OCTETS = 256
"""In the mean. Above it somebody touched the trigger, or a watch began anew."""
_SETTLED_SECONDS = 0.5
"""A reading so soon after data may be followed by its delayed acknowledgement, which means nothing."""
_TICK_SECONDS = 0.012
"""Ages closer than this are the same: the kernel's ticks are up to 10 ms."""

By = Literal["none", "client", "server", "both"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One socket at one moment. ``idle_option_seconds`` is the client's keepalive idle time, where it is known."""

    at: float
    row: Row
    option: str
    idle_option_seconds: float | None


@dataclass(frozen=True, slots=True)
class Piece:
    """What one socket carried between two readings: who began, and how many exchanges."""

    by: By
    exchanges: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Carried:
    """Segments and octets between two readings; ``data`` of them are those with data."""

    came: int
    went: int
    data_came: int
    data_went: int
    octets_came: int
    octets_went: int
    """Of data sent, those that the other side has acknowledged."""


def compare(first: Sample, second: Sample) -> Piece | None:
    """None where the counters are missing, or the time between was not quiet."""
    one, two = first.row.info, second.row.info
    if one is None or two is None or two.state != tcp_info.ESTABLISHED:
        return None
    carried = _between(one, two)
    seconds = second.at - first.at
    if carried is None or seconds <= 0:
        return None
    if carried.data_went:
        return _of_pings(carried, two, seconds)
    if carried.data_came:
        return _of_bookmarks(carried, second, seconds)
    came, went = carried.came, carried.went
    if came == 0 and one.last_data_recv_seconds < _SETTLED_SECONDS:
        went = max(0, went - 1)
    if went == 0 and one.last_data_sent_seconds < _SETTLED_SECONDS:
        came = max(0, came - 1)
    if came == went == 0:
        return Piece("none", 0, seconds)
    if came == 0:  # probes that nobody answers
        return Piece("client", went, seconds)
    if went == 0:  # every probe, of either side, makes our kernel send something
        return None
    if two.last_ack_recv_seconds > seconds - _TICK_SECONDS or second.option == "off":
        return Piece("server", came, seconds)
    idle = second.idle_option_seconds
    both = idle is not None and came > math.ceil(seconds / idle)
    return Piece("both" if both else "client", came, seconds)


def _between(one: TcpInfo, two: TcpInfo) -> _Carried | None:
    changes = [
        None if before is None or after is None else (after - before) % (1 << bits)
        for before, after, bits in (
            (one.segs_in, two.segs_in, 32),
            (one.segs_out, two.segs_out, 32),
            (one.data_segs_in, two.data_segs_in, 32),
            (one.data_segs_out, two.data_segs_out, 32),
            (one.bytes_received, two.bytes_received, 64),
            (one.bytes_acked, two.bytes_acked, 64),
        )
    ]
    known = [each for each in changes if each is not None]
    return _Carried(*known) if len(known) == len(changes) else None


def _of_pings(carried: _Carried, two: TcpInfo, seconds: float) -> Piece | None:
    """Where data was sent, each segment of it must have been a ping, or the answer to one, and each must have got its
    answer of the same size. What came beyond that must have been bookmarks."""
    pings = carried.data_went
    octets = carried.octets_went // pings
    if carried.octets_went % pings or octets not in PING_OCTETS:
        return None
    answer = octets - MASK_OCTETS if octets == WEBSOCKET_PING_OCTETS else octets
    bookmarks, more = carried.data_came - pings, carried.octets_came - pings * answer
    if bookmarks > 0:
        return Piece("both", carried.data_came, seconds) if _are_bookmarks(bookmarks, more) else None
    if bookmarks < 0 or more:
        return None
    by: By = "both"
    received_before_sent = two.last_data_recv_seconds - two.last_data_sent_seconds
    if received_before_sent < -_TICK_SECONDS:
        by = "client"
    elif received_before_sent > _TICK_SECONDS:
        by = "server"
    return Piece(by, pings, seconds)


def _of_bookmarks(carried: _Carried, second: Sample, seconds: float) -> Piece | None:
    """Data that only came. Segments without data that came beside it are TCP's keepalive."""
    bookmarks, others = carried.data_came, carried.came - carried.data_came
    if not _are_bookmarks(bookmarks, carried.octets_came):
        return None
    if not others or second.option == "off":
        return Piece("server", carried.came, seconds)
    idle = second.idle_option_seconds
    # The longest of the silences between so many bookmarks was longer than the client's idle time: it has probed.
    if idle is not None and idle * (bookmarks + 1) < seconds:
        return Piece("both", carried.came, seconds)
    return None


def _are_bookmarks(segments: int, octets: int) -> bool:
    return LEAST_BOOKMARK_OCTETS * segments < octets <= MOST_BOOKMARK_OCTETS * segments
