"""Watch one ConfigMap with lightkube; what it reads and prints: CONTRACT.md."""

import json
import logging
import os
import platform
import signal
import socket
import ssl
import sys
import threading
import time
from importlib.metadata import version

import httpx2
from lightkube import Client, KubeConfig
from lightkube.config.client_adapter import verify_cluster
from lightkube.resources.core_v1 import ConfigMap

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
# Without read-timeout and bookmarks: a watch has no read timeout, whatever the client's, and no such parameter.
PROFILES = {"default", "retry", "watch-timeout"} | KEEPALIVE_PROFILES


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
    """What ``httpx2.HTTPTransport(socket_options=...)`` takes; TCP_NODELAY is set beside them in any case."""
    settings["keepalive"] = True
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
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


class Answers(logging.Handler):
    """httpx2 logs every answer; lightkube asks anew by itself, without telling."""

    def emit(self, record):
        _method, _url, http_version, status, _reason = record.args
        if status == 200:
            emit("watching", http_version=http_version)


def main():
    end_on_sigterm()
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    settings, client_arguments, watch_arguments = {}, {}, {}

    config = KubeConfig.from_env().get()
    if profile in KEEPALIVE_PROFILES:
        options = socket_options(profile, settings)
        tls = verify_cluster(config.cluster, config.user, config.abs_file)
        client_arguments["transport"] = httpx2.HTTPTransport(verify=tls, socket_options=options)
    if profile == "watch-timeout":
        settings["watch_timeout_seconds"] = watch_arguments["server_timeout"] = int(number("WATCH_TIMEOUT"))
    if profile != "default":
        settings["retry_seconds"] = number("RETRY_SECONDS")

    client = Client(config, **client_arguments)
    logging.getLogger("httpx2").setLevel(logging.INFO)
    logging.getLogger("httpx2").addHandler(Answers())

    def watch_once():
        namespace, name = os.environ["WATCHER_NAMESPACE"], os.environ["WATCHER_NAME"]
        selected = {"namespace": namespace, "fields": {"metadata.name": name}}
        for event, config_map in client.watch(ConfigMap, **selected, **watch_arguments):
            if event in ("ADDED", "MODIFIED"):
                nonce = (config_map.data or {}).get("nonce", "")
                emit("observed", nonce=nonce, resourceVersion=config_map.metadata.resourceVersion)

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    library = {"library": "lightkube", "version": version("lightkube")}
    emit("started", **library, runtime=f"{runtime}, httpx2 {version('httpx2')}", settings=settings)
    if profile == "default":
        watch_once()  # without end: when the server has ended a watch, the next begins
        return
    while True:
        try:
            watch_once()
        except httpx2.HTTPError as error:  # lightkube's ApiError is one, too
            emit("error", message=repr(error))
        time.sleep(settings["retry_seconds"])


if __name__ == "__main__":
    main()
