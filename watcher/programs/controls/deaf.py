"""The control that must be ``stuck`` in every scenario: it observes the control touch and then nothing, ever.

Its socket stays open, unread, and without keepalive of its own, as that of a client that never learns what happened.
When it is anything but ``stuck``, the harness credits clients with what they did not see.
"""

from __future__ import annotations

import sys
import threading

from watcher.programs.controls.session import Session, emit, end_on_sigterm, nonce_of, started

CONNECT_TIMEOUT_SECONDS = 5.0


def main() -> None:
    end_on_sigterm()
    started(keepalive=False)
    session = Session(connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS)
    first: str | None = None
    for event in session.watch():
        if event["type"] not in ("ADDED", "MODIFIED"):
            continue
        config_map = event["object"]
        nonce = nonce_of(config_map)
        emit("observed", nonce=nonce, resourceVersion=config_map["metadata"]["resourceVersion"])
        if first is None:
            first = nonce  # what was there when the watch began
        elif nonce != first:
            break
    else:
        sys.exit("the watch ended before the control touch")
    threading.Event().wait()


if __name__ == "__main__":
    main()
