"""The control that must be ``ok`` in every scenario: it watches outside the path and starts anew whatever happens.

When it misses a touch, the touch, the control plane or the harness is at fault, and no client's verdict counts.
"""

from __future__ import annotations

import http.client
import time

from watcher.programs.controls.session import Session, emit, end_on_sigterm, nonce_of, started

RETRY_SECONDS = 0.2
CONNECT_TIMEOUT_SECONDS = 5.0
KEEPALIVE = (5, 1, 3)
"""Idle, interval (whole seconds), count: a server that is gone is noticed within 8 s."""


def watch_once() -> None:
    session = Session(connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS)
    try:
        session.keep_alive(*KEEPALIVE)
        for event in session.watch():
            if event["type"] in ("ADDED", "MODIFIED"):
                config_map = event["object"]
                emit("observed", nonce=nonce_of(config_map), resourceVersion=config_map["metadata"]["resourceVersion"])
        emit("ended", reason="the stream ended")
    finally:
        session.close()


def main() -> None:
    end_on_sigterm()
    idle, interval, count = KEEPALIVE
    started(
        retry_seconds=RETRY_SECONDS,
        keepalive=True,
        keepalive_idle_seconds=idle,
        keepalive_interval_seconds=interval,
        keepalive_count=count,
    )
    while True:
        try:
            watch_once()
        except (OSError, http.client.HTTPException, ValueError) as error:
            emit("error", message=repr(error))
        time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    main()
