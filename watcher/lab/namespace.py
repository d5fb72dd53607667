"""One network namespace: made, entered, read.

The kernel's namespaces belong to threads, so whatever must happen inside one is handed to a thread that enters it,
does it and ends. A socket made there stays in its namespace for good and may be used by any thread afterwards.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from pyroute2 import netns

from watcher.errors import LabFailure

T = TypeVar("T")

NAMESPACES = Path("/run/netns")
_SYSCTL = Path("/proc/sys")


class _Visit(threading.Thread, Generic[T]):
    def __init__(self, name: str, action: Callable[[], T]) -> None:
        super().__init__(name=f"netns-{name}", daemon=True)
        self._namespace = name
        self._action = action
        self._result: T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            netns.setns(str(NAMESPACES / self._namespace), flags=0)
            self._result = self._action()
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        self.join()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # no error means that the action returned its T


class Namespace:
    """A namespace by name. ``create`` makes many at once, since one ``ip`` process makes hundreds in a blink."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def path(self) -> Path:
        return NAMESPACES / self.name

    @staticmethod
    def create(names: Iterable[str]) -> None:
        _batch("make", [f"netns add {name}" for name in names])

    @staticmethod
    def remove(names: Iterable[str]) -> None:
        """Their names; the kernel keeps each for as long as a process or a socket is in it."""
        _batch("remove", [f"netns del {name}" for name in names])

    def enter(self, action: Callable[[], T]) -> T:
        """Runs ``action`` inside, blocks until it is done, and returns or raises what it did."""
        visit = _Visit(self.name, action)
        visit.start()
        return visit.result()

    def write_sysctls(self, values: Mapping[str, int | str]) -> None:
        """Sets sysctls by dotted name; raises LabFailure naming the first that the kernel refuses."""

        def write() -> None:
            for name, value in values.items():
                try:
                    (_SYSCTL / name.replace(".", "/")).write_text(f"{value}\n")
                except OSError as error:
                    raise LabFailure(f"the kernel refuses sysctl {name}={value}: {error.strerror}") from error

        self.enter(write)

    def read_sysctls(self, names: Iterable[str]) -> dict[str, str]:
        """The values as the kernel gives them now; white space is folded. Unreadable ones read as ``unreadable``."""

        def read() -> dict[str, str]:
            values = {}
            for name in names:
                try:
                    values[name] = " ".join((_SYSCTL / name.replace(".", "/")).read_text().split())
                except OSError:
                    values[name] = "unreadable"
            return values

        return self.enter(read)


def _batch(what: str, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(["ip", "-batch", "-"], input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise LabFailure(
            f"cannot {what} network namespaces: {done.stderr.strip()}", advice="`watcher doctor` looks for the cause"
        )
