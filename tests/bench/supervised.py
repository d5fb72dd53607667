"""``python -m tests.bench.supervised FILE``: the soak as it is, and for every observation when it was done with.

FILE gets a line for each: watcher, nonce, and the time at which the supervisor had recorded and judged it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from watcher.judge.touches import Judged, Late
from watcher.records import Entry, Program
from watcher.soak import __main__ as soak
from watcher.soak.supervisor import Supervisor

_file = Path(sys.argv.pop()).open("w", buffering=1)  # noqa: SIM115 - open as long as the process lives
_record = Supervisor.record


def recorded(self: Supervisor, entry: Entry) -> tuple[Judged | Late, ...]:
    decided = _record(self, entry)
    if isinstance(entry, Program) and entry.event == "observed":
        _file.write(f"{entry.cell} {entry.nonce} {time.monotonic()}\n")
    return decided


if __name__ == "__main__":
    Supervisor.record = recorded  # type: ignore[method-assign]  # to look at it from outside
    sys.exit(soak.main())
