"""What a program costs, as its kernel counts it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from watcher.lab import sockets

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what only Linux tells")

BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
IDLE = "import sys\nprint('there', flush=True)\nsys.stdin.read()\n"


def cpu_of(program: str) -> float | None:
    """Of a program, at the moment when it has printed its line."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = sockets.cpu_seconds(process.pid)
        process.communicate()
    assert sockets.cpu_seconds(process.pid) is None
    return found


def test_cpu_time_is_that_of_the_whole_family() -> None:
    """A client that works in a child process (a shell script, a launcher) looks free of charge."""
    alone = cpu_of(BURN.format(seconds=0.3) + IDLE)
    ended = cpu_of(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {BURN.format(seconds=0.3)!r}])\n" + IDLE
    )
    child = BURN.format(seconds=0.3) + IDLE
    living = cpu_of(f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {child!r}])\n")
    for found in (alone, ended, living):
        assert found is not None
        assert 0.28 <= found < 5


def test_waiting_costs_nothing() -> None:
    """Wall time instead of CPU time would make each client as dear as the network is slow."""
    found = cpu_of("import time\ntime.sleep(1)\n" + IDLE)
    assert found is not None
    assert found < 0.8
