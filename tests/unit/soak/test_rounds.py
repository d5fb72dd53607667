"""When a round looks at the programs' quiet sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.soak.virtual import Cluster, Game, run_virtually
from watcher.idle.quiet import QuietWatch
from watcher.kernel.duplicates import Options
from watcher.kernel.sock_diag import Row
from watcher.kernel.tcp_info import ESTABLISHED, TcpInfo
from watcher.records import Touched
from watcher.soak.rounds import LOOK_AGAIN_SECONDS
from watcher.totals import Keepalive

IDLE_SECONDS = 240.0
"""The path's; it resets what was idle so long, and the program connects anew."""
OFF = Options(False, 7200, 75, 9, 0.0)
SILENT = TcpInfo(
    ESTABLISHED, 0, 0, 0, 99.0, 99.0, 99.0, bytes_acked=9, bytes_received=9, segs_out=9, segs_in=9, data_segs_in=9,
    data_segs_out=9,
)  # fmt: skip


class Looked(Game):
    """A game whose sockets are looked at; ``seen`` is what happened, in order."""

    def __init__(self, folder: Path, look_seconds: float = 0.01, **more: Any) -> None:
        super().__init__(folder, Cluster(), **more)
        self.look_seconds, self.touched_at = look_seconds, 0.0
        self.seen: list[str] = []
        self.quiet = QuietWatch(443, clock=asyncio.get_running_loop().time, read=self._sockets)

    async def touch(self, nonce: str) -> Touched:
        self.seen.append("touch")
        self.touched_at = asyncio.get_running_loop().time()
        return await super().touch(nonce)

    async def measure(self, *, before_touch: bool) -> None:
        self.seen.append("begin")
        await asyncio.sleep(self.look_seconds)
        self.quiet.look(1)
        if before_touch:
            self.quiet.pause()
        self.seen.append("end")

    def _sockets(self, _: int) -> Mapping[int, tuple[Row, Options | None]]:
        """One connection for each time that the path has ended one since the touch; nothing is ever sent on it."""
        ended = self.touches + int((asyncio.get_running_loop().time() - self.touched_at) / IDLE_SECONDS)
        row = Row(ended, ESTABLISHED, ("10.0.0.2", 4000 + ended), ("10.96.0.1", 443), None, 0.0, SILENT)
        return {ended: (row, OFF)}


def play(folder: Path, *, touches: int = 3, interval: float = 600.0, **more: Any) -> tuple[Keepalive, Looked]:
    async def scene() -> Looked:
        game = Looked(folder, **more)
        await game.play(touches=touches, interval=interval)
        return game

    game = run_virtually(scene())
    return game.quiet.measured(), game


def test_what_the_path_ends_before_the_next_touch_is_measured(tmp_path: Path) -> None:
    """Else "unknown" stands beside every client without keepalive, wherever a path is shorter than the interval."""
    measured, _ = play(tmp_path)
    assert (measured.by, measured.option) == ("none", "off")
    assert measured.quiet_seconds == pytest.approx(3 * LOOK_AGAIN_SECONDS, abs=1)


def test_without_the_look_between_it_would_not_be(tmp_path: Path) -> None:
    """The mutant of the test above."""
    assert play(tmp_path, look_again_seconds=IDLE_SECONDS + 5)[0].by == "unknown"


@pytest.mark.parametrize(
    ("interval", "between"),
    [
        (30.0, 0),
        (LOOK_AGAIN_SECONDS + 1, 0),
        pytest.param(LOOK_AGAIN_SECONDS + 3.3, 1, id="the touch is due while the look is under way"),
        (600.0, 1),
    ],
)
def test_no_look_crosses_a_touch(tmp_path: Path, interval: float, between: int) -> None:
    """Else the touch's own event is looked at as keepalive, or two threads read the same counters."""
    _, game = play(tmp_path, touches=6, interval=interval, look_seconds=0.8)
    begun = ["begin", "end", "touch", "begin", "end"]
    after_the_last = int(2 * interval > LOOK_AGAIN_SECONDS)
    assert game.seen == (begun + ["begin", "end"] * between) * 5 + begun + ["begin", "end"] * after_the_last
