"""Watches, and says with every observation when it had it: ``at``, CLOCK_MONOTONIC, which the supervisor ignores."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))

from watcher.programs.controls.session import Session, emit, end_on_sigterm, nonce_of, started

end_on_sigterm()
started()
for event in Session(connect_timeout_seconds=10).watch():
    if event["type"] in ("ADDED", "MODIFIED"):
        found = event["object"]
        version = found["metadata"]["resourceVersion"]
        emit("observed", nonce=nonce_of(found), resourceVersion=version, at=time.monotonic())
