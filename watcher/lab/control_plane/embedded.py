"""The embedded control plane as a process: ``python -m watcher.lab.control_plane.embedded --listen …``.

A small imitation of kube-apiserver for the lab, where no real one is there. It says on standard output, one JSON
object a line, when it is ready, what it could not serve (that cell needs the real control plane) and which watches
ended; standard error is its log. Whoever starts it must read its output. SIGTERM, unless it is told to ignore that, and
SIGINT end it cleanly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from watcher.errors import UsageError
from watcher.lab.control_plane.discovery import VERSION
from watcher.lab.control_plane.listeners import Listener
from watcher.lab.control_plane.server import serve
from watcher.lab.control_plane.watches import Timers

TOKEN_VARIABLE = "WATCHER_CONTROL_PLANE_TOKEN"  # noqa: S105 - the name of the variable, not a token


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return seconds


def _range(text: str) -> tuple[float, float]:
    least, _, most = text.partition("-")
    seconds = _positive(least), _positive(most)
    if seconds[0] > seconds[1]:
        raise argparse.ArgumentTypeError(f"{text!r}: the first must not be more than the second")
    return seconds


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _listener(text: str) -> Listener:
    try:
        return Listener.parse(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parser() -> argparse.ArgumentParser:
    known = Timers()
    this = argparse.ArgumentParser(
        prog="python -m watcher.lab.control_plane.embedded", description=__doc__, allow_abbrev=False
    )
    this.add_argument(
        "--listen",
        type=_listener,
        action="append",
        required=True,
        metavar="ADDRESS:PORT,keepalive=off|IDLE/INTERVAL/COUNT[,alpn=http/1.1]",
    )
    this.add_argument("--certificate", type=Path, required=True, help="PEM file: the serving certificate and its chain")
    this.add_argument("--key", type=Path, required=True, help="PEM file: the certificate's key")
    this.add_argument(
        "--token-file", type=Path, help=f"holds the bearer token; without it {TOKEN_VARIABLE} must be set"
    )
    this.add_argument("--bookmark-interval", type=_positive, default=known.bookmark_interval_seconds, metavar="SECONDS")
    this.add_argument(
        "--bookmark-lead",
        type=_positive,
        default=known.bookmark_lead_seconds,
        metavar="SECONDS",
        help="how long before a watch's time is up its last bookmark comes",
    )
    this.add_argument(
        "--watch-timeout",
        type=_range,
        default=known.watch_timeout_seconds,
        metavar="LEAST-MOST",
        help="seconds: a watch without timeoutSeconds ends at a random time between them",
    )
    this.add_argument("--idle-timeout", type=_positive, default=known.idle_timeout_seconds, metavar="SECONDS")
    this.add_argument("--freshness", type=_positive, default=known.freshness_seconds, metavar="SECONDS")
    this.add_argument("--history", type=_count, default=1000, metavar="CHANGES", help="kept for watches that resume")
    this.add_argument("--watch-queue", type=_count, default=1000, metavar="CHANGES", help="a slower watcher is ended")
    this.add_argument("--ignore-sigterm", action="store_true", help="go on until SIGINT or SIGKILL")
    this.add_argument("--exit-with-stdin", action="store_true", help="end when standard input does")
    return this


def _token(file: Path | None) -> str:
    try:
        token = file.read_text() if file else os.environ.get(TOKEN_VARIABLE, "")
    except OSError as error:
        raise UsageError(f"cannot read the token file: {error}") from error
    if not token.strip():
        raise UsageError("no bearer token", advice=f"--token-file FILE, or {TOKEN_VARIABLE} in the environment")
    return token.strip()


def say(what: dict[str, object]) -> None:
    """One line, written at once and whole. Ends the process when nobody reads any more."""
    try:
        os.write(1, json.dumps(what).encode() + b"\n")
    except BrokenPipeError:
        signal.raise_signal(signal.SIGINT)  # whatever is made of SIGTERM


def _ignored() -> None:
    logging.getLogger(__name__).warning("SIGTERM: ignored, as it was told to")


def _end_with_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def read() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=read, name="standard input", daemon=True).start()


async def _run(arguments: argparse.Namespace, token: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGTERM, _ignored if arguments.ignore_sigterm else stop.set)
    if arguments.exit_with_stdin:
        _end_with_stdin(loop, stop)
    timers = Timers(
        bookmark_interval_seconds=arguments.bookmark_interval,
        bookmark_lead_seconds=arguments.bookmark_lead,
        watch_timeout_seconds=arguments.watch_timeout,
        idle_timeout_seconds=arguments.idle_timeout,
        freshness_seconds=arguments.freshness,
    )
    async with serve(
        arguments.listen,
        token=token,
        certificate=(arguments.certificate, arguments.key),
        timers=timers,
        history_limit=arguments.history,
        watch_limit=arguments.watch_queue,
        report=say,
    ) as server:
        say({"event": "ready", "listen": list(server.addresses), "version": VERSION})
        await stop.wait()


def main() -> int:
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        asyncio.run(_run(arguments, _token(arguments.token_file)))
    except UsageError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        print(f"the embedded control plane cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
