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


class Program:
    """A program's socket whose counters a test moves."""

    def __init__(self, options: Options | None = OFF) -> None:
        self.now = 0.0
        self.options = options
        self.counters = dict.fromkeys(("segs_in", "segs_out", "data_segs_in", "data_segs_out", "bytes_received"), 100)
        self.ages = {"last_data_sent_seconds": 5.0, "last_data_recv_seconds": 5.0, "last_ack_recv_seconds": 5.0}
        self.timer_seconds: float | None = None
        self.inode = 7
        self.fails: OSError | None = None

    def read(self, _: int) -> Mapping[int, tuple[Row, Options | None]]:
        if self.fails is not None:
            raise self.fails
        quiet = TcpInfo(ESTABLISHED, 0, 0, 0, 0.0, 0.0, 0.0, bytes_acked=1)
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


def test_pings_belong_to_who_sends_first() -> None:
    """HTTP/2 pings are data; the later of the two ages is the answer."""
    pings = {"segs_in": 19, "segs_out": 38, "data_segs_in": 19, "data_segs_out": 19, "bytes_received": 19 * 39}
    client = {"last_data_sent_seconds": 10.1, "last_data_recv_seconds": 10.0, "last_ack_recv_seconds": 10.0}
    server = {"last_data_sent_seconds": 10.0, "last_data_recv_seconds": 10.1, "last_ack_recv_seconds": 10.0}
    same = dict.fromkeys(client, 10.0)
    assert one(Program(), ages=client, **pings)[0] == "client"
    assert one(Program(), ages=server, **pings)[0] == "server"
    assert one(Program(), ages=same, **pings)[0] == "both"


def test_bookmarks_are_the_servers() -> None:
    """Data that comes without any being sent."""
    found = one(Program(), segs_in=9, segs_out=9, data_segs_in=9, bytes_received=9 * 190)
    assert found == ("server", pytest.approx(65.6, abs=0.1), "off")


def test_a_touch_is_no_keepalive() -> None:
    """Its event is far larger than a ping; the time around it is left out."""
    assert one(Program(), segs_in=1, segs_out=1, data_segs_in=1, bytes_received=900)[0] == "unknown"


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
