"""The supervisor in virtual time: weeks without growth, kills at any moment, and nothing counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.soak.virtual import Cluster, Game, run_virtually
from watcher.failure_object import data_of
from watcher.totals import Failure, Update


@pytest.fixture(autouse=True, scope="module")
def no_power_cuts() -> Iterator[None]:
    """A SIGKILL needs no fsync, and thousands of them take minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("watcher.soak.spool.os.fdatasync", lambda _descriptor: None)
        patch.setattr("watcher.soak.slots.os.fsync", lambda _descriptor: None)
        yield


def sizes(game: Game) -> tuple[int, int, int]:
    """State in memory, octets on disk, tasks."""
    disk = sum(path.stat().st_size for path in game.folder.rglob("*") if path.is_file())
    return len(game.ledger.state()), disk, len(asyncio.all_tasks())


# Two weeks are more than a minute of computing, on a machine that computes other things besides.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("touches", "interval"), [(2_016, 600.0), (2_000, 0.06)])
def test_two_weeks_without_growth(tmp_path: Path, touches: int, interval: float) -> None:
    """It is found dead in the third week: out of memory, or evicted for its disk."""
    cluster = Cluster()

    async def scene() -> Game:
        def delay(number: int, watcher: str) -> float | None:
            if watcher == "stack-0/default" and number % 50 == 0:
                return None
            if watcher == "stack-1/default" and number % 70 == 0:
                return 14.0
            return 0.05 if interval > 1 else 0.01

        game = Game(tmp_path, cluster, watchers=25, delay=delay)
        seen: list[tuple[int, int, int]] = []

        async def watch() -> None:
            while True:
                await asyncio.sleep(max(20 * interval, 1))
                seen.append(sizes(game))

        watching = asyncio.create_task(watch())
        await game.play(touches=touches, interval=interval)
        watching.cancel()
        early, late = seen[len(seen) // 10 : len(seen) // 2], seen[len(seen) // 2 :]
        for index, slack in enumerate((200, 4_096, 2)):
            assert max(each[index] for each in late) <= max(each[index] for each in early) + slack
        assert max(each[0] for each in seen) < 64_000
        assert max(each[1] for each in seen) < 4 << 20
        assert max(each[2] for each in seen) < 25 + 20
        return game

    game = run_virtually(scene())
    assert game.touches == touches
    assert cluster.updates() == {Update.OK: touches}
    assert cluster.total("observed") + cluster.total("missed") == 25 * touches
    assert cluster.total("missed", "stack-0/default") == touches // 50
    assert cluster.total("missed", "stack-1/default") == touches // 70
    assert cluster.total("late") == len(cluster.late) == touches // 70
    assert len(cluster.failures) == cluster.total("missed") == game.gauges.counts["missed"]
    assert game.gauges.counts["observed"] == cluster.total("observed")


def test_updates_that_fail_are_counted_as_such(tmp_path: Path) -> None:
    """An API server that is away for an hour makes no library look bad."""
    cluster = Cluster()

    async def scene() -> None:
        words = {3: None, 4: None, 5: 403, 6: 409, 7: 500, 8: 429}
        game = Game(tmp_path, cluster, status=lambda number: words.get(number, 200))
        await game.play(touches=10, interval=600)
        assert game.health.problems == {}

    run_virtually(scene())
    assert cluster.updates() == {
        Update.OK: 4,
        Update.AWAY: 2,
        Update.DENIED: 1,
        Update.CONFLICT: 1,
        Update.REFUSED: 2,
    }
    assert cluster.failures == {}
    assert cluster.total("observed") == 4 * 3


def test_a_miss_says_where_its_packets_are(tmp_path: Path) -> None:
    """Whoever is to explain a miss searches twelve files of packets, or does not know that there are any."""

    def missed(name: str, capture: str) -> tuple[Failure, dict[str, str]]:
        cluster = Cluster()

        async def scene() -> None:
            game = Game(tmp_path / name, cluster, watchers=1, delay=lambda _number, _watcher: None, capture=capture)
            await game.play(touches=1, interval=600)

        (tmp_path / name).mkdir()
        run_virtually(scene())
        (failure,) = cluster.failures.values()
        return failure, data_of(failure)

    failure, data = missed("kept", "capture:/capture/ring.pcap*")
    for told in ("capture:/capture/ring.pcap*", f"touched {failure.touched_at}", f"missed {failure.missed_at}"):
        assert told in data["packets"]
    assert "packets" not in missed("not", "")[1]


def test_portions_wait_for_an_api_server_that_is_away(tmp_path: Path) -> None:
    """Totals that were lost while the API server was away, or added twice because its answer was."""
    cluster = Cluster()
    cluster.store_away = lambda t: 3_000 < t < 20_000
    cluster.answer_lost = lambda number: number % 3 == 0

    async def scene() -> None:
        await Game(tmp_path, cluster).play(touches=60, interval=600)

    run_virtually(scene())
    assert cluster.updates() == {Update.OK: 60}
    assert cluster.total("observed") == 180


@given(
    lives=st.lists(st.floats(0.2, 60.0), min_size=1, max_size=4),
    deaf=st.integers(1, 4),
    lost=st.integers(2, 5),
)
@settings(deadline=None, max_examples=25)
def test_killed_at_any_moment(
    tmp_path_factory: pytest.TempPathFactory, lives: list[float], deaf: int, lost: int
) -> None:
    """No miss lost, none invented, and every update that reached the cluster is counted once."""
    folder = tmp_path_factory.mktemp("spool")
    cluster = Cluster()
    cluster.answer_lost = lambda number: number % lost == 0
    deaf_to: set[str] = set()

    def delay(number: int, watcher: str) -> float | None:
        if watcher == "stack-0/default" and number % deaf == 0:
            deaf_to.add(cluster.writes[-1])
            return None
        return 0.05

    async def scene() -> None:
        for number, life in enumerate(lives):
            game = Game(folder, cluster, delay=delay, session=f"s{number}")
            await game.play_until_killed(seconds=life, interval=7)
        await Game(folder, cluster, session="last").play(touches=3, interval=7)

    run_virtually(scene())
    updates = cluster.updates()
    # One more than the writes for each intent whose update was never sent.
    assert len(cluster.writes) <= sum(updates.values()) <= len(cluster.writes) + len(lives)
    assert updates.get(Update.INTERRUPTED, 0) <= len(lives)
    assert set(updates) <= {Update.OK, Update.INTERRUPTED}
    charged = {nonce for nonce, _ in cluster.failures}
    assert {watcher for _, watcher in cluster.failures} <= {"stack-0/default"}
    assert charged <= deaf_to
    assert len(deaf_to - charged) <= updates.get(Update.INTERRUPTED, 0)
    assert cluster.total("missed") == len(cluster.failures)
    assert cluster.total("observed") + cluster.total("missed") == 3 * updates[Update.OK]


def test_a_stall_of_the_supervisor_is_nobodys_miss(tmp_path: Path) -> None:
    """The node froze for a minute, and every library has missed."""
    cluster = Cluster()

    async def scene() -> None:
        game = Game(tmp_path, cluster, delay=lambda number, _w: 30.0 if number == 2 else 0.05)
        loop = asyncio.get_running_loop()

        async def freeze() -> None:
            while game.touches < 2:  # noqa: ASYNC110 - the count is the only sign
                await asyncio.sleep(0.5)
            loop._virtual.now += 60  # type: ignore[attr-defined]

        frozen = asyncio.create_task(freeze())
        await game.play(touches=3, interval=600)
        frozen.cancel()

    run_virtually(scene())
    assert cluster.failures == {}
    assert cluster.updates() == {Update.OK: 2, Update.INTERRUPTED: 1}


def test_the_end_in_order(tmp_path: Path) -> None:
    """A rollout leaves nothing behind: what was counted is in the cluster, and the next begins with nothing to mend."""
    cluster = Cluster()

    async def scene() -> None:
        game = Game(tmp_path, cluster, delay=lambda number, _w: None if number == 2 else 0.05)
        playing = asyncio.create_task(game.play(touches=100, interval=60))
        await asyncio.sleep(125)  # in the middle of the second touch
        began = asyncio.get_running_loop().time()
        game.supervisor.stop.set()
        await playing
        assert asyncio.get_running_loop().time() - began < 10
        assert game.said[-1] == "ended"
        again = Game(tmp_path, cluster, session="s2")
        await again.play(touches=1, interval=60)

    run_virtually(scene())
    assert cluster.updates() == {Update.OK: 2, Update.INTERRUPTED: 1}
    assert cluster.failures == {}


def test_a_round_that_breaks_takes_the_supervisor_with_it(tmp_path: Path) -> None:
    """A supervisor without its updater looks alive for ever."""

    async def scene() -> None:
        game = Game(tmp_path, Cluster())

        async def broken(_seconds: float) -> tuple[str | None, str | None]:
            raise RuntimeError("a bug")

        game.look = broken  # type: ignore[method-assign]
        game.delay = lambda _number, _watcher: None
        await game.play(touches=5, interval=60)

    with pytest.raises(RuntimeError, match="a bug"):
        run_virtually(scene())
