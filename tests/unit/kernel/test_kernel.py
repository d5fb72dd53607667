"""What Linux tells of real sockets, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from watcher.kernel import duplicates, processes, sock_diag, tcp_info
from watcher.kernel.tcp_info import TcpInfo

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what only Linux tells")

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with (
        socket.create_server((request.param, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            yield client, accepted


def settled(of: socket.socket, done: Callable[[TcpInfo], bool]) -> TcpInfo:
    """What the kernel says when that is so: on a busy machine a segment comes a moment after it was sent."""
    until = time.monotonic() + 30
    while not done(found := tcp_info.of(of)) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def test_counters_move_with_data(pair: Pair) -> None:
    """Else what was acknowledged, and what came, is not told apart."""
    client, server = pair
    before = tcp_info.of(client)
    client.sendall(b"four")
    server.recv(10)
    after = settled(client, lambda info: info.unacked == 0)
    assert after.state_name == "ESTABLISHED"
    assert (after.bytes_acked or 0) - (before.bytes_acked or 0) == 4
    assert (after.data_segs_out or 0) - (before.data_segs_out or 0) == 1
    assert after.unacked == 0
    assert (tcp_info.of(server).bytes_received or 0) == 4


def test_fin_and_rst_differ(pair: Pair) -> None:
    """Closed in order, and reset: the two are different endings of a path."""
    client, server = pair
    server.shutdown(socket.SHUT_WR)
    assert settled(client, lambda info: info.state != tcp_info.ESTABLISHED).state == tcp_info.CLOSE_WAIT
    client.sendall(b"unread")
    server.close()
    assert settled(client, lambda info: info.state != tcp_info.CLOSE_WAIT).state == tcp_info.CLOSE


def test_netlink_lists_the_same(pair: Pair) -> None:
    """Without privilege, by the inode that /proc gives for a descriptor."""
    client, _ = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    row = sock_diag.rows()[processes.socket_files(os.getpid())[client.fileno()]]
    assert row.local == client.getsockname()[:2]
    assert row.remote == client.getpeername()[:2]
    assert row.timer == "keepalive"
    assert row.info is not None
    assert row.info.segs_out == tcp_info.of(client).segs_out


def test_an_older_kernel_gives_less() -> None:
    """Fields that are not there are None, never what lies behind the end."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        data = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 512)
    whole = tcp_info.parse(data)
    assert whole.data_segs_out is not None
    for length, missing in ((104, "bytes_acked"), (136, "segs_out"), (152, "data_segs_in"), (156, "data_segs_out")):
        short = tcp_info.parse(data[:length])
        assert getattr(short, missing) is None
        assert short.state == whole.state
    with pytest.raises(ValueError, match="TCP_INFO of 20 octets"):
        tcp_info.parse(data[:20])


CHILD = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33)
print(client.fileno(), flush=True)
sys.stdin.read()
"""


def test_options_of_a_child_are_its_own() -> None:
    """What is reported as keepalive is what the socket has, whatever the program says."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        number = int(child.stdout.readline())
        inode = processes.socket_files(child.pid)[number]
        options = duplicates.options(child.pid)[inode]
        assert child.pid in processes.family(os.getpid())
        child.kill()
    assert options.keepalive
    assert str(options).startswith("on 33/")


def test_a_process_that_is_gone_raises() -> None:
    """So that "nothing there" is never taken for "no sockets"."""
    with pytest.raises(OSError, match="No such process"):
        duplicates.options(2**22 - 1)
    with pytest.raises(FileNotFoundError):
        processes.socket_files(2**22 - 1)
