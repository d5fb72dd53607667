"""A program's TCP sockets as its own kernel sees them: what keepalive it really set, whatever it says.

The options are read from the sockets themselves (``kernel/duplicates.py``); the running timer stands in the process's
own /proc table.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path

from watcher.kernel import duplicates
from watcher.kernel.processes import family
from watcher.kernel.tcp_info import STATES
from watcher.lab.namespace import Namespace
from watcher.records import Socket

_CPU_CLOCK = 2
"""CPUCLOCK_SCHED of the kernel's posix-timers.h: all threads of a process, those that have ended too."""
_TICKS = os.sysconf("SC_CLK_TCK")
_TIMERS = {1: "on", 2: "keepalive", 3: "time-wait", 4: "persist"}


def of_process(pid: int) -> tuple[Socket, ...]:
    """All TCP sockets of the process and its children; empty when it has ended."""
    rows: dict[str, Socket] = {}
    options: dict[str, dict[str, object]] = {}
    for each in family(pid):
        with contextlib.suppress(OSError):
            rows |= _table(each)
        with contextlib.suppress(OSError):
            options |= _options(each)
    return tuple(row.model_copy(update=options[inode]) for inode, row in sorted(rows.items()) if inode in options)


def of_peer(namespace: Namespace, address: str) -> tuple[Socket, ...]:
    """The sockets of a namespace whose other end has this IPv4 address; ``port`` is that end's."""
    # As /proc prints it: hexadecimal, in the byte order of the machine.
    peer = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}"

    def read() -> tuple[Socket, ...]:
        lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
        rows = [line.split() for line in lines]
        return tuple(_row(columns, port_of=2) for columns in rows if columns[2].startswith(f"{peer}:"))

    return namespace.enter(read)


def states(pid: int) -> str:
    """The letters that /proc has for the states of the process and its children, each once; empty when it has ended."""
    letters = set()
    for each in family(pid):
        with contextlib.suppress(OSError):
            # After the name, which may hold anything but ends at the last bracket.
            letters.add(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0])
    return "".join(sorted(letters))


def memory_mib(pid: int) -> float | None:
    """Largest resident memory so far of the process and its children, in MiB; None when it has ended."""
    total = 0.0
    for each in family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) / 1024
    return round(total, 1) or None


def cpu_seconds(pid: int) -> float | None:
    """CPU time so far of the process and its children, those that have ended too; None when it has ended."""
    total = 0.0
    for each in family(pid):
        with contextlib.suppress(OSError):
            # pid (name) state ppid …: the name may hold anything. Time of children that were waited for, in ticks.
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[13]) + int(fields[14])) / _TICKS
            # Its own in nanoseconds, which ticks of 10 ms are too coarse for: the clock of clock_getcpuclockid(3).
            total += time.clock_gettime(~each << 3 | _CPU_CLOCK)
    return round(total, 4) or None


def _table(pid: int) -> dict[str, Socket]:
    """Rows of the process's namespace, by inode. Columns: Documentation/networking/proc_net_tcp.rst of Linux."""
    rows = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            columns = line.split()
            row = _row(columns, port_of=1)
            if row.state != "LISTEN":
                rows[columns[9]] = row
    return rows


def _row(columns: list[str], *, port_of: int) -> Socket:
    """``port_of``: the column of the address whose port is the client's: 1 is this end, 2 the other."""
    timer, left = columns[5].split(":")
    running = _TIMERS.get(int(timer, 16))
    return Socket(
        port=int(columns[port_of].rsplit(":", 1)[1], 16),
        state=STATES.get(int(columns[3], 16), columns[3]),
        timer=running,
        timer_seconds=int(left, 16) / _TICKS if running else None,
        unacknowledged=int(columns[4].split(":")[0], 16),
    )


def _options(pid: int) -> dict[str, dict[str, object]]:
    """Keepalive options of the process's TCP sockets, by inode as the tables print it."""
    return {str(inode): asdict(options) for inode, options in duplicates.options(pid).items()}
