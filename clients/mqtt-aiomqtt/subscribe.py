"""Subscribe to one topic with aiomqtt; what it reads and prints: CONTRACT.md."""

import asyncio
import json
import math
import os
import platform
import signal
import socket
import ssl
import sys
from importlib.metadata import version
from itertools import count

import aiomqtt

PROFILES = {"default", "retry", "tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout", "ping"}


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def number(name):
    return float(os.environ[f"WATCHER_{name}"])


def options_of(profile):
    """What the client is made with for this profile, and what that means in the contract's words."""
    if profile == "default":
        return {}, {}
    options, settings = {}, {"retry_seconds": number("RETRY_SECONDS")}
    if profile == "ping":
        # MQTT has whole seconds, and one number for both: a PINGREQ that is unanswered so long ends the connection.
        options["keepalive"] = math.ceil(number("PING_IDLE"))
        settings |= {"ping_idle_seconds": options["keepalive"], "ping_timeout_seconds": options["keepalive"]}
    elif profile.startswith("tcp-"):
        options["socket_options"] = socket_options(profile, settings)
    return options, settings


def socket_options(profile, settings):
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    settings["keepalive"] = True
    if profile == "tcp-keepalive-os":
        return options
    for name, option in (("IDLE", "TCP_KEEPIDLE"), ("INTERVAL", "TCP_KEEPINTVL"), ("COUNT", "TCP_KEEPCNT")):
        value = int(number(f"KEEPALIVE_{name}"))
        options.append((socket.IPPROTO_TCP, getattr(socket, option), value))
        settings["keepalive_count" if name == "COUNT" else f"keepalive_{name.lower()}_seconds"] = value
    if profile == "tcp-user-timeout":
        settings["user_timeout_seconds"] = number("USER_TIMEOUT")
        milliseconds = int(settings["user_timeout_seconds"] * 1000)
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds))
    return options


async def subscribe(options, numbers):
    host, port = os.environ["WATCHER_ADDRESS"].rsplit(":", 1)
    async with aiomqtt.Client(host, int(port), **options) as client:
        await client.subscribe(os.environ["WATCHER_NAMESPACE"])
        emit("watching")
        async for message in client.messages:
            # A topic has no versions: how many have come is all there is.
            emit("observed", nonce=message.payload.decode(), resourceVersion=str(next(numbers)))
    emit("ended", reason="no more messages")


async def main(profile):
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    options, settings = options_of(profile)
    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    library = {"library": "aiomqtt", "version": version("aiomqtt")}
    emit("started", **library, runtime=f"{runtime}, paho-mqtt {version('paho-mqtt')}", settings=settings)
    numbers = count(1)
    if profile == "default":
        await subscribe(options, numbers)
        return
    while True:
        try:
            await subscribe(options, numbers)
        except aiomqtt.MqttError as error:
            emit("error", message=repr(error))
        await asyncio.sleep(settings["retry_seconds"])


if __name__ == "__main__":
    if os.environ["WATCHER_PROFILE"] not in PROFILES:
        sys.exit(127)
    asyncio.run(main(os.environ["WATCHER_PROFILE"]))
