"""A process and its descendants, and the sockets that they hold."""

from __future__ import annotations

import contextlib
from pathlib import Path


def family(pid: int) -> list[int]:
    """The process first, then its descendants; one that has ended meanwhile may still be named."""
    found, fresh = [pid], [pid]
    while fresh:
        parent = fresh.pop()
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                more = [int(child) for child in children.read_text().split()]
                found += more
                fresh += more
    return found


def socket_files(pid: int) -> dict[int, int]:
    """Descriptor to inode of each socket, of whatever kind. Raises OSError where the process is gone or not ours."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = entry.readlink().name
            if target.startswith("socket:["):
                found[int(entry.name)] = int(target[len("socket:[") : -1])
    return found
