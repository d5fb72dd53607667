"""Watch one ConfigMap with curl; what it reads and prints: CONTRACT.md."""

import base64
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def number(name):
    return float(os.environ[f"WATCHER_{name}"])


def api_server():
    """Address and file of the certificate authority: the pod's own, or those of a kubeconfig written as JSON."""
    if not os.environ.get("KUBECONFIG"):
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        return address, str(POD / "ca.crt")
    kubeconfig = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
    cluster = kubeconfig["clusters"][0]["cluster"]
    authority = cluster.get("certificate-authority")
    if authority is None:
        authority = Path(os.environ["TMPDIR"]) / "ca.crt"
        authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return cluster["server"], str(authority)


def token():
    """Read anew for each watch: a pod's token lives an hour or so and is then replaced in its file."""
    if not os.environ.get("KUBECONFIG"):
        return (POD / "token").read_text().strip()
    user = json.loads(Path(os.environ["KUBECONFIG"]).read_text())["users"][0]["user"]
    return (user.get("token") or Path(user["tokenFile"]).read_text()).strip()


def main():
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in {"default", "retry", "read-timeout", "watch-timeout", "bookmarks"}:
        sys.exit(127)
    settings, options = {}, []
    address, authority = api_server()
    url = f"{address}/api/v1/namespaces/{os.environ['WATCHER_NAMESPACE']}/configmaps"
    url += f"?watch=true&fieldSelector=metadata.name%3D{os.environ['WATCHER_NAME']}"
    if profile == "read-timeout":  # in whole seconds: less than a byte a second for as long
        settings["read_timeout_seconds"] = math.ceil(number("READ_TIMEOUT"))
        options += ["--speed-limit", "1", "--speed-time", str(settings["read_timeout_seconds"])]
    if profile == "watch-timeout":
        settings["watch_timeout_seconds"] = int(number("WATCH_TIMEOUT"))
        url += f"&timeoutSeconds={settings['watch_timeout_seconds']}"
    if profile == "bookmarks":
        settings["bookmarks"] = True
        url += "&allowWatchBookmarks=true"
    if profile != "default":
        settings["retry_seconds"] = number("RETRY_SECONDS")

    # The token by standard input: arguments can be read by everybody on the machine.
    command = ["curl", "--silent", "--show-error", "--fail", "--no-buffer", "--cacert", authority, "--header", "@-"]
    command += [*options, url]
    running = None

    def end(*_):
        if running is not None:
            running.kill()  # without wait(): what is interrupted here may be one, which holds its lock
        os._exit(0)

    signal.signal(signal.SIGTERM, end)

    words = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True).stdout.split()
    emit("started", library="curl", version=words[1], runtime=" ".join(words[3:5]), settings=settings)
    while True:
        # SIGTERM waits until it is known whom to end: a curl that nobody knows would go on.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        running.stdin.write(f"Authorization: Bearer {token()}\n".encode())
        running.stdin.close()
        watching = False
        for line in running.stdout:
            event = json.loads(line)
            if not watching:
                emit("watching")
                watching = True
            if event["type"] in ("ADDED", "MODIFIED"):
                config_map = event["object"]
                nonce = config_map.get("data", {}).get("nonce", "")
                emit("observed", nonce=nonce, resourceVersion=config_map["metadata"]["resourceVersion"])
        running.wait()
        if running.returncode == 0:
            emit("ended", reason="curl ended")
        elif profile == "default":
            sys.exit(running.returncode)
        else:
            emit("error", message=f"curl ended with status {running.returncode}")
        if profile == "default":
            return
        time.sleep(settings["retry_seconds"])


if __name__ == "__main__":
    main()
