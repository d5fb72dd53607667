"""``watcher serve``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from watcher.errors import UsageError

TIMER_EPILOG = """
**Examples**

`watcher serve timer` : the time every 5 s on port 8005, every 600 s on port 8600

`curl --no-keepalive --http0.9 ADDRESS:8600` : what does the network between do to a connection that is quiet so long?

`watcher serve timer --port 9000=60 --port 9001=1800 --json` : other ports and periods, a log for machines

**Exit status:** 0 ended by SIGTERM or SIGINT; 2 wrong usage, also a port that is in use.
"""
ECHO_EPILOG = """
**Examples**

`watcher serve echo --ignore-sigterm` : a pod that goes on for its whole grace period after it was deleted

**Exit status:** 0 ended by SIGTERM or SIGINT; 2 wrong usage, also a port that is in use.
"""
MOST_PERIOD_SECONDS = 7 * 86_400.0

Address = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Where to listen; :: is all of IPv6, mostly of IPv4 too.")
]
Most = Annotated[
    int, typer.Option(min=1, max=100_000, metavar="N", help="Connections at once; more are closed at once.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The log as JSON, a line an event.")]
Proxy = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="A proxy before it that says whom it brings: PROXY protocol 1, as HAProxy's send-proxy does.",
    ),
]
IgnoreSigterm = Annotated[
    bool, typer.Option("--ignore-sigterm", help="Log SIGTERM and go on; SIGINT and SIGKILL end it.")
]
ControlFile = Annotated[
    Path | None,
    typer.Option("--control", metavar="FILE", help="A Unix socket, made here: the lab gives a client its nonce by it."),
]

serve = typer.Typer(
    no_args_is_help=True,
    help="Serve something that is no Kubernetes API, to hold a long-lived connection to.",
    rich_markup_mode="markdown",
)


@serve.command("timer", epilog=TIMER_EPILOG)
def timer(
    port: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PORT=SECONDS", help="A port and its period; repeatable. [8005=5 8600=600]", show_default=False
        ),
    ] = None,
    address: Address = "0.0.0.0",  # noqa: S104 - it is there to be reached through a network
    most: Most = 1000,
    proxy: Proxy = None,
    as_json: AsJson = False,
    control: ControlFile = None,
    ignore_sigterm: IgnoreSigterm = False,
) -> None:
    """Greet every client and then tell it the time, every so many seconds.

    Between two lines nothing is sent: TCP keepalive is off on purpose. The log names each connection's end with its
    reason: reset by peer, timed out, closed by client. A client that never reads is ended when more than 64 KiB wait
    for it beyond what the kernels' buffers take. It speaks to everybody who reaches it and knows no secret.
    """
    import asyncio

    from watcher.servers import timer as server
    from watcher.servers.log import lines

    periods = parse_periods(port) if port else server.PERIODS_SECONDS
    wanted = server.Timer(address, periods, most, proxy, control, ignore_sigterm)
    asyncio.run(server.serve(wanted, lines(_write, as_json=as_json)))


@serve.command("echo", epilog=ECHO_EPILOG)
def echo(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT")] = 8000,
    address: Address = "0.0.0.0",  # noqa: S104 - it is there to be reached through a network
    ignore_sigterm: IgnoreSigterm = False,
    most: Most = 1000,
    proxy: Proxy = None,
    as_json: AsJson = False,
    control: ControlFile = None,
) -> None:
    """Answer every line with the same line. TCP keepalive is off."""
    import asyncio

    from watcher.servers import echo as server
    from watcher.servers.log import lines

    wanted = server.Echo(address, port, ignore_sigterm, most, proxy, control)
    asyncio.run(server.serve(wanted, lines(_write, as_json=as_json)))


def parse_periods(given: list[str]) -> dict[int, float]:
    """``8005=5``: seconds by port. Raises UsageError."""
    periods: dict[int, float] = {}
    for text in given:
        port, equals, seconds = text.partition("=")
        try:
            number, period = int(port), float(seconds)
        except ValueError as error:
            raise UsageError(f"not PORT=SECONDS: {text!r}", advice="for example --port 8005=5") from error
        if not (equals and 0 <= number <= 65535 and math.isfinite(period) and 0 < period <= MOST_PERIOD_SECONDS):
            advice = f"a port is at most 65535; a period above 0 and at most {MOST_PERIOD_SECONDS:g} s"
            raise UsageError(f"not PORT=SECONDS: {text!r}", advice=advice)
        if number in periods:
            raise UsageError(f"port {number} is given twice", advice="each port has one period")
        periods[number] = period
    return periods


def _write(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()
