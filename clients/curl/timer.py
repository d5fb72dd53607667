"""Listen to a timer server with curl; what it reads and prints: CONTRACT.md."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def main():
    profile = os.environ["WATCHER_PROFILE"]
    if profile not in {"default", "retry", "read-timeout"}:
        sys.exit(127)
    settings, options = {}, []
    if profile == "read-timeout":  # in whole seconds: less than a byte a second for as long
        settings["read_timeout_seconds"] = math.ceil(float(os.environ["WATCHER_READ_TIMEOUT"]))
        options += ["--speed-limit", "1", "--speed-time", str(settings["read_timeout_seconds"])]
    if profile != "default":
        settings["retry_seconds"] = float(os.environ["WATCHER_RETRY_SECONDS"])

    # The server says its lines without a header, as HTTP 0.9 did.
    command = ["curl", "--silent", "--show-error", "--no-buffer", "--no-keepalive", "--http0.9"]
    command += [*options, os.environ["WATCHER_ADDRESS"]]
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
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        watching = False
        for line in running.stdout:
            if not watching:
                emit("watching")
                watching = True
            if found := re.search(r" nonce=(\w+) number=(\w+)\n", line):
                emit("observed", nonce=found[1], resourceVersion=found[2])
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
