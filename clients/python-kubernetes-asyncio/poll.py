"""Ask for one ConfigMap now and then with kubernetes-asyncio; what it reads and prints: CONTRACT.md."""

import asyncio
import json
import os
import platform
import signal
import socket
import ssl
import sys
from importlib.metadata import version

import aiohttp
from kubernetes_asyncio import client, config

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
PROFILES = {"default", "retry", "read-timeout"} | KEEPALIVE_PROFILES


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def number(name):
    return float(os.environ[f"WATCHER_{name}"])


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


async def use_socket_options(api, options):
    """kubernetes-asyncio has no hook for sockets: give it an aiohttp session like its own, with a socket factory."""

    def socket_factory(address):
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        for option in options:
            made.setsockopt(*option)
        return made

    tls = ssl.create_default_context(cafile=api.configuration.ssl_ca_cert)
    if api.configuration.cert_file:
        tls.load_cert_chain(api.configuration.cert_file, api.configuration.key_file)
    await api.rest_client.pool_manager.close()
    connector = aiohttp.TCPConnector(ssl=tls, socket_factory=socket_factory)
    api.rest_client.pool_manager = aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=2**21)


async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    settings, arguments = {}, {}

    if os.environ.get("KUBECONFIG"):
        await config.load_kube_config()
    else:
        config.load_incluster_config()

    async with client.ApiClient() as api:  # one for all requests, so that it can keep its connection
        if profile in KEEPALIVE_PROFILES:
            await use_socket_options(api, socket_options(profile, settings))
        if profile == "read-timeout":
            settings["read_timeout_seconds"] = number("READ_TIMEOUT")
            arguments["_request_timeout"] = (number("READ_TIMEOUT"), number("READ_TIMEOUT"))  # connect, read
        if profile != "default":
            settings["retry_seconds"] = number("RETRY_SECONDS")

        v1 = client.CoreV1Api(api)
        namespace, name = os.environ["WATCHER_NAMESPACE"], os.environ["WATCHER_NAME"]
        asked = 0

        async def ask():
            nonlocal asked
            asked += 1
            emit("asked", id=str(asked))
            config_map = await v1.read_namespaced_config_map(name, namespace, **arguments)
            nonce = (config_map.data or {}).get("nonce", "")
            emit("observed", nonce=nonce, resourceVersion=config_map.metadata.resource_version)

        runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
        library = {"library": "kubernetes-asyncio", "version": version("kubernetes-asyncio")}
        emit("started", **library, runtime=f"{runtime}, aiohttp {aiohttp.__version__}", settings=settings)
        emit("watching")
        while True:
            try:
                await ask()
            except (client.ApiException, aiohttp.ClientError, TimeoutError) as error:
                if profile == "default":
                    raise
                emit("error", message=repr(error))
                await asyncio.sleep(settings["retry_seconds"])
            else:
                await asyncio.sleep(number("POLL_SECONDS"))


if __name__ == "__main__":
    asyncio.run(main())
