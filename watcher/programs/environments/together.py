"""Several environments at once: downloads wait for the network and compilers do not always fill every core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import WatcherError
from watcher.model import Build
from watcher.programs import environments


@dataclass(frozen=True)
class Wanted:
    """One environment; equal ones are built once."""

    folder: Path
    build: Build


Done = Callable[[Wanted, WatcherError | None], None]
Line = Callable[[Wanted, str], None]


def build_together(
    wanted: Iterable[Wanted],
    *,
    on_line: Line = lambda _wanted, _line: None,
    on_done: Done = lambda _wanted, _error: None,
    jobs: int | None = None,
) -> dict[Wanted, WatcherError]:
    """Builds what is not there yet and returns what could not be built, each with why; one's failure stops no other.

    As many at once as there are cores. ``on_line`` is called from other threads, ``on_done`` from the caller's.
    """
    failed: dict[Wanted, WatcherError] = {}
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1, thread_name_prefix="build") as pool:
        building = {pool.submit(_build, each, on_line): each for each in dict.fromkeys(wanted)}
        try:
            for future in as_completed(building):
                each, error = building[future], future.result()
                if error is not None:
                    failed[each] = error
                on_done(each, error)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def _build(wanted: Wanted, on_line: Line) -> WatcherError | None:
    try:
        environments.build(wanted.folder, wanted.build, on_line=lambda line: on_line(wanted, line))
    except WatcherError as error:
        return error
    return None
