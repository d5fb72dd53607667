"""Subscribe to one subject with nats-py; what it reads and prints: CONTRACT.md."""

import asyncio
import json
import os
import platform
import signal
import ssl
import sys
from importlib.metadata import version

import nats

# No TCP settings: nats-py makes its sockets itself. It connects anew by itself, 60 times; `retry` is for ever.
PROFILES = {"default", "retry", "ping"}


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def number(name):
    return float(os.environ[f"WATCHER_{name}"])


def options_of(profile):
    """What `nats.connect` is given for this profile, and what that means in the contract's words."""
    if profile == "default":
        return {}, {}
    options = {"reconnect_time_wait": number("RETRY_SECONDS"), "max_reconnect_attempts": -1}
    settings = {"retry_seconds": options["reconnect_time_wait"]}
    if profile == "ping":
        # One number for both: a PING that is unanswered when the next is due ends the connection.
        options |= {"ping_interval": number("PING_IDLE"), "max_outstanding_pings": 1}
        settings |= {"ping_idle_seconds": options["ping_interval"], "ping_timeout_seconds": options["ping_interval"]}
    return options, settings


async def main(profile):
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    options, settings = options_of(profile)

    async def on_error(error):
        emit("error", message=repr(error))

    async def on_disconnected():
        emit("error", message="disconnected")

    async def on_reconnected():
        emit("watching")  # its subscriptions are made again before it says so

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    emit("started", library="nats-py", version=version("nats-py"), runtime=runtime, settings=settings)
    connection = await nats.connect(
        f"nats://{os.environ['WATCHER_ADDRESS']}",
        error_cb=on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=on_reconnected,
        **options,
    )
    subscription = await connection.subscribe(os.environ["WATCHER_NAMESPACE"])
    await connection.flush()  # answered, so that the server knows of the subscription
    emit("watching")
    async for message in subscription.messages:
        # A subject has no versions: how many have come is all there is.
        emit("observed", nonce=message.data.decode(), resourceVersion=str(subscription.delivered))
    sys.exit(f"the connection was closed: {connection.last_error!r}")


if __name__ == "__main__":
    if os.environ["WATCHER_PROFILE"] not in PROFILES:
        sys.exit(127)
    asyncio.run(main(os.environ["WATCHER_PROFILE"]))
