"""Watch one ConfigMap with nothing but HTTPX; what it reads and prints: CONTRACT.md. With --http2, over HTTP/2."""

import base64
import json
import os
import platform
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import httpx

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
# Without http2-ping: neither HTTPX nor httpcore sends PINGs.
PROFILES = {"default", "retry", "read-timeout", "watch-timeout", "bookmarks"} | KEEPALIVE_PROFILES
POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")


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


def api_server():
    """Address and certificate authority (PEM): the pod's own, or those of a kubeconfig written as JSON."""
    if not os.environ.get("KUBECONFIG"):
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        return address, (POD / "ca.crt").read_text()
    kubeconfig = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
    cluster = kubeconfig["clusters"][0]["cluster"]
    if "certificate-authority-data" in cluster:
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    else:
        authority = Path(cluster["certificate-authority"]).read_text()
    return cluster["server"], authority


def token():
    """Read anew for each watch: a pod's token lives an hour or so and is then replaced in its file."""
    if not os.environ.get("KUBECONFIG"):
        return (POD / "token").read_text().strip()
    user = json.loads(Path(os.environ["KUBECONFIG"]).read_text())["users"][0]["user"]
    return (user.get("token") or Path(user["tokenFile"]).read_text()).strip()


def socket_options(profile, settings):
    """What ``HTTPTransport(socket_options=...)`` takes; TCP_NODELAY is set beside them in any case."""
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


def main():
    end_on_sigterm()
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    settings, client_arguments = {}, {}

    address, authority = api_server()
    params = {"watch": "true", "fieldSelector": f"metadata.name={os.environ['WATCHER_NAME']}"}
    http = {"verify": ssl.create_default_context(cadata=authority), "http2": "--http2" in sys.argv}
    if profile in KEEPALIVE_PROFILES:
        options = socket_options(profile, settings)
        client_arguments["transport"] = httpx.HTTPTransport(**http, socket_options=options)
    if profile == "read-timeout":
        settings["read_timeout_seconds"] = number("READ_TIMEOUT")
        client_arguments["timeout"] = httpx.Timeout(5, read=number("READ_TIMEOUT"))  # 5 s is HTTPX's own
    if profile == "watch-timeout":
        settings["watch_timeout_seconds"] = params["timeoutSeconds"] = int(number("WATCH_TIMEOUT"))
    if profile == "bookmarks":
        settings["bookmarks"] = True
        params["allowWatchBookmarks"] = "true"
    if profile != "default":
        settings["retry_seconds"] = number("RETRY_SECONDS")

    client = httpx.Client(base_url=address, **http, **client_arguments)

    def watch_once():
        url = f"/api/v1/namespaces/{os.environ['WATCHER_NAMESPACE']}/configmaps"
        headers = {"Authorization": f"Bearer {token()}"}
        with client.stream("GET", url, params=params, headers=headers) as response:
            response.raise_for_status()
            emit("watching", http_version=response.http_version)
            for line in response.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise httpx.HTTPError(f"the server ended the watch: {event['object']}")
                if event["type"] in ("ADDED", "MODIFIED"):
                    config_map = event["object"]
                    nonce = config_map.get("data", {}).get("nonce", "")
                    emit("observed", nonce=nonce, resourceVersion=config_map["metadata"]["resourceVersion"])
        emit("ended", reason="the stream ended")

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    emit("started", library="httpx", version=httpx.__version__, runtime=runtime, settings=settings)
    if profile == "default":
        watch_once()
        return
    while True:
        try:
            watch_once()
        except httpx.HTTPError as error:
            emit("error", message=repr(error))
        time.sleep(settings["retry_seconds"])


if __name__ == "__main__":
    main()
