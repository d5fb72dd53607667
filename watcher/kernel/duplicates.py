"""The options of another process's TCP sockets, through duplicates that the kernel makes for us (pidfd_getfd).

Needs what a debugger needs: the same user and, where yama's ptrace_scope is 1, to be an ancestor of the process.
Container runtimes' default seccomp profile refuses it without CAP_SYS_PTRACE.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from watcher.kernel.processes import socket_files

_PIDFD_GETFD = 438  # the same number on every architecture, as all system calls since 2019
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Options:
    """What a TCP socket is set to, whatever its program says."""

    keepalive: bool
    keepalive_idle_seconds: int
    keepalive_interval_seconds: int
    keepalive_count: int
    user_timeout_seconds: float

    def __str__(self) -> str:
        if not self.keepalive:
            return "off"
        numbers = f"{self.keepalive_idle_seconds}/{self.keepalive_interval_seconds}/{self.keepalive_count}"
        more = f", user timeout {self.user_timeout_seconds:g} s" if self.user_timeout_seconds else ""
        return f"on {numbers}{more}"


def options(pid: int) -> dict[int, Options]:
    """Of the process's TCP sockets, by inode; a socket closed meanwhile is left out.

    Raises OSError: PermissionError where we may not look into the process, ProcessLookupError where it has ended.
    """
    found = {}
    with _descriptor(pid) as pidfd:
        for number, inode in socket_files(pid).items():
            with contextlib.suppress(FileNotFoundError), _duplicate(pidfd, number) as copy:
                if copy.type == socket.SOCK_STREAM and copy.family in (socket.AF_INET, socket.AF_INET6):
                    with contextlib.suppress(OSError):  # a stream, but not TCP
                        found[inode] = _read(copy)
    return found


@contextmanager
def _descriptor(pid: int) -> Iterator[int]:
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


@contextmanager
def _duplicate(pidfd: int, number: int) -> Iterator[socket.socket]:
    copy = _libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
    if copy < 0:
        error = ctypes.get_errno()
        # EBADF: the process has closed it since we saw it.
        raise FileNotFoundError(number) if error == errno.EBADF else OSError(error, os.strerror(error))
    with socket.socket(fileno=copy) as duplicate:
        yield duplicate


def _read(copy: socket.socket) -> Options:
    def option(name: int) -> int:
        return copy.getsockopt(socket.IPPROTO_TCP, name)

    return Options(
        keepalive=bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        keepalive_idle_seconds=option(socket.TCP_KEEPIDLE),
        keepalive_interval_seconds=option(socket.TCP_KEEPINTVL),
        keepalive_count=option(socket.TCP_KEEPCNT),
        user_timeout_seconds=option(socket.TCP_USER_TIMEOUT) / 1000,
    )
