"""The servers of ``watcher serve`` over real sockets on loopback: what they say, and what of each connection's end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from watcher.errors import UsageError
from watcher.lab import sockets
from watcher.servers import echo, timer
from watcher.servers.connection import MOST_UNREAD_OCTETS, reason_of
from watcher.servers.echo import Echo
from watcher.servers.timer import Timer

PATIENCE_SECONDS = 35.0
LONG_SECONDS = 600.0


@dataclass
class Serving:
    """A server in this very loop, and what its log has said."""

    control: Path
    said: list[dict[str, Any]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def log(self, event: str, **fields: Any) -> None:
        self.said.append({"event": event, **fields})
        self.changed.set()

    async def until(self, event: str, number: int = 1) -> dict[str, Any]:
        """The log's ``number``-th line of that event."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found := [line for line in self.said if line["event"] == event]) < number:
                self.changed.clear()
                await self.changed.wait()
        return found[number - 1]

    async def give(self, nonce: str, client: str = "127.0.0.1") -> dict[str, Any]:
        return await self.ask(json.dumps({"client": client, "nonce": nonce}).encode() + b"\n")

    async def ask(self, line: bytes) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self.control)
        writer.write(line)
        answer = await reader.readline()
        writer.close()
        return dict(json.loads(answer))


@asynccontextmanager
async def serving(tmp_path: Path, what: str, **options: Any) -> AsyncIterator[tuple[Serving, list[int]]]:
    """The server and its ports; it has ended in order when this is left."""
    control = tmp_path / "control"
    this = Serving(control)
    if what == "timer":
        running = timer.serve(Timer("127.0.0.1", control_file=control, **options), this.log)
    else:
        running = echo.serve(Echo("127.0.0.1", 0, control_file=control, **options), this.log)
    task = asyncio.create_task(running)
    try:
        started = await this.until("serving")
        yield this, [int(port) for port in started["ports"].split(",")]
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await task
        assert this.said[-1]["event"] == "ended"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def line_of(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return (await reader.readline()).decode()


async def test_the_timer_greets_and_ticks_by_its_period(tmp_path: Path) -> None:
    """A server that is silent when it must speak would make every network look dead, and the other way round."""
    async with serving(tmp_path, "timer", periods_seconds={0: 0.05}) as (_, [port]):
        reader, writer = await connect(port)
        greeting = await line_of(reader)
        assert greeting.startswith("Hello! Current time is 20")
        assert "every 0.05 seconds" in greeting
        assert (await line_of(reader)).startswith("Current time is 20")
        assert (await line_of(reader)).startswith("Current time is 20")
        writer.close()


async def test_a_long_period_is_silent(tmp_path: Path) -> None:
    """The mutant of the test above: what ticks there must not tick here, or no idle timeout is ever reached."""
    async with serving(tmp_path, "timer", periods_seconds={0: LONG_SECONDS}) as (_, [port]):
        reader, writer = await connect(port)
        await line_of(reader)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await reader.readline()
        writer.close()


async def test_keepalive_is_off(tmp_path: Path) -> None:
    """Else the server itself would keep alive what is to be shown to die."""
    async with serving(tmp_path, "timer", periods_seconds={0: LONG_SECONDS}) as (this, [port]):
        reader, writer = await connect(port)
        await line_of(reader)
        mine = await asyncio.to_thread(sockets.of_process, os.getpid())
        assert [one.keepalive for one in mine if one.port == port and one.state == "ESTABLISHED"] == [False]
        writer.close()
        await this.until("closed")


async def test_a_value_is_said_at_once_and_to_its_client_alone(tmp_path: Path) -> None:
    """The lab's touch: what comes with the next tick is late by minutes, and what all are told proves nothing."""
    async with serving(tmp_path, "timer", periods_seconds={0: LONG_SECONDS}) as (this, [port]):
        reader, writer = await connect(port)
        assert "nonce" not in await line_of(reader)
        assert await this.give("elsewhere", "127.0.0.9") == {"number": 1}
        assert await this.give("first") == {"number": 1}
        assert (await line_of(reader)).endswith(" nonce=first number=1\n")
        assert await this.give("second") == {"number": 2}
        assert (await line_of(reader)).endswith(" nonce=second number=2\n")
        later, another = await connect(port)
        assert (await line_of(later)).endswith(" nonce=second number=2\n")
        for each in (writer, another):
            each.close()


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[]\n", b'{"client": "127.0.0.1"}\n', b'{"client": 1, "nonce": "a"}\n',
             b'{"client": "127.0.0.1", "nonce": "a b"}\n']
)  # fmt: skip
async def test_what_is_no_value_is_refused(line: bytes, tmp_path: Path) -> None:
    """A touch that failed must be told, never be taken for one that nobody saw."""
    async with serving(tmp_path, "timer", periods_seconds={0: LONG_SECONDS}) as (this, _):
        assert "error" in await this.ask(line)
        assert await this.give("fine") == {"number": 1}


async def test_half_a_value_changes_nothing(tmp_path: Path) -> None:
    """A harness that died in the midst of a line has published nothing."""
    async with serving(tmp_path, "timer", periods_seconds={0: LONG_SECONDS}) as (this, _):
        _, writer = await asyncio.open_unix_connection(this.control)
        writer.write(b'{"client": "127.0.0.1", "nonce": "half"}')
        writer.write_eof()
        writer.close()
        assert await this.give("whole") == {"number": 1}


@pytest.mark.parametrize(("how", "reason"), [("close", "closed by client"), ("reset", "reset by peer")])
async def test_an_end_has_its_reason(how: str, reason: str, tmp_path: Path) -> None:
    """The log is why the server exists: a load balancer's reset must not read like a client that went home."""
    async with serving(tmp_path, "timer", periods_seconds={0: LONG_SECONDS}) as (this, [port]):
        client = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port))
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await asyncio.to_thread(client.recv, 1000)
        own = f"127.0.0.1:{client.getsockname()[1]}"
        client.close()
        end = await this.until("closed")
        assert (end["reason"], end["client"], end["port"], end["lines_sent"]) == (reason, own, port, 1)
        assert 0 <= end["quiet_seconds"] <= end["seconds"] < PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(110, "Connection timed out"), "timed out: nobody answered"),
        (BrokenPipeError(32, "Broken pipe"), "cannot write: the connection is closed"),
        (OSError(113, "No route to host"), "cannot read or write: No route to host"),
        (None, "closed by client"),
    ],
)
def test_what_the_kernel_said_in_words(error: OSError | None, reason: str) -> None:
    """These cannot be had on loopback; a reader of the log needs them all the same."""
    assert reason_of(error, None) == reason


async def test_a_client_that_never_reads_is_ended(tmp_path: Path) -> None:
    """Else one such client after the other fills the memory of a server that runs for weeks."""
    async with serving(tmp_path, "echo") as (this, [port]):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(client.connect, ("127.0.0.1", port))
        client.setblocking(False)
        loop = asyncio.get_running_loop()

        async def talk() -> None:
            while True:
                await loop.sock_sendall(client, b"x" * 1000 + b"\n")

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(talk(), PATIENCE_SECONDS)
        end = await this.until("closed")
        assert end["reason"].startswith("it does not read: ")
        assert MOST_UNREAD_OCTETS < int(end["reason"].split()[4]) < 10 * MOST_UNREAD_OCTETS
        assert int(end["lines_sent"]) * 1001 < 10 * MOST_UNREAD_OCTETS, "megabytes waited in the kernel besides"
        client.close()


async def test_a_client_of_the_timer_that_never_reads(tmp_path: Path) -> None:
    """It says more at every tick for ever: what nobody takes is bounded, and who reads hears it go on."""
    async with serving(tmp_path, "timer", periods_seconds={0: 0.001}) as (this, [port]):
        await this.give("n" * 2000)
        reader, writer = await connect(port)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(deaf.connect, ("127.0.0.1", port))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (ended := [line for line in this.said if line["event"] == "closed"]):
                assert await reader.readline(), "it is the one who reads that was ended"
        address = "{}:{}".format(*deaf.getsockname())
        assert [line["client"] for line in ended] == [address]
        assert ended[0]["reason"].startswith("it does not read: ")
        assert int(ended[0]["lines_sent"]) * 2000 < 10 * MOST_UNREAD_OCTETS, "megabytes waited in the kernel besides"
        await this.give("last")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while b"nonce=last" not in await reader.readline():
                pass
        deaf.close()
        writer.close()


async def test_too_many_connections(tmp_path: Path) -> None:
    """The one too many is told at once, and the others are not disturbed."""
    async with serving(tmp_path, "timer", periods_seconds={0: LONG_SECONDS}, most_connections=1) as (this, [port]):
        first, writer = await connect(port)
        await line_of(first)
        second, another = await connect(port)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(second.read(), PATIENCE_SECONDS) == b""
        assert "the most that are kept" in (await this.until("refused"))["reason"]
        await this.give("still")
        assert "nonce=still" in await line_of(first)
        for each in (writer, another):
            each.close()


async def test_a_port_in_use(tmp_path: Path) -> None:
    """The error names the port and what to do; a traceback names neither."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"cannot listen on 127\.0\.0\.1 port {port}") as caught:
            await timer.serve(Timer("127.0.0.1", {0: 1.0, port: 1.0}), Serving(tmp_path).log)
    assert "another port" in (caught.value.advice or "")


async def test_an_address_that_is_not_here() -> None:
    """As above."""
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1") as caught:
        await timer.serve(Timer("192.0.2.1"), Serving(Path()).log)
    assert "--address" in (caught.value.advice or "")


async def test_its_end_is_told_to_its_clients(tmp_path: Path) -> None:
    """A pod that is deleted in order says goodbye by FIN; its log says that it was itself who ended."""
    async with serving(tmp_path, "timer", periods_seconds={0: LONG_SECONDS}) as (this, [port]):
        reader, writer = await connect(port)
        await line_of(reader)
    assert await reader.read() == b""
    assert [line["reason"] for line in this.said if line["event"] == "closed"] == ["the server ends"]
    writer.close()


async def test_the_echo_answers_with_the_value(tmp_path: Path) -> None:
    """What a client sends comes back, whole lines only, with what the client is to see."""
    async with serving(tmp_path, "echo") as (this, [port]):
        reader, writer = await connect(port)
        writer.write(b"one\ntw")
        assert await line_of(reader) == "one\n"
        await this.give("abc")
        writer.write(b"o\n")
        assert await line_of(reader) == "two nonce=abc number=1\n"
        writer.write(b"half")
        writer.close()
        assert (await this.until("closed"))["reason"] == "closed by client in the midst of a message"


async def test_a_message_without_end(tmp_path: Path) -> None:
    """Memory is bounded by the longest line that is taken."""
    async with serving(tmp_path, "echo") as (this, [port]):
        _, writer = await connect(port)
        writer.write(b"x" * (echo.MOST_LINE_OCTETS + 1))
        assert "more than 4096 octets" in (await this.until("closed"))["reason"]
        writer.close()


async def test_a_proxy_says_whom_it_brings(tmp_path: Path) -> None:
    """Else every client behind a proxy is the proxy, and is told what is another's."""
    periods = {0: LONG_SECONDS}
    async with serving(tmp_path, "timer", periods_seconds=periods, proxy="127.0.0.1") as (this, [port]):
        await this.give("yours", "10.1.2.3")
        reader, writer = await connect(port)
        writer.write(b"PROXY TCP4 10.1.2.3 10.112")
        await asyncio.sleep(0.05)
        writer.write(b".0.1 4711 8600\r\n")
        assert (await line_of(reader)).endswith(" nonce=yours number=1\n")
        assert (await this.until("opened"))["client"] == "10.1.2.3:4711"
        writer.close()


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b"PROXY UNKNOWN\r\n", b"P" * 200])
async def test_a_proxy_that_does_not_say(line: bytes, tmp_path: Path) -> None:
    """It is ended with a reason, not taken for a client that is somebody."""
    periods = {0: LONG_SECONDS}
    async with serving(tmp_path, "timer", periods_seconds=periods, proxy="127.0.0.1") as (this, [port]):
        _, writer = await connect(port)
        writer.write(line)
        assert (await this.until("closed"))["reason"] == "the proxy does not say whose connection it is"
        writer.close()


@pytest.mark.parametrize("deaf", [False, True], ids=["honours-sigterm", "ignores-sigterm"])
@pytest.mark.parametrize(("what", "port_option"), [("echo", "0"), ("timer", "0=0.1")])
async def test_sigterm(what: str, port_option: str, deaf: bool) -> None:
    """The report's server goes on after its pod was deleted, its negative control does not."""
    more = ["--ignore-sigterm"] if deaf else []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "watcher", "serve", what, "--json", "--address", "127.0.0.1", "--port", port_option),
        *more,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            port = int(json.loads(await process.stdout.readline())["ports"])
            reader, writer = await connect(port)
            writer.write(b"before\n")
            assert await line_of(reader)
            process.terminate()
            events = [json.loads(await process.stdout.readline())["event"] for _ in range(2)]
            assert events == ["opened", "ignored" if deaf else "closed"]
            if deaf:
                writer.write(b"after\n")
                for _ in range(10):
                    assert await line_of(reader), "it has ended"
                    writer.write(b"after\n")
                process.kill()
            with suppress(ConnectionResetError):
                await reader.read()
            assert await process.wait() == (-signal.SIGKILL if deaf else 0)
            await process.stdout.read()
        writer.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
