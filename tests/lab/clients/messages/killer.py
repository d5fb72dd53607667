"""Says that it watches, once it has ended the server: it is in the same PID namespace."""

import json
import os
import signal
import sys
import time
from pathlib import Path

print(  # noqa: T201
    json.dumps({"event": "started", "library": "nats-py", "version": "2.16.0", "runtime": sys.version, "settings": {}}),
    flush=True,
)
for process in Path("/proc").glob("[0-9]*"):
    if b"nats-server.conf" in (process / "cmdline").read_bytes():
        os.kill(int(process.name), signal.SIGKILL)
print(json.dumps({"event": "watching"}), flush=True)  # noqa: T201
time.sleep(600)
