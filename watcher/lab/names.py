"""The one name that a client without a virtual address connects to, and the address that it stands for now.

It is an entry of a hosts file that only the client sees: what its library asks first, and asks again when it connects
again, as it would ask the cluster's DNS. It is true at once: a cluster's DNS may say so up to 30 s later (its ``ttl``).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from watcher.lab.addresses import HEADLESS_NAME

_MOST_OCTETS = len("255.255.255.255")


class Names:
    """Of one cell. The file is there from the beginning on, and stays the same file: it is mounted."""

    def __init__(self, file: Path, address: str) -> None:
        self.file = file
        self._address = address
        self._lock = threading.Lock()
        file.write_text(f"127.0.0.1 localhost\n{_entry(address)}")

    @property
    def address(self) -> str:
        with self._lock:
            return self._address

    def lead_to(self, address: str) -> None:
        """From now on the name stands for this address. One write of equal length: nobody reads half an entry."""
        with self._lock:
            offset = self.file.stat().st_size - len(_entry(address))
            with self.file.open("r+b") as file:
                os.pwrite(file.fileno(), _entry(address).encode(), offset)
            self._address = address


def _entry(address: str) -> str:
    return f"{address:<{_MOST_OCTETS}} {HEADLESS_NAME}\n"
