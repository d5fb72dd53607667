"""Watch one ConfigMap with kr8s; what it reads and prints: CONTRACT.md."""

import json
import logging
import os
import platform
import signal
import ssl
import sys
import threading
import time
from importlib.metadata import version

import httpx
import kr8s

# Nothing else: kr8s makes its HTTPX client itself, watches without a timeout, and passes no parameters on.
PROFILES = {"default", "retry"}


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


class Answers(logging.Handler):
    """HTTPX logs every answer; kr8s tells nothing before the first event."""

    def emit(self, record):
        _method, url, http_version, status, _reason = record.args
        if status == 200 and url.params.get("watch") == "true":
            emit("watching", http_version=http_version)


def main():
    end_on_sigterm()
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    settings = {} if profile == "default" else {"retry_seconds": number("RETRY_SECONDS")}
    logging.getLogger("httpx").setLevel(logging.INFO)
    logging.getLogger("httpx").addHandler(Answers())

    def watch_once():
        namespace, name = os.environ["WATCHER_NAMESPACE"], os.environ["WATCHER_NAME"]
        api = kr8s.api()  # the same each time
        for event, config_map in api.watch("configmaps", namespace=namespace, field_selector={"metadata.name": name}):
            if event in ("ADDED", "MODIFIED"):
                nonce = config_map.raw.get("data", {}).get("nonce", "")
                emit("observed", nonce=nonce, resourceVersion=config_map.metadata.resourceVersion)
        emit("ended", reason="the stream ended")

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    library = {"library": "kr8s", "version": version("kr8s")}
    emit("started", **library, runtime=f"{runtime}, httpx {httpx.__version__}", settings=settings)
    if profile == "default":
        watch_once()
        return
    while True:
        try:
            watch_once()
        except (kr8s.ServerError, kr8s.APITimeoutError, httpx.HTTPError) as error:
            emit("error", message=repr(error))
        time.sleep(settings["retry_seconds"])


if __name__ == "__main__":
    main()
