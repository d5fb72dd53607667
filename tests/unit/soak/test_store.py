"""The totals in their ConfigMap: nothing twice, nothing overwritten that nobody has read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.unit.soak.api import NAMESPACE, Seam, api_of, data, objects, put, serving
from tests.unit.soak.counts import counted, totals
from watcher.lab.control_plane.server import Server
from watcher.soak import store
from watcher.soak.store import Portion, StoreUnavailable, TotalsStore
from watcher.totals import Totals, Update

PORTION = totals(counted(observed=3, missed=1), updates={Update.OK: 4})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as running:
        yield running


@pytest.fixture
def seam(monkeypatch: pytest.MonkeyPatch) -> Seam:
    seam = Seam()
    monkeypatch.setattr(store, "request", seam)
    return seam


def make(server: Server, instance: str = "soak") -> TotalsStore:
    return TotalsStore(lambda: api_of(server), NAMESPACE, instance)


def kept(server: Server, name: str = "totals-soak") -> Totals:
    return Totals.model_validate_json(data(server)[name]["totals.json"])


async def test_portions_add_up_and_outlive_the_process(server: Server) -> None:
    """The table is made from this alone, weeks and pods later."""
    returned = await make(server).merge(Portion("a", 1, PORTION))
    assert returned == kept(server)
    await make(server).merge(Portion("a", 2, PORTION))
    await make(server).merge(Portion("b", 1, PORTION))
    assert kept(server).updates == {Update.OK: 12}
    assert kept(server).watchers[0].missed == 3
    assert json.loads(data(server)["totals-soak"]["totals.json"])["totals_version"] == 1
    assert objects(server)["totals-soak"]["metadata"]["labels"]["watcher/kind"] == "totals"


async def test_two_instances_never_count_each_others_touches(server: Server) -> None:
    """Otherwise a second soak would dilute the misses of the first."""
    await make(server).merge(Portion("a", 1, PORTION))
    await make(server, "other").merge(Portion("a", 1, PORTION))
    assert kept(server).updates == kept(server, "totals-other").updates == {Update.OK: 4}


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_lost_answer_counts_nothing_twice(server: Server, seam: Seam, method: str) -> None:
    """The network ate the answer; the portion is sent again, as it is."""
    if method == "PUT":
        await make(server).merge(Portion("before", 1, PORTION))
    seam.after = lambda asked, _path: OSError("reset by peer") if asked == method else None
    with pytest.raises(StoreUnavailable):
        await make(server).merge(Portion("a", 1, PORTION))
    seam.after = lambda _method, _path: None
    await make(server).merge(Portion("a", 1, PORTION))
    assert kept(server).updates == {Update.OK: 8 if method == "PUT" else 4}


async def test_two_at_once_lose_nothing(server: Server) -> None:
    """A rolling restart: the old pod's last portion and the new one's first."""
    await asyncio.gather(*(make(server).merge(Portion(name, 1, PORTION)) for name in "abc"))
    assert kept(server).updates == {Update.OK: 12}
    assert kept(server).sessions == dict.fromkeys(kept(server).sessions, 1)
    assert len(kept(server).sessions) == 3


@pytest.mark.parametrize("trouble", [401, 403, 500, 507, OSError("unreachable")])
async def test_whatever_goes_wrong_is_to_be_tried_again(server: Server, seam: Seam, trouble: int | Exception) -> None:
    """The delivery knows one error; anything else would end the soak."""
    seam.reply = lambda _method, _path: trouble
    with pytest.raises(StoreUnavailable):
        await make(server).merge(Portion("a", 1, PORTION))
    assert "totals-soak" not in data(server)


async def test_somebody_who_always_comes_first_is_an_error_with_advice(server: Server, seam: Seam) -> None:
    """Two soaks with one name would otherwise look like a slow API server."""
    await make(server).merge(Portion("a", 1, PORTION))
    seam.reply = lambda method, _path: 409 if method == "PUT" else None
    with pytest.raises(StoreUnavailable) as raised:
        await make(server).merge(Portion("b", 1, PORTION))
    assert "WATCHER_INSTANCE" in (raised.value.advice or "")


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null", '{"totals_version": 1}', '{"instance": 5}', "[" * 5000])
async def test_damaged_totals_are_copied_before_counting_begins_anew(server: Server, damaged: str) -> None:
    """Somebody edited it: neither their edit nor the next weeks' counts may be lost."""
    put(server, "totals-soak", {"totals.json": damaged, "note": "mine"}, {"team": "a"})
    await make(server).merge(Portion("a", 1, PORTION))
    assert kept(server).updates == {Update.OK: 4}
    (copy,) = (name for name in data(server) if "unreadable" in name)
    assert data(server)[copy] == {"totals.json": damaged, "note": "mine"}
    assert data(server)["totals-soak"]["note"] == "mine"
    assert objects(server)["totals-soak"]["metadata"]["labels"]["team"] == "a"


async def test_without_a_copy_nothing_is_overwritten(server: Server, seam: Seam) -> None:
    """The mutant of the test above: a copy that could not be made must stop the replacing."""
    put(server, "totals-soak", {"totals.json": "{"})
    seam.reply = lambda method, _path: 403 if method == "POST" else None
    with pytest.raises(StoreUnavailable):
        await make(server).merge(Portion("a", 1, PORTION))
    assert data(server) == {"totals-soak": {"totals.json": "{"}}


@pytest.mark.parametrize("change", [{"totals_version": 2}, {"new_key": 1}])
async def test_a_newer_versions_totals_are_left_alone(server: Server, change: dict[str, int]) -> None:
    """Rolled back by accident: the newer counts must be there when the newer version is."""
    newer = json.dumps(PORTION.model_dump(mode="json") | change)
    put(server, "totals-soak", {"totals.json": newer})
    with pytest.raises(StoreUnavailable) as raised:
        await make(server).merge(Portion("a", 1, PORTION))
    assert "newer version" in raised.value.message
    assert data(server) == {"totals-soak": {"totals.json": newer}}


async def test_a_config_map_that_was_there_empty_is_used(server: Server) -> None:
    """Made by kustomize, to be owned by a team: its labels stay."""
    put(server, "totals-soak", {}, {"team": "a"})
    await make(server).merge(Portion("a", 1, PORTION))
    assert kept(server).updates == {Update.OK: 4}
    assert len(data(server)) == 1
