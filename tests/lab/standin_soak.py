"""A soak without watchers, for tests of the rehearsal itself: it touches, counts, and ends on SIGTERM.

It knows the API server by a pod's files alone, as the real one does.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from watcher.api import MERGE_PATCH, ApiServer, request
from watcher.rehearsal.projected import PLACE
from watcher.totals import Totals, Update, WatcherTotals


def main() -> None:
    invented = int(os.environ.get("STANDIN_INVENTS", "0"))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    namespace = (PLACE / "namespace").read_text()
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    began = datetime.now(UTC).isoformat()

    def ask(method: str, path: str, body: Mapping[str, object], kind: str = "application/json") -> int:
        api = ApiServer(host, port, (PLACE / "ca.crt").read_text(), (PLACE / "token").read_text())
        return request(api, method, path, body, content_type=kind, timeout_seconds=10).status

    assert ask("POST", maps, {"metadata": {"name": "trigger"}, "data": {"nonce": "initial"}}) in (201, 409)
    ask("POST", maps, {"metadata": {"name": "totals-soak"}})
    touches = 0
    while not stop.wait(float(os.environ["CHANGE_INTERVAL_SECONDS"])):
        assert ask("PATCH", f"{maps}/trigger", {"data": {"nonce": secrets.token_hex(16)}}, MERGE_PATCH) == 200
        touches += 1
        totals = Totals(
            instance="soak",
            interval=os.environ["CHANGE_INTERVAL_SECONDS"],
            deadline_seconds=float(os.environ["DEADLINE_SECONDS"]),
            began_at=began,
            last_at=datetime.now(UTC).isoformat(),
            updates={Update.OK: touches + invented},
            watchers=(WatcherTotals(stack="nobody", profile="default", observed=touches),),
        )
        data = {"data": {"totals.json": totals.model_dump_json()}}
        assert ask("PATCH", f"{maps}/totals-soak", data, MERGE_PATCH) == 200
    Path(os.environ["WATCHER_SPOOL"]).mkdir(parents=True, exist_ok=True)
    sys.stdout.write("asked to end\n")


if __name__ == "__main__":
    main()
