"""What the programs of this folder share: the contract's lines, and what a profile sets on a socket."""

import json
import os
import platform
import re
import signal
import socket
import sys
import threading
import time

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
PROFILES = {"default", "retry", "read-timeout"} | KEEPALIVE_PROFILES


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def number(name):
    return float(os.environ[f"WATCHER_{name}"])


def observed(line):
    """Says what stands at the line's end, where the server has put anything there."""
    if found := re.search(r" nonce=(\w+) number=(\w+)\n", line):
        emit("observed", nonce=found[1], resourceVersion=found[2])


def end_on_sigterm():
    """In a thread, since Python runs a signal's handler only between two reads, and a quiet time is one long read."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait():
        signal.sigwait({signal.SIGTERM})
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def connect(profile, settings):
    host, _, port = os.environ["WATCHER_ADDRESS"].rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=settings.get("read_timeout_seconds"))
    if profile in KEEPALIVE_PROFILES:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if profile in ("tcp-keepalive", "tcp-user-timeout"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, settings["keepalive_idle_seconds"])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, settings["keepalive_interval_seconds"])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, settings["keepalive_count"])
    if profile == "tcp-user-timeout":
        milliseconds = round(settings["user_timeout_seconds"] * 1000)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return connection


def settings_of(profile):
    settings = {}
    if profile != "default":
        settings["retry_seconds"] = number("RETRY_SECONDS")
    if profile in KEEPALIVE_PROFILES:
        settings["keepalive"] = True
    if profile in ("tcp-keepalive", "tcp-user-timeout"):
        settings["keepalive_idle_seconds"] = int(number("KEEPALIVE_IDLE"))
        settings["keepalive_interval_seconds"] = int(number("KEEPALIVE_INTERVAL"))
        settings["keepalive_count"] = int(number("KEEPALIVE_COUNT"))
    if profile == "tcp-user-timeout":
        settings["user_timeout_seconds"] = number("USER_TIMEOUT")
    if profile == "read-timeout":
        settings["read_timeout_seconds"] = number("READ_TIMEOUT")
    return settings


def run(talk):
    """Calls ``talk(connection)``, in every profile but `default` again and again."""
    end_on_sigterm()
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    settings = settings_of(profile)
    runtime = f"{platform.python_implementation()} {platform.python_version()}"
    emit("started", library="socket", version=platform.python_version(), runtime=runtime, settings=settings)

    def once():
        with connect(profile, settings) as connection:
            talk(connection)
        emit("ended", reason="the server closed the connection")

    if profile == "default":
        once()
        return
    while True:
        try:
            once()
        except OSError as error:
            emit("error", message=repr(error))
        time.sleep(settings["retry_seconds"])
