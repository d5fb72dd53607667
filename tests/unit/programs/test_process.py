"""A client program as a process: hostile output, stubborn ends. No lab needed."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from watcher.programs import process
from watcher.programs.process import ERRORS, OUTPUT, Command, Lines, Process


@given(chunks=st.lists(st.binary(max_size=30), max_size=20))
def test_lines_are_the_same_however_they_arrive(chunks: list[bytes]) -> None:
    """A pipe cuts where it likes; an observation must not depend on it."""
    lines = Lines(limit=10_000)
    got: list[bytes] = []
    for chunk in chunks:
        got += lines.feed(chunk)[0]
    assert [*got, lines.rest()] == b"".join(chunks).split(b"\n")


def test_a_line_over_the_limit_is_told_and_nothing_after_it_is_given() -> None:
    """Ten megabytes without a newline must neither fill memory nor stop the run."""
    lines = Lines(limit=5)
    assert lines.feed(b"12345\n") == ([b"12345"], False)
    assert lines.feed(b"ok\n123456\nmore\n") == ([b"ok"], True)
    lines = Lines(limit=5)
    assert lines.feed(b"123") == ([], False)
    assert lines.feed(b"456") == ([], True)


async def run(code: str, folder: Path, *, stop: bool = False) -> tuple[int, list[bytes], int, Process]:
    got: list[bytes] = []
    spoken = asyncio.Event()
    overlong = 0

    def on_line(line: bytes) -> None:
        got.append(line)
        spoken.set()

    async def on_overlong() -> None:
        nonlocal overlong
        overlong += 1

    program = await Process.spawn(
        Command([sys.executable, "-c", code], {"PATH": "/usr/bin:/bin"}, folder), limit=process._CHUNK
    )
    reading = asyncio.create_task(program.read(on_line, on_overlong))
    if stop:
        await asyncio.wait_for(spoken.wait(), 30)
        await program.stop()
    status = await asyncio.wait_for(reading, 30)
    return status, got, overlong, program


async def test_output_and_errors_are_kept_and_the_status_is_true(tmp_path: Path) -> None:
    """A maintainer who contests a verdict starts from what the program said."""
    code = "import sys; print('one'); print('two', end='', flush=True); print('oh', file=sys.stderr); sys.exit(7)"
    status, got, overlong, program = await run(code, tmp_path)
    assert (status, got, overlong, program.stopped_by_harness) == (7, [b"one", b"two"], 0, False)
    assert (tmp_path / OUTPUT).read_text() == "one\ntwo"
    assert (tmp_path / ERRORS).read_text() == "oh\n"


async def test_ten_megabytes_without_a_newline_are_told_once(tmp_path: Path) -> None:
    """The program is not blocked by a reader that has lost interest, and it is told on just once."""
    code = "import sys; print('first', flush=True); sys.stdout.buffer.write(b'x' * 10_000_000); print('\\nlast')"
    status, got, overlong, _ = await run(code, tmp_path)
    assert (status, got, overlong) == (0, [b"first"], 1)
    assert (tmp_path / OUTPUT).stat().st_size > 10_000_000


async def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A run must end even when a program will not; and that was the harness's doing, not the program's death."""
    monkeypatch.setattr(process, "STOP_SECONDS", 0.3)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    status, _, _, program = await run(code, tmp_path, stop=True)
    assert status == -signal.SIGKILL
    assert program.stopped_by_harness


async def test_children_of_the_program_end_with_it(tmp_path: Path) -> None:
    """A launcher's child that outlives its cell would go on watching in the next one's time."""
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); import time; time.sleep(600)"
    _, got, _, _ = await run(code, tmp_path, stop=True)
    child = Path("/proc") / got[0].decode()
    async with asyncio.timeout(30):
        while _lives(child):  # noqa: ASYNC110 - nobody tells of a grandchild's end
            await asyncio.sleep(0.02)


def _lives(process: Path) -> bool:
    """One that has ended may be there until somebody asks for its status, and may go while it is looked at."""
    try:
        return "Z" not in (process / "stat").read_text().split()[2]
    except OSError:
        return False
