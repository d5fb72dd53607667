"""Watch one ConfigMap with pykube-ng; what it reads and prints: CONTRACT.md."""

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

import pykube
import requests
import urllib3

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
PROFILES = {"default", "retry", "read-timeout", "watch-timeout", "bookmarks"} | KEEPALIVE_PROFILES


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
    """What urllib3's pools take; it replaces urllib3's own, so those are kept."""
    settings["keepalive"] = True
    options = [*urllib3.connection.HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if profile == "tcp-keepalive-os":
        return options
    idle, interval, count = (int(number(f"KEEPALIVE_{name}")) for name in ("IDLE", "INTERVAL", "COUNT"))
    settings |= {"keepalive_idle_seconds": idle, "keepalive_interval_seconds": interval, "keepalive_count": count}
    options += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count),
    ]
    if profile == "tcp-user-timeout":
        settings["user_timeout_seconds"] = number("USER_TIMEOUT")
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(number("USER_TIMEOUT") * 1000)))
    return options


class Adapter(pykube.http.KubernetesHTTPAdapter):
    """With options for its sockets, given to requests as its own documentation has it."""

    def __init__(self, config, options):
        self.options = options
        super().__init__(config)

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, socket_options=self.options, **kwargs)


def main():
    end_on_sigterm()
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    settings, client_arguments, params = {}, {}, {}

    config = pykube.KubeConfig.from_env()
    if profile in KEEPALIVE_PROFILES:
        client_arguments["http_adapter"] = Adapter(config, socket_options(profile, settings))
    if profile == "read-timeout":
        settings["read_timeout_seconds"] = client_arguments["timeout"] = number("READ_TIMEOUT")  # connect and read
    if profile == "watch-timeout":
        settings["watch_timeout_seconds"] = params["timeoutSeconds"] = int(number("WATCH_TIMEOUT"))
    if profile == "bookmarks":
        settings["bookmarks"] = True
        params["allowWatchBookmarks"] = "true"
    if profile != "default":
        settings["retry_seconds"] = number("RETRY_SECONDS")

    api = pykube.HTTPClient(config, **client_arguments)

    def answered(response, **_):
        if response.ok:
            emit("watching")

    api.session.hooks["response"].append(answered)  # requests' hook, for want of one of pykube's

    def watch_once():
        namespace, name = os.environ["WATCHER_NAMESPACE"], os.environ["WATCHER_NAME"]
        query = pykube.ConfigMap.objects(api, namespace=namespace).filter(field_selector={"metadata.name": name})
        for event in query.watch(params=params):
            if event.type in ("ADDED", "MODIFIED"):
                nonce = event.object.obj.get("data", {}).get("nonce", "")
                emit("observed", nonce=nonce, resourceVersion=event.object.metadata["resourceVersion"])
        emit("ended", reason="the stream ended")

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    library = {"library": "pykube-ng", "version": version("pykube-ng")}
    emit("started", **library, runtime=f"{runtime}, urllib3 {urllib3.__version__}", settings=settings)
    if profile == "default":
        watch_once()
        return
    while True:
        try:
            watch_once()
        except (pykube.exceptions.HTTPError, requests.RequestException) as error:
            emit("error", message=repr(error))
        time.sleep(settings["retry_seconds"])


if __name__ == "__main__":
    main()
