"""From counters to who keeps a quiet connection alive."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import replace

import pytest

from watcher.idle.quiet import MOST_DESCRIBED, QuietWatch, describe
from watcher.kernel.duplicates import Options
from watcher.kernel.sock_diag import Row
from watcher.kernel.tcp_info import ESTABLISHED, TcpInfo

OFF = Options(False, 7200, 75, 9, 0.0)
ON = Options(True, 30, 10, 3, 0.0)
QUIET = 590.0
COUNTERS = ("segs_in", "segs_out", "data_segs_in", "data_segs_out", "bytes_received", "bytes_acked")


class Program:
    """A program's socket whose counters a test moves."""

    def __init__(self, options: Options | None = OFF) -> None:
        self.now = 0.0
        self.options = options
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 100)
        self.ages = {"last_data_sent_seconds": 5.0, "last_data_recv_seconds": 5.0, "last_ack_recv_seconds": 5.0}
        self.timer_seconds: float | None = None
        self.inode = 7
        self.fails: OSError | None = None

    def read(self, _: int) -> Mapping[int, tuple[Row, Options | None]]:
        if self.fails is not None:
            raise self.fails
        quiet = TcpInfo(ESTABLISHED, 0, 0, 0, 0.0, 0.0, 0.0)
        info = replace(quiet, **self.ages, **self.counters)  # type: ignore[arg-type]  # ages are seconds, counters whole
        row = Row(self.inode, ESTABLISHED, ("10.0.0.2", 4000), ("10.96.0.1", 443), None, 0.0, info)
        if self.timer_seconds is not None:
            row = replace(row, timer="keepalive", timer_seconds=self.timer_seconds)
        return {self.inode: (row, self.options)}

    def pass_(self, seconds: float = QUIET, *, ages: dict[str, float] | None = None, **more: int) -> None:
        """Time goes by; ``more`` is added to the counters, and what is not in ``ages`` gets older."""
        self.now += seconds
        self.ages = {name: age + seconds for name, age in self.ages.items()} | (ages or {})
        for name, number in more.items():
            self.counters[name] += number

    def watch(self) -> QuietWatch:
        return QuietWatch(443, clock=lambda: self.now, read=self.read)


def measured(watch: QuietWatch) -> tuple[str, object, str]:
    found = watch.measured()
    return found.by, found.interval_seconds, found.option


def one(program: Program, seconds: float = QUIET, **changes: object) -> tuple[str, object, str]:
    watch = program.watch()
    watch.look(1)
    program.pass_(seconds, **changes)  # type: ignore[arg-type]  # counters and ages, as the tests name them
    watch.look(1)
    return measured(watch)


def test_silence_is_none() -> None:
    """The user's table says "no keepalive" for what sends nothing."""
    assert one(Program()) == ("none", None, "off")


def test_a_short_silence_says_nothing() -> None:
    """30 s without a segment prove nothing of a server that sends every 180 s."""
    assert one(Program(), 30.0)[0] == "unknown"


def test_answers_to_the_clients_probes() -> None:
    """They are acknowledgements that our kernel takes in."""
    found = one(Program(ON), segs_in=19, segs_out=19, ages={"last_ack_recv_seconds": 20.0})
    assert found == ("client", pytest.approx(31, abs=0.1), "on 30/10/3")


def test_the_servers_probes() -> None:
    """Our kernel answers them and takes in no acknowledgement."""
    assert one(Program(), segs_in=3, segs_out=3) == ("server", pytest.approx(196.7, abs=0.1), "off")


def test_the_servers_probes_are_not_credited_to_an_option() -> None:
    """A program whose keepalive begins after two hours is saved by the server, not by itself."""
    late = Options(True, 7200, 75, 9, 0.0)
    assert one(Program(late), segs_in=3, segs_out=3)[0] == "server"


def test_more_than_the_client_can_have_sent_is_both() -> None:
    """A server's keepalive that hides behind the client's is what saves the client when its own is removed."""
    assert one(Program(ON), segs_in=22, segs_out=22, ages={"last_ack_recv_seconds": 20.0})[0] == "both"


def test_unanswered_probes_are_the_clients() -> None:
    """On a dead path they go out and nothing comes in."""
    assert one(Program(ON), segs_out=3)[0] == "client"


def data(came: tuple[int, ...] = (), went: tuple[int, ...] = (), *, probes: int = 0) -> dict[str, int]:
    """Counters after segments of so many octets each way, all acknowledged, and so many probes without data."""
    return {
        "segs_in": len(came) + len(went) + probes,
        "segs_out": len(came) + len(went) + probes,
        "data_segs_in": len(came),
        "data_segs_out": len(went),
        "bytes_received": sum(came),
        "bytes_acked": sum(went),
    }


CLIENT_FIRST = {"last_data_sent_seconds": 10.1, "last_data_recv_seconds": 10.0, "last_ack_recv_seconds": 10.0}
SERVER_FIRST = {"last_data_sent_seconds": 10.0, "last_data_recv_seconds": 10.1, "last_ack_recv_seconds": 10.0}
PINGS = (39,) * 19
BOOKMARKS = (97, 98) * 5
ENDED_AND_BEGUN = (31, 89)
"""What came when a watch ended and was asked for anew over HTTP/2; the request for it had 157 octets."""


@pytest.mark.parametrize("octets", [38, 39, 46])
def test_pings_belong_to_who_sends_first(octets: int) -> None:
    """HTTP/2 pings are data; the later of the two ages is the answer."""
    pings = data((octets,) * 19, (octets,) * 19)
    assert one(Program(), ages=CLIENT_FIRST, **pings)[:2] == ("client", pytest.approx(31, abs=0.1))
    assert one(Program(), ages=SERVER_FIRST, **pings)[0] == "server"
    assert one(Program(), ages=dict.fromkeys(CLIENT_FIRST, 10.0), **pings)[0] == "both"


def test_pings_of_a_websocket_are_masked_one_way_only() -> None:
    """Else the Java client's keepalive, which is of this kind, is not seen."""
    assert one(Program(), ages=CLIENT_FIRST, **data((24,) * 19, (28,) * 19))[0] == "client"
    assert one(Program(), ages=CLIENT_FIRST, **data((28,) * 19, (28,) * 19))[0] == "unknown"


def test_bookmarks_are_the_servers() -> None:
    """Data that comes without any being sent."""
    found = one(Program(), **data((190,) * 9))
    assert found == ("server", pytest.approx(65.6, abs=0.1), "off")


def test_pings_beside_bookmarks_are_both() -> None:
    """Else client-go's pings hide what saves a client that asks for bookmarks and does not ping."""
    found = one(Program(), ages=CLIENT_FIRST, **data(PINGS + BOOKMARKS, PINGS))
    assert found[:2] == ("both", pytest.approx(590 / 29, abs=0.1))


def test_the_clients_probes_beside_bookmarks_are_both() -> None:
    """Else "by server" is said of a client that has keepalive of its own."""
    assert one(Program(ON), **data((190,) * 9, probes=9))[0] == "both"
    assert one(Program(), **data((190,) * 2, probes=2))[0] == "server"
    late = Options(True, 7200, 75, 9, 0.0)
    assert one(Program(late), **data((190,) * 2, probes=2))[0] == "unknown"  # whose they are, nobody knows


@pytest.mark.parametrize("octets", [900, 257])
def test_a_touch_is_no_keepalive(octets: int) -> None:
    """Its event is far larger than a ping; the time around it is left out."""
    assert one(Program(), **data((octets,)))[0] == "unknown"


@pytest.mark.parametrize(
    ("came", "went"),
    [
        pytest.param((27, 363), (959,), id="anew over HTTP/1.1"),
        pytest.param((27, 211), (250,), id="anew over HTTP/1.1, without a token"),
        pytest.param(ENDED_AND_BEGUN, (157,), id="anew over HTTP/2"),
        pytest.param(ENDED_AND_BEGUN * 5, (100,) * 5, id="anew over HTTP/2, every 100 s"),
        pytest.param(PINGS + ENDED_AND_BEGUN, (*PINGS, 157), id="anew between pings"),
        pytest.param(PINGS + BOOKMARKS + ENDED_AND_BEGUN, (*PINGS, 157), id="anew between pings and bookmarks"),
        pytest.param(BOOKMARKS, (35,), id="a WINDOW_UPDATE after bookmarks"),
        pytest.param(PINGS + BOOKMARKS, (*PINGS, 48), id="a WINDOW_UPDATE between pings and bookmarks"),
        pytest.param((27,), (), id="ended over HTTP/1.1, begun on another connection"),
        pytest.param((31,), (), id="ended over HTTP/2, begun on another connection"),
        pytest.param((*PINGS, 31), PINGS, id="ended between pings"),
        pytest.param((), (39,), id="a ping that nobody answers"),
        pytest.param(PINGS, (*PINGS, 39), id="a ping sent twice, its answer once"),
    ],
)
def test_a_watch_that_begins_anew_is_no_keepalive(came: tuple[int, ...], went: tuple[int, ...]) -> None:
    """The API server ends each watch after 30 to 60 minutes: a table in which it has keepalive since then is untrue."""
    assert one(Program(ON), ages=SERVER_FIRST, **data(came, went, probes=19))[0] == "unknown"
    assert one(Program(), ages=CLIENT_FIRST, **data(came, went))[0] == "unknown"


def test_what_was_measured_before_a_watch_began_anew_stands() -> None:
    """A soak of 75 minutes has one such interval: "by client and server" was said of 30/10/3 because of it."""
    program = Program(ON)
    watch = program.watch()
    watch.look(1)
    program.pass_(segs_in=19, segs_out=19, ages={"last_ack_recv_seconds": 20.0})
    watch.look(1)
    watch.pause()
    watch.look(1)
    program.pass_(
        segs_in=21, segs_out=21, data_segs_in=2, data_segs_out=1, bytes_received=390, bytes_acked=959, ages=CLIENT_FIRST
    )
    watch.look(1)
    assert measured(watch) == ("client", pytest.approx(31, abs=0.1), "on 30/10/3")
    assert watch.measured().quiet_seconds == QUIET


def test_a_late_acknowledgement_of_the_touch_is_no_sign() -> None:
    """The other side's comes up to 200 ms after what we sent; a probe would have been answered."""
    program = Program()
    program.ages = dict.fromkeys(program.ages, 0.01)
    assert one(program, segs_in=1)[0] == "none"
    assert one(Program(), segs_in=1)[0] == "unknown"


def test_a_pause_leaves_the_touch_out() -> None:
    """The traffic between ``pause`` and the next look counts for nobody."""
    program = Program()
    watch = program.watch()
    watch.look(1)
    program.pass_()
    watch.look(1)
    watch.pause()
    program.pass_(1, segs_in=2, segs_out=2)
    watch.look(1)
    program.pass_()
    watch.look(1)
    assert measured(watch) == ("none", None, "off")
    assert watch.measured().quiet_seconds == 2 * QUIET


def test_a_delayed_acknowledgement_of_the_touch_is_no_sign() -> None:
    """It goes out up to 200 ms after the touch was observed."""
    program = Program()
    program.ages = dict.fromkeys(program.ages, 0.01)
    assert one(program, segs_out=1)[0] == "none"


def test_another_connection_begins_anew() -> None:
    """Counters of two connections must not be subtracted from each other."""
    program = Program()
    watch = program.watch()
    watch.look(1)
    program.pass_(segs_in=50, segs_out=50)
    program.inode = 8
    watch.look(1)
    assert measured(watch)[0] == "unknown"


def test_where_options_are_refused_the_timer_tells() -> None:
    """In a restricted pod the numbers of interval and count stay unknown, that there is keepalive does not."""
    program = Program(None)
    program.ages = dict.fromkeys(program.ages, 2.0)
    program.timer_seconds = 28.0
    watch = program.watch()
    watch.look(1)
    assert watch.measured().option == "on 30/?/?"


def test_what_cannot_be_read_is_unknown_with_the_reason() -> None:
    """The supervisor must go on, and the table must not say "none"."""
    program = Program()
    program.fails = PermissionError(13, "Permission denied")
    watch = program.watch()
    watch.look(1)
    watch.look(1)
    by, _, option = measured(watch)
    assert by == "unknown"
    assert "Permission denied" in option


def test_a_process_that_is_gone() -> None:
    """No error reaches the supervisor: the program may die at any moment."""
    watch = QuietWatch()
    watch.look(2**22 - 1)
    assert watch.measured().by == "unknown"
    assert "cannot be read" in describe(2**22 - 1)


def test_sockets_are_described_within_bounds() -> None:
    """A program with hundreds of sockets must not make a failure's ConfigMap too large."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pairs = [socket.create_connection(server.getsockname()) for _ in range(60)]
        try:
            text = describe(os.getpid())
        finally:
            for each in pairs:
                each.close()
    assert len(text) <= MOST_DESCRIBED
    assert "-> 127.0.0.1:" in text
