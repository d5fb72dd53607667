"""Client programs that lie, crash or babble: ``mutant.py KIND``. Standard library only."""

import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

NAME = os.environ["WATCHER_NAME"]
KEEPALIVE = {
    "keepalive_idle_seconds": ("WATCHER_KEEPALIVE_IDLE", socket.TCP_KEEPIDLE),
    "keepalive_interval_seconds": ("WATCHER_KEEPALIVE_INTERVAL", socket.TCP_KEEPINTVL),
    "keepalive_count": ("WATCHER_KEEPALIVE_COUNT", socket.TCP_KEEPCNT),
}


def emit(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def nonces(*, keepalive: bool) -> Iterator[str]:
    """Each nonce of the trigger, as an honest watch sees them; prints ``watching``."""
    kubeconfig = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    address = urlsplit(cluster["server"])
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    connection = HTTPSConnection(address.hostname, address.port, context=tls)
    connection.connect()
    if keepalive:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for variable, option in KEEPALIVE.values():
            connection.sock.setsockopt(socket.IPPROTO_TCP, option, int(os.environ[variable]))
    path = f"/api/v1/namespaces/{os.environ['WATCHER_NAMESPACE']}/configmaps"
    query = f"?watch=true&fieldSelector=metadata.name%3D{NAME}"
    connection.request("GET", path + query, headers={"Authorization": f"Bearer {user['token']}"})
    answer = connection.getresponse()
    emit("watching")
    while line := answer.readline():
        yield json.loads(line)["object"]["data"]["nonce"]


def observe(nonce: str) -> None:
    emit("observed", nonce=nonce, resourceVersion="1")


def main(kind: str) -> None:
    asked = kind in ("keeps", "claims")
    if os.environ["WATCHER_PROFILE"] != ("tcp-keepalive" if asked else "default"):
        sys.exit(127)
    if kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    numbers = {name: int(os.environ[variable]) for name, (variable, _) in KEEPALIVE.items()} if asked else {}
    settings = {"keepalive": True, **numbers} if asked else {}
    emit("started", library="none", version="1", runtime="CPython", settings=settings)
    seen: list[str] = []
    for nonce in nonces(keepalive=kind == "keeps"):
        observe(nonce)
        seen.append(nonce)
        if len(seen) < 2:  # the first is the trigger as it was, the second the control touch
            continue
        match kind:
            case "honest" | "stubborn" | "keeps" | "claims":
                continue
            case "old":
                while True:
                    observe(seen[0])
                    observe(seen[1])
                    time.sleep(0.05)
            case "guess":
                while True:
                    for guess in (seen[1], seen[1][::-1], seen[1].upper(), "", "0" * 32):
                        observe(guess)
                    time.sleep(0.05)
            case "exits-zero":
                sys.exit(0)
            case "garbage":
                sys.stdout.write("a program's own log line, where events belong\n")
                sys.stdout.flush()
            case "flood":
                sys.stdout.buffer.write(b"x" * 10_000_000)
                sys.stdout.flush()
            case "not-utf8":
                sys.stdout.buffer.write(b"\xff\xfe\n")
                sys.stdout.flush()
        if kind not in ("honest", "stubborn"):
            time.sleep(600)


main(sys.argv[1])
