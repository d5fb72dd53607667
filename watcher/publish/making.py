"""How a published folder comes to be: under another name until it is whole, small, and the same octets each time."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from watcher.errors import UsageError

MOST_OCTETS = 10_000_000
"""Of one published folder. A repository keeps every octet for ever, and everybody who clones it fetches them."""

Say = Callable[[str], None]


@contextmanager
def making(to: Path) -> Iterator[Path]:
    """A folder in ``to`` that no reader takes for a published one; what is not renamed by the end is gone.

    Raises UsageError, also for what cannot be read or written meanwhile.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".publishing-", dir=to))
    except OSError as error:
        raise UsageError(f"{to} cannot be written: {error.strerror}", advice="name another folder with --to") from error
    try:
        yield made
    except OSError as error:
        raise UsageError(f"{error.filename or to} cannot be read or written: {error.strerror}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def whole(made: Path, place: Path) -> Path:
    """From now on it is published."""
    made.chmod(0o755)
    made.rename(place)
    return place


def size(folder: Path, most_octets: int, advice: str) -> str:
    """In words. Raises UsageError that names the largest files."""
    sizes = {file: file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    total = sum(sizes.values())
    if total > most_octets:
        largest = sorted(sizes, key=lambda file: (-sizes[file], file))[:5]
        names = ", ".join(f"{file.relative_to(folder)} {sizes[file] / 1e6:.2f} MB" for file in largest)
        raise UsageError(
            f"it would take {total / 1e6:.2f} MB, more than {most_octets / 1e6:.2f} MB; the largest: {names}",
            advice=advice,
        )
    return f"{total / 1e6:.1f} MB of at most {most_octets / 1e6:.1f} MB"


def packed(content: bytes) -> bytes:
    """gzip, the same octets whenever it is made."""
    return gzip.compress(content, 9, mtime=0)
