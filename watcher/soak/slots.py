"""Two places on disk that are written in turn, so that one of them is whole at any moment.

Both are allocated when they are made and written over in place: a disk that is full can still take a checkpoint. A
checkpoint is good when its length and its digest are; the one with the higher number is the newer.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

SLOT_BYTES = 1 << 20
_HEADER = 64
"""Number, length and digest, as text, ended by a newline."""


class Slots:
    """``write`` and ``newest``. Errors are OSError; a checkpoint over ``SLOT_BYTES`` is one, too (EFBIG)."""

    def __init__(self, folder: Path) -> None:
        self._paths = (folder / "checkpoint-0", folder / "checkpoint-1")

    def prepare(self) -> None:
        """Makes both, with all their room, where they are not there. Raises OSError."""
        for path in self._paths:
            if not path.exists() or path.stat().st_size < SLOT_BYTES:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    _allocate(descriptor)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def newest(self) -> tuple[int, bytes] | None:
        """Number and content of the newest whole checkpoint; None where there is none."""
        found = [each for path in self._paths if (each := _read(path)) is not None]
        return max(found, default=None)

    def write(self, number: int, content: bytes) -> None:
        """Raises OSError; the other slot is untouched then. On disk when this returns."""
        if len(content) > SLOT_BYTES - _HEADER:
            raise OSError(errno.EFBIG, f"a checkpoint of {len(content)} bytes")
        digest = hashlib.blake2b(content, digest_size=12).hexdigest()
        header = f"{number:016d} {len(content):08d} {digest}".encode().ljust(_HEADER - 1) + b"\n"
        newest = self.newest_index()
        path = self._paths[0 if newest is None else 1 - newest]
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, header + content, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def newest_index(self) -> int | None:
        found = {index: each[0] for index, path in enumerate(self._paths) if (each := _read(path)) is not None}
        return max(found, key=lambda index: found[index], default=None)


def _allocate(descriptor: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, SLOT_BYTES)
    else:  # pragma: no cover - not on Linux
        os.pwrite(descriptor, bytes(SLOT_BYTES), 0)


def _read(path: Path) -> tuple[int, bytes] | None:
    try:
        with path.open("rb") as file:
            number, length, digest = file.read(_HEADER).decode().split()
            content = file.read(int(length))
    except (OSError, ValueError):
        return None
    if len(content) != int(length) or hashlib.blake2b(content, digest_size=12).hexdigest() != digest:
        return None
    return int(number), content
