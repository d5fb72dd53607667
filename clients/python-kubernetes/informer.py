"""Watch one ConfigMap with ``SharedInformer`` of the official Python client; what it reads and prints: CONTRACT.md."""

import functools
import json
import os
import platform
import signal
import socket
import ssl
import sys
from importlib.metadata import version

import urllib3
from kubernetes import client, config, utils
from kubernetes.informer import ADDED, ERROR, MODIFIED, SharedInformer

KEEPALIVE_PROFILES = {"tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"}
# Without `retry`: an informer asks anew by itself.
PROFILES = {"default", "read-timeout", "watch-timeout", "bookmarks"} | KEEPALIVE_PROFILES


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def number(name):
    return float(os.environ[f"WATCHER_{name}"])


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


def observed(config_map):
    nonce = (config_map.data or {}).get("nonce", "")
    emit("observed", nonce=nonce, resourceVersion=config_map.metadata.resource_version)


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # waited for at the end
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in PROFILES:
        sys.exit(127)
    settings, informer_arguments, list_arguments = {}, {}, {}

    if os.environ.get("KUBECONFIG"):
        config.load_kube_config()
    else:
        config.load_incluster_config()
    configuration = client.Configuration.get_default_copy()
    if profile in KEEPALIVE_PROFILES:
        configuration.socket_options = socket_options(profile, settings)
    if profile == "read-timeout":
        settings["read_timeout_seconds"] = number("READ_TIMEOUT")
        list_arguments["_request_timeout"] = (number("READ_TIMEOUT"), number("READ_TIMEOUT"))  # connect, read
    if profile == "watch-timeout":
        # The informer's only way to ask for timeoutSeconds; it lists again each time the server has ended the watch.
        settings["watch_timeout_seconds"] = informer_arguments["resync_period"] = int(number("WATCH_TIMEOUT"))
    if profile == "bookmarks":
        settings["bookmarks"] = list_arguments["allow_watch_bookmarks"] = True

    v1 = client.CoreV1Api(client.ApiClient(configuration))

    @functools.wraps(v1.list_namespaced_config_map)  # its Watch reads the type of events off the function
    def list_config_maps(**kwargs):
        response = v1.list_namespaced_config_map(**kwargs, **list_arguments)
        if kwargs.get("watch"):
            emit("watching")  # answered
        return response

    informer = SharedInformer(
        list_func=list_config_maps,
        namespace=os.environ["WATCHER_NAMESPACE"],
        field_selector=f"metadata.name={os.environ['WATCHER_NAME']}",
        **informer_arguments,
    )
    informer.add_event_handler(ADDED, observed)
    informer.add_event_handler(MODIFIED, observed)
    informer.add_event_handler(ERROR, lambda error: emit("error", message=repr(error)))

    runtime = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    emit("started", library="kubernetes", version=version("kubernetes"), runtime=runtime, settings=settings)
    informer.start()
    signal.sigwait({signal.SIGTERM})  # the informer works in a thread of its own
    os._exit(0)  # informer.stop() would wait for that thread, and that perhaps for a server that is gone


if __name__ == "__main__":
    main()
