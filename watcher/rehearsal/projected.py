"""The files by which a pod knows the API server, laid out and exchanged as the kubelet does it.

What programs open are links to a folder that is itself a link, and that one is exchanged by one rename: a reader gets
the old token or the new one, never half of one, and never the token of one generation with the CA of another.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

PLACE = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DATA = "..data"


class Projected:
    """The folder; written as often as its content changes."""

    def __init__(self, folder: Path = PLACE) -> None:
        self.folder = folder
        self._generation = 0

    def write(self, files: Mapping[str, str]) -> None:
        """Exchanges all of the content at once. Raises OSError, and then the old content stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.folder / f"..generation-{self._generation}"
        self._generation += 1
        fresh = self.folder / f"..generation-{self._generation}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_text(content)
        link = self.folder / f"{_DATA}_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.folder / _DATA)
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"{_DATA}/{name}")
        shutil.rmtree(before, ignore_errors=True)
