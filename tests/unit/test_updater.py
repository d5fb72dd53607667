"""The updater against the embedded control plane on loopback: touches, misses, schedules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from watcher.errors import UsageError
from watcher.lab.control_plane.server import Server, serve
from watcher.model import Touch
from watcher.records import Entry, FailureWritten, Touched
from watcher.updater import ApiServer, Trigger, Updater, Watcher, schedule_of

TRIGGER = Trigger(namespace="cell-1")
SHARP = Watcher(cell="a-stack/default/control#1", stack="a-stack", profile="default")
DEAF = Watcher(cell="b-stack/default/control#1", stack="b-stack", profile="default")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve() as running:
        yield running


def api(server: Server, **changed: object) -> ApiServer:
    host, _, port = server.addresses[0].rpartition(":")
    fields: dict[str, object] = {"host": host, "port": int(port), "ca_pem": server.ca_pem, "token": server.token}
    return ApiServer(**(fields | changed))  # type: ignore[arg-type]


def config_maps(server: Server) -> dict[str, dict[str, str]]:
    from watcher.lab.control_plane.objects import CONFIG_MAPS

    return {
        version.name: version.value.get("data", {})
        for version in server.store.versions(CONFIG_MAPS)
        if version.namespace == TRIGGER.namespace
    }


async def test_each_touch_is_a_fresh_nonce_with_its_times(server: Server) -> None:
    """An old nonce seen again must never pass for an observation."""
    seen: list[Entry] = []
    updater = Updater(api(server), seen.append, deadline_seconds=5)
    await updater.create(TRIGGER)
    await updater.create(TRIGGER)
    first = await updater.touch(TRIGGER, Touch.CONTROL, [SHARP])
    second = await updater.touch(TRIGGER, Touch.TOUCH, [SHARP])
    updater.close()
    assert first.nonce != second.nonce
    assert len(second.nonce) == 32
    assert second.status == 200
    assert second.answered is not None
    assert second.sent <= second.answered <= second.t
    assert seen == [first, second]
    assert config_maps(server)["trigger"]["nonce"] == second.nonce


async def test_a_miss_is_written_down_and_an_observation_is_not(server: Server) -> None:
    """A ``failure-<ts>`` ConfigMap is what an operator finds in the morning; a false one wakes them for nothing."""
    seen: list[Entry] = []

    def emit(record: Entry) -> None:
        seen.append(record)
        if isinstance(record, Touched):  # observed at once: no deadline runs out over a busy machine
            updater.observed(SHARP, "an old nonce")
            updater.observed(DEAF, "a guess")
            updater.observed(SHARP, record.nonce)

    updater = Updater(api(server), emit, deadline_seconds=0.5)
    await updater.create(TRIGGER)
    touched = await updater.round(TRIGGER, [SHARP, DEAF])
    updater.close()
    failures = {name: data for name, data in config_maps(server).items() if name.startswith("failure-")}
    assert len(failures) == 1
    ((name, data),) = failures.items()
    assert (data["stack"], data["profile"], data["nonce"]) == ("b-stack", "default", touched.nonce)
    assert data["reason"] == "not observed within 0.5 s"
    late = datetime.fromisoformat(data["missedAt"]) - datetime.fromisoformat(data["touchedAt"])
    assert timedelta(seconds=0.4) < late < timedelta(seconds=60)
    written = [record for record in seen if isinstance(record, FailureWritten)]
    assert [(record.name, record.status, record.cell) for record in written] == [(name, 201, DEAF.cell)]


async def test_a_failed_update_is_nobodys_miss(server: Server) -> None:
    """An API server that refuses the update says nothing about any watcher."""
    seen: list[Entry] = []
    updater = Updater(api(server, token="wrong"), seen.append, deadline_seconds=0.2)  # noqa: S106 - meant to be refused
    refused = await updater.round(TRIGGER, [SHARP])
    gone = Updater(api(server, port=1), seen.append, deadline_seconds=0.2)
    away = await gone.round(TRIGGER, [SHARP])
    for each in (updater, gone):
        each.close()
    assert refused.status == 401
    assert refused.error
    assert away.status is None
    assert "refused" in (away.error or "")
    assert not [record for record in seen if isinstance(record, FailureWritten)]


async def test_a_server_that_is_not_who_it_says_is_not_touched(server: Server) -> None:
    """Certificates are verified everywhere, also in the lab: nothing here may teach to switch that off."""
    async with serve() as other:
        updater = Updater(api(server, ca_pem=other.ca_pem), lambda _record: None, deadline_seconds=0.2)
        touched = await updater.touch(TRIGGER, Touch.TOUCH)
        updater.close()
    assert "CERTIFICATE_VERIFY_FAILED" in (touched.error or "")


async def test_touches_by_schedule(server: Server) -> None:
    """The soak touches every 600 s for weeks by this very code."""
    seen: list[Entry] = []
    updater = Updater(api(server), seen.append, deadline_seconds=0.05)
    await updater.create(TRIGGER)
    updater.start("1.5", lambda: updater.round(TRIGGER, []))
    async with asyncio.timeout(60):
        while len(seen) < 3:  # noqa: ASYNC110 - the records are the only sign
            await asyncio.sleep(0.02)
    updater.close()
    touches = [record for record in seen if isinstance(record, Touched)]
    assert all(touch.status == 200 for touch in touches)
    # Each is sent when its handshake is over, which takes as long as a busy machine likes.
    assert all(later.sent - earlier.sent > 0.5 for earlier, later in pairwise(touches))
    assert len({touch.nonce for touch in touches}) == len(touches)


def test_a_schedule_is_seconds_or_cron() -> None:
    """A wrong schedule must be told at the start, not found in an empty table a week later."""
    now = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    cron = schedule_of("*/10 * * * *").get_next_fire_time(None, now)
    assert cron == datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
    assert schedule_of("600").interval == timedelta(seconds=600)
    for wrong in ("", "0", "-5", "nan", "inf", "every day", "61 * * * *", "* * *"):
        with pytest.raises(UsageError):
            schedule_of(wrong)
