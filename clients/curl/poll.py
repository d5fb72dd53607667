"""Ask for one ConfigMap now and then with one curl; what it reads and prints: CONTRACT.md."""

import base64
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
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
    """Read anew for each curl: a pod's token lives an hour or so and is then replaced in its file."""
    if not os.environ.get("KUBECONFIG"):
        return (POD / "token").read_text().strip()
    user = json.loads(Path(os.environ["KUBECONFIG"]).read_text())["users"][0]["user"]
    return (user.get("token") or Path(user["tokenFile"]).read_text()).strip()


def documents(stream):
    """The JSON documents that follow each other in what curl writes, each as soon as it is whole."""
    text, decoder = "", json.JSONDecoder()
    while chunk := os.read(stream.fileno(), 1 << 16):
        text = (text + chunk.decode()).lstrip()
        try:
            document, end = decoder.raw_decode(text)
        except json.JSONDecodeError:
            continue
        text = text[end:]
        yield document


def main():
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in {"default", "retry", "read-timeout"}:
        sys.exit(127)
    settings, options = {}, []
    address, authority = api_server()
    url = f"{address}/api/v1/namespaces/{os.environ['WATCHER_NAMESPACE']}/configmaps/{os.environ['WATCHER_NAME']}"
    # One curl for all requests, so that it can keep its connection. It counts its pause in requests a day.
    a_day = max(1, math.floor(86_400 / number("POLL_SECONDS")))
    options += ["--rate", f"{a_day}/d"]
    if profile == "read-timeout":  # in whole seconds: less than a byte a second for as long
        settings["read_timeout_seconds"] = math.ceil(number("READ_TIMEOUT"))
        options += ["--speed-limit", "1", "--speed-time", str(settings["read_timeout_seconds"])]
    if profile != "default":
        settings["retry_seconds"] = number("RETRY_SECONDS")

    # The token by standard input: arguments can be read by everybody on the machine.
    command = ["curl", "--silent", "--show-error", "--fail-early", "--fail", "--verbose", "--no-buffer"]
    command += ["--cacert", authority, "--header", "@-", *options, f"{url}?pretty=false&[1-100000]"]
    running = None

    def end(*_):
        if running is not None:
            running.kill()  # without wait(): what is interrupted here may be one, which holds its lock
        os._exit(0)

    signal.signal(signal.SIGTERM, end)

    def listen(errors, answers):
        """What curl says of its connections: which one a request goes out on, and whether it is an old one."""
        asked, connection = 0, {"id": "0", "reused": False}
        for line in errors:
            if found := re.match(r"\* (Re-using existing connection|Connected to).*\(?#(\d+)", line):
                connection = {"id": found[2], "reused": found[1].startswith("Re")}
            if line.startswith("> GET "):
                asked += 1
                emit("asked", id=str(asked), connection=connection)
            if line.startswith("< HTTP/"):
                answers.release()
            if not line.startswith(("> Authorization", "> authorization")):
                sys.stderr.write(line)

    words = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True).stdout.split()
    emit("started", library="curl", version=words[1], runtime=" ".join(words[3:5]), settings=settings)
    emit("watching")
    while True:
        pipe = subprocess.PIPE
        # SIGTERM waits until it is known whom to end: a curl that nobody knows would go on.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        running = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        answers = threading.Semaphore(0)
        listening = threading.Thread(target=listen, args=[running.stderr, answers], daemon=True)
        listening.start()
        running.stdin.write(f"Authorization: Bearer {token()}\n")
        running.stdin.close()
        for config_map in documents(running.stdout):
            # curl's words come on another pipe, which may be read later: no answer is told before its question.
            answers.acquire()
            nonce = config_map.get("data", {}).get("nonce", "")
            emit("observed", nonce=nonce, resourceVersion=config_map["metadata"]["resourceVersion"])
        running.wait()
        listening.join()
        if profile == "default":
            sys.exit(running.returncode)
        emit("error", message=f"curl ended with status {running.returncode}")
        time.sleep(settings["retry_seconds"])


if __name__ == "__main__":
    main()
