"""Watch one ConfigMap with an operator on kopf; what it reads and prints: CONTRACT.md."""

import json
import os
import platform
import signal
import socket
import ssl
import sys
import threading
from importlib.metadata import version

import aiohttp
import kopf

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
# Without retry and bookmarks: kopf does both in any case.
PROFILES = {"default", "read-timeout", "watch-timeout"} | KEEPALIVE_PROFILES


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def number(name):
    return float(os.environ[f"WATCHER_{name}"])


def end_on_sigterm():
    """At once: kopf's own handler first waits for what the operator is doing."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait():
        signal.sigwait({signal.SIGTERM})
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def socket_options(profile, settings):
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


async def answered(_session, _context, request):
    if request.url.query.get("watch") == "true" and request.response.status == 200:
        emit("watching")


def main():
    end_on_sigterm()
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    namespace, name = os.environ["WATCHER_NAMESPACE"], os.environ["WATCHER_NAME"]
    settings, watching = {}, {}

    options = socket_options(profile, settings) if profile in KEEPALIVE_PROFILES else []
    if profile == "read-timeout":
        settings["read_timeout_seconds"] = watching["inactivity_timeout"] = number("READ_TIMEOUT")
    if profile == "watch-timeout":
        settings["watch_timeout_seconds"] = watching["server_timeout"] = int(number("WATCH_TIMEOUT"))

    def socket_factory(address):
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        for option in options:
            made.setsockopt(*option)
        return made

    @kopf.on.login()
    async def login(**arguments):
        """As kopf makes its session itself, but that this one tells of answers, and sets the options of its sockets."""
        info = kopf.login_with_kubeconfig(**arguments) or kopf.login_with_service_account(**arguments)
        traced = aiohttp.TraceConfig()
        traced.on_request_end.append(answered)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context(), socket_factory=socket_factory),
            headers=info.as_http_headers(),
            trace_configs=[traced],
        )
        return kopf.AiohttpSession(server=info.server, aiohttp_session=session)

    @kopf.on.startup()
    def configure(settings, **_):
        settings.scanning.disabled = True  # no watches of namespaces and CustomResourceDefinitions beside this one
        settings.watching.field_selectors["configmaps"] = f"metadata.name={name}"
        for key, value in watching.items():
            setattr(settings.watching, key, value)

    @kopf.on.event("", "v1", "configmaps")
    def observed(type, body, **_):
        if type != "DELETED":
            nonce = body.get("data", {}).get("nonce", "")
            emit("observed", nonce=nonce, resourceVersion=body["metadata"]["resourceVersion"])

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    library = {"library": "kopf", "version": version("kopf")}
    emit("started", **library, runtime=f"{runtime}, aiohttp {aiohttp.__version__}", settings=settings)
    kopf.run(standalone=True, namespaces=[namespace])


if __name__ == "__main__":
    main()
