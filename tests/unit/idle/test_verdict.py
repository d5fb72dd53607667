"""From tries to a finding, and from a finding to the nearest path."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.catalog import Catalog
from watcher.idle.nearest import nearest
from watcher.idle.verdict import Finding, Try, find, refining_ages, words
from watcher.totals import Tried

PATHS = list(Catalog.load().paths.values())
AGES = tuple(60.0 * number for number in range(1, 16))


def path_with(timeout: float | None, outcome: Tried, ages: tuple[float, ...] = AGES) -> tuple[Try, ...]:
    """Tries as a path with this timeout and ending would have them."""
    made = []
    for age in ages:
        if timeout is None or age < timeout:
            made.append(Try(age_seconds=age, idle_seconds=age, outcome=Tried.ALIVE))
        elif outcome is Tried.RESET:
            made.append(Try(age_seconds=age, idle_seconds=timeout, outcome=outcome, by_itself=True))
        else:
            made.append(Try(age_seconds=age, idle_seconds=age, outcome=outcome))
    return tuple(made)


def names(finding: Finding) -> list[str]:
    return [near.path for near in nearest(finding, PATHS)]


@pytest.mark.parametrize(
    ("timeout", "outcome", "first"),
    [
        (240.2, Tried.RESET, "azure-slb"),
        (350, Tried.RESET_ON_NEXT_PACKET, "aws-nlb"),
        (241, Tried.SILENT, "azure-slb-silent"),
        (601, Tried.SILENT, "gcp-vpc"),
    ],
)
def test_the_clouds_paths_are_recognised(timeout: float, outcome: Tried, first: str) -> None:
    """Else a user is sent to the wrong scenarios of the lab."""
    finding = find(path_with(timeout, outcome))
    assert finding.result == "timeout"
    assert finding.ending is outcome
    assert first in names(finding)


def test_paths_that_look_the_same_from_here_are_all_named() -> None:
    """A RST that only the server gets is silence to the client; naming one of the two would be a guess."""
    assert set(names(find(path_with(241, Tried.SILENT)))) >= {"azure-slb-silent", "azure-slb-reset-lost"}


def test_a_narrow_interval_leaves_others_out() -> None:
    """240 and 300 s are told apart when the second round has been."""
    ages = (*AGES, *refining_ages(find(path_with(240.5, Tried.SILENT))))
    assert "azure-slb-silent" in names(find(path_with(240.5, Tried.SILENT, ages)))
    assert "gcp-vpc" not in names(find(path_with(240.5, Tried.SILENT, ages)))
    assert not {"azure-slb-silent", "azure-slb-reset-lost"} & set(names(find(path_with(600.5, Tried.SILENT))))


def test_an_ending_that_no_path_has_is_near_to_none() -> None:
    """Else a proxy that closes connections in order is called a load balancer that resets them."""
    finding = find(path_with(60, Tried.CLOSED))
    assert finding.result == "timeout"
    assert names(finding) == []


def test_no_timeout() -> None:
    """Nothing found up to the last age is a finding, and says up to where."""
    finding = find(path_with(None, Tried.ALIVE))
    assert (finding.result, finding.alive_seconds) == ("none", 900)
    assert "900 s" in words(finding)
    assert "direct" in names(finding)


def test_the_servers_keepalive_bounds_what_can_be_seen() -> None:
    """Else a path of 240 s is called free of timeouts, because the server speaks every 180 s."""
    tries = tuple(
        each.model_copy(update={"signs": tuple(180.0 * n for n in range(1, int(each.idle_seconds // 180) + 1))})
        for each in path_with(None, Tried.ALIVE)
    )
    finding = find(tries)
    assert finding.result == "kept-alive"
    assert finding.kept_alive_every_seconds == pytest.approx(180)
    assert finding.alive_seconds == pytest.approx(180)
    assert "every 180 s" in words(finding)


def test_contradicting_tries_are_said_to_be() -> None:
    """Two load balancers behind one name must not become one timeout that neither has."""
    tries = (*path_with(None, Tried.ALIVE), Try(age_seconds=120, idle_seconds=120, outcome=Tried.SILENT))
    finding = find(tries)
    assert finding.result == "contradicting"
    assert "120 s" in words(finding)
    assert nearest(finding, PATHS) == ()


def test_the_kernels_whole_seconds_are_no_contradiction() -> None:
    """Two connections that died and lived within a second of each other are one timeout."""
    tries = (
        Try(age_seconds=6, idle_seconds=6.3, outcome=Tried.ALIVE),
        Try(age_seconds=6, idle_seconds=6.1, outcome=Tried.SILENT),
    )
    assert find(tries).result == "timeout"


def test_void_tries_do_not_count() -> None:
    """A try during an outage would else be a timeout of the path."""
    void = Try(age_seconds=60, idle_seconds=60, outcome=Tried.SILENT, void="no fresh connection worked")
    assert find((void,)).result == "cannot-know"
    finding = find((void, *path_with(240, Tried.SILENT)))
    assert (finding.result, finding.void) == ("timeout", 1)
    assert finding.dead_seconds == 240


def test_a_failed_control_outranks_everything() -> None:
    """Where the API server was restarted, every ending is its own and not the path's."""
    finding = find(path_with(240, Tried.RESET), ("the busy connection ended",))
    assert finding.result == "cannot-know"
    assert "busy" in words(finding)
    assert nearest(finding, PATHS) == ()


def test_different_endings_are_mentioned() -> None:
    """The most frequent one stands for the path, and the other is not hidden."""
    tries = (*path_with(240, Tried.RESET), Try(age_seconds=300, idle_seconds=300, outcome=Tried.SILENT))
    finding = find(tries)
    assert finding.ending is Tried.RESET
    assert any("silent 1" in note for note in finding.notes)


def test_refining_narrows_what_is_not_exact() -> None:
    """A second round inside the interval; none where connections said themselves when they ended."""
    ages = refining_ages(find(path_with(241, Tried.SILENT)))
    assert len(ages) == 12
    assert all(240 < age < 300 for age in ages)
    assert refining_ages(find(path_with(240.2, Tried.RESET))) == ()
    assert refining_ages(find(path_with(None, Tried.ALIVE))) == ()


timeouts = st.floats(min_value=1, max_value=2000)
endings = st.sampled_from([Tried.RESET, Tried.RESET_ON_NEXT_PACKET, Tried.SILENT, Tried.CLOSED])
ages = st.lists(st.floats(min_value=0.5, max_value=1000), min_size=1, max_size=20, unique=True).map(tuple)


@given(timeouts, endings, ages)
def test_the_interval_always_holds_the_timeout(timeout: float, ending: Tried, ages: tuple[float, ...]) -> None:
    """Whatever the ages: a stated interval that leaves the timeout out sends a user after the wrong setting."""
    finding = find(path_with(timeout, ending, ages))
    if finding.result == "none":
        assert timeout > max(ages)
    else:
        assert finding.result == "timeout"
        assert finding.dead_seconds is not None
        assert (finding.alive_seconds or 0) <= timeout <= finding.dead_seconds
        assert finding.ending is ending
    assert words(finding)


@given(timeouts, endings, ages, st.randoms())
def test_the_order_of_the_tries_is_nothing(
    timeout: float, ending: Tried, ages: tuple[float, ...], random: Random
) -> None:
    """They end in any order on a busy machine."""
    tries = list(path_with(timeout, ending, ages))
    before = find(tuple(tries))
    random.shuffle(tries)
    assert find(tuple(tries)) == before


@given(timeouts, endings)
def test_a_second_round_never_widens(timeout: float, ending: Tried) -> None:
    """Its ages lie inside the first round's interval, and its outcome does, too."""
    first = path_with(timeout, ending)
    coarse = find(first)
    fine = find((*first, *path_with(timeout, ending, refining_ages(coarse))))
    if coarse.result == "timeout":
        assert fine.result == "timeout"
        assert fine.dead_seconds is not None
        assert coarse.dead_seconds is not None
        assert (coarse.alive_seconds or 0) <= (fine.alive_seconds or 0) <= fine.dead_seconds <= coarse.dead_seconds
