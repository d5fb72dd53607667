"""The machine that a result was made on, in words that say nothing about whose it is."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version


def described() -> dict[str, object]:
    """Kernel, system, Python, size: what can make another machine's result differ."""
    return {
        "watcher": version("watcher-resilience-matrix"),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": _system(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20),
        "root": os.geteuid() == 0,
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return platform.system()
