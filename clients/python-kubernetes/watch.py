"""Watch one ConfigMap with ``Watch`` of the official Python client; what it reads and prints: CONTRACT.md."""

import functools
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
from kubernetes import client, config, utils, watch

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
PROFILES = {"default", "retry", "read-timeout", "watch-timeout", "bookmarks"}
if hasattr(client.Configuration(), "socket_options"):  # since 36.0.0
    PROFILES |= KEEPALIVE_PROFILES


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
    if profile == "watch-timeout":
        settings["watch_timeout_seconds"] = arguments["timeout_seconds"] = int(number("WATCH_TIMEOUT"))
    if profile == "bookmarks":
        settings["bookmarks"] = arguments["allow_watch_bookmarks"] = True
    if profile != "default":
        settings["retry_seconds"] = number("RETRY_SECONDS")

    v1 = client.CoreV1Api(client.ApiClient(configuration))

    @functools.wraps(v1.list_namespaced_config_map)  # Watch reads the type of its events off the function
    def list_config_maps(*args, **kwargs):
        response = v1.list_namespaced_config_map(*args, **kwargs)
        emit("watching")  # answered; Watch itself has no hook for this, and also asks anew when a watch has ended
        return response

    def watch_once():
        w = watch.Watch()
        selector = f"metadata.name={os.environ['WATCHER_NAME']}"
        for event in w.stream(list_config_maps, os.environ["WATCHER_NAMESPACE"], field_selector=selector, **arguments):
            if event["type"] in ("ADDED", "MODIFIED"):
                config_map = event["object"]
                nonce = (config_map.data or {}).get("nonce", "")
                emit("observed", nonce=nonce, resourceVersion=config_map.metadata.resource_version)
        emit("ended", reason="the stream ended")

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    emit("started", library="kubernetes", version=version("kubernetes"), runtime=runtime, settings=settings)
    if profile == "default":
        watch_once()
        return
    while True:
        try:
            watch_once()
        except (client.ApiException, urllib3.exceptions.HTTPError) as error:
            emit("error", message=repr(error))
        time.sleep(settings["retry_seconds"])


if __name__ == "__main__":
    main()
