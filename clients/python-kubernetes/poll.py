"""Ask for one ConfigMap now and then with the official Python client; what it reads and prints: CONTRACT.md."""

import json
import os
import platform
import signal
import socket
import ssl
import sys
import threading
import time
from importlib.metadata import version

import urllib3
from kubernetes import client, config, utils

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
PROFILES = {"default", "retry", "read-timeout"} | KEEPALIVE_PROFILES


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def number(name):
    return float(os.environ[f"WATCHER_{name}"])


def end_on_sigterm():
    """In a thread, since Python runs a signal's handler only between two reads, and a quiet watch is one long read."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait():
        signal.sigwait({signal.SIGTERM})
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def socket_options(profile, settings):
    """What ``Configuration.socket_options`` takes. ``Configuration.keep_alive = True`` would be 30/15/9."""
    settings["keepalive"] = True
    if profile == "tcp-keepalive-os":
        return [*urllib3.connection.HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    idle, interval, count = (int(number(f"KEEPALIVE_{name}")) for name in ("IDLE", "INTERVAL", "COUNT"))
    settings |= {"keepalive_idle_seconds": idle, "keepalive_interval_seconds": interval, "keepalive_count": count}
    options = utils.tcp_keepalive_socket_options(idle, interval, count)
    if profile == "tcp-user-timeout":
        settings["user_timeout_seconds"] = number("USER_TIMEOUT")
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(number("USER_TIMEOUT") * 1000)))
    return options


def main():
    end_on_sigterm()
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    settings, arguments = {}, {}

    if os.environ.get("KUBECONFIG"):
        config.load_kube_config()
    else:
        config.load_incluster_config()
    configuration = client.Configuration.get_default_copy()
    if profile in KEEPALIVE_PROFILES:
        configuration.socket_options = socket_options(profile, settings)
    if profile == "read-timeout":
        settings["read_timeout_seconds"] = number("READ_TIMEOUT")
        arguments["_request_timeout"] = (number("READ_TIMEOUT"), number("READ_TIMEOUT"))  # connect, read
    if profile != "default":
        settings["retry_seconds"] = number("RETRY_SECONDS")

    v1 = client.CoreV1Api(client.ApiClient(configuration))  # one for all requests, so that it can keep its connection
    asked = 0

    def ask():
        nonlocal asked
        asked += 1
        emit("asked", id=str(asked))
        config_map = v1.read_namespaced_config_map(
            os.environ["WATCHER_NAME"], os.environ["WATCHER_NAMESPACE"], **arguments
        )
        nonce = (config_map.data or {}).get("nonce", "")
        emit("observed", nonce=nonce, resourceVersion=config_map.metadata.resource_version)

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    emit("started", library="kubernetes", version=version("kubernetes"), runtime=runtime, settings=settings)
    emit("watching")
    while True:
        try:
            ask()
        except (client.ApiException, urllib3.exceptions.HTTPError) as error:
            if profile == "default":
                raise
            emit("error", message=repr(error))
            time.sleep(settings["retry_seconds"])
        else:
            time.sleep(number("POLL_SECONDS"))


if __name__ == "__main__":
    main()
