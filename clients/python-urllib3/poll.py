"""Ask for one ConfigMap now and then with nothing but urllib3; what it reads and prints: CONTRACT.md."""

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

import urllib3

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
PROFILES = {"default", "retry", "read-timeout"} | KEEPALIVE_PROFILES
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
    """Read anew for each request: a pod's token lives an hour or so and is then replaced in its file."""
    if not os.environ.get("KUBECONFIG"):
        return (POD / "token").read_text().strip()
    user = json.loads(Path(os.environ["KUBECONFIG"]).read_text())["users"][0]["user"]
    return (user.get("token") or Path(user["tokenFile"]).read_text()).strip()


def socket_options(profile, settings):
    """What ``PoolManager(socket_options=...)`` takes; it replaces urllib3's own, so those are kept."""
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


def main():
    end_on_sigterm()
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    settings, pool_arguments, request_arguments = {}, {}, {}

    address, authority = api_server()
    if profile in KEEPALIVE_PROFILES:
        pool_arguments["socket_options"] = socket_options(profile, settings)
    if profile == "read-timeout":
        settings["read_timeout_seconds"] = number("READ_TIMEOUT")
        request_arguments["timeout"] = urllib3.Timeout(connect=number("READ_TIMEOUT"), read=number("READ_TIMEOUT"))
    if profile != "default":
        settings["retry_seconds"] = number("RETRY_SECONDS")

    http = urllib3.PoolManager(ca_cert_data=authority, **pool_arguments)
    url = f"{address}/api/v1/namespaces/{os.environ['WATCHER_NAMESPACE']}/configmaps/{os.environ['WATCHER_NAME']}"
    asked = 0

    def ask():
        nonlocal asked
        asked += 1
        emit("asked", id=str(asked))
        response = http.request("GET", url, headers={"Authorization": f"Bearer {token()}"}, **request_arguments)
        if response.status != 200:
            raise urllib3.exceptions.HTTPError(f"{response.status} {response.reason}: {response.data!r}")
        config_map = response.json()
        version, nonce = config_map["metadata"]["resourceVersion"], config_map.get("data", {}).get("nonce", "")
        emit("observed", nonce=nonce, resourceVersion=version)

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    emit("started", library="urllib3", version=urllib3.__version__, runtime=runtime, settings=settings)
    emit("watching")
    while True:
        try:
            ask()
        except urllib3.exceptions.HTTPError as error:
            if profile == "default":
                raise
            emit("error", message=repr(error))
            time.sleep(settings["retry_seconds"])
        else:
            time.sleep(number("POLL_SECONDS"))


if __name__ == "__main__":
    main()
