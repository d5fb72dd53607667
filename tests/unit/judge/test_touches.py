"""The soak's judge: no miss without its witnesses, none lost with them, and the same words on every reading."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from watcher.judge.touches import Judged, Late, State, TouchJudge, stall_seconds
from watcher.model import Touch
from watcher.records import (
    Beat,
    Entry,
    IdleTried,
    Intended,
    Looked,
    Probed,
    Program,
    SoakEnded,
    SoakStarted,
    Touched,
)
from watcher.totals import Tried, Update

DEADLINE = 10.0
A, B = "a-stack/default", "b-stack/default"
STATE: TypeAdapter[State] = TypeAdapter(State)


def started(t: float = 0.0, watchers: tuple[str, ...] = (A, B)) -> SoakStarted:
    return SoakStarted(
        t=t,
        session=f"s{t}",
        instance="soak",
        started_at="2026-01-01T00:00:00+00:00",
        boot="b",
        deadline_seconds=DEADLINE,
        watchers=watchers,
    )


def program(t: float, cell: str, event: str, **fields: Any) -> Program:
    return Program.model_validate({"t": t, "cell": cell, "event": event, **fields})


def touched(nonce: str, sent: float, answered: float | None = None, **fields: Any) -> Touched:
    at = sent + 0.05 if answered is None else answered
    return Touched(t=at, role=Touch.TOUCH, nonce=nonce, sent=sent, **({"answered": at, "status": 200} | fields))


def seen(t: float, cell: str, nonce: str) -> Program:
    return program(t, cell, "observed", nonce=nonce, resource_version="1")


def watching(*cells: str) -> list[Entry]:
    return [program(0.5, cell, event) for cell in cells for event in ("spawned", "started", "watching")]


def beats(first: float, last: float) -> list[Entry]:
    return [Beat(t=first + number, number=number) for number in range(round(last - first) + 1)]


def look(t: float, nonce: str, found: str | None = "=") -> Looked:
    return Looked(t=t, nonce=nonce, found=nonce if found == "=" else found, error=None if found else "away")


def opened(nonce: str = "n", t: float = 100.0) -> list[Entry]:
    return [started(), *watching(A, B), Intended(t=t - 0.01, nonce=nonce), touched(nonce, t)]


def judged(records: Iterable[Entry], judge: TouchJudge | None = None) -> list[Judged | Late]:
    judge = judge or TouchJudge()
    return [each for record in records for each in judge.feed(record)]


def a_miss(nonce: str = "n", t: float = 100.0) -> list[Entry]:
    """B never sees it, and all witnesses are there."""
    return [
        seen(t + 0.1, A, nonce),
        look(t + 1, nonce),
        *beats(t + 1, t + 11),
        look(t + 11.1, nonce),
    ]


def test_all_observed_needs_no_witness() -> None:
    """A healthy touch costs nothing but itself."""
    (found,) = judged([*opened(), seen(100.1, A, "n"), seen(100.3, B, "n")])
    assert isinstance(found, Judged)
    assert found.update is Update.OK
    assert {each.watcher: round(each.delay_seconds, 3) for each in found.observed} == {A: 0.1, B: 0.3}
    assert found.missed == ()


def test_observed_before_the_answer_arrives() -> None:
    """A watch's event is often faster than the update's own answer."""
    records = [*opened()[:-1], seen(100.02, A, "n"), seen(100.03, B, "n"), touched("n", 100.0)]
    (found,) = judged(records)
    assert isinstance(found, Judged)
    assert [each.watcher for each in found.observed] == [A, B]


def test_what_was_not_sent_yet_cannot_be_observed() -> None:
    """A program that knows the nonce from elsewhere passes for a watch."""
    records = [*opened()[:-1], seen(99.995, A, "n"), touched("n", 100.0), seen(100.1, B, "n")]
    judge = TouchJudge()
    assert judged(records, judge) == []
    assert judge.waiting == (A,)


def test_a_miss_with_its_three_witnesses() -> None:
    """The one thing the soak is for."""
    (found,) = judged([*opened(), *a_miss()])
    assert isinstance(found, Judged)
    assert (found.update, found.missed, found.visible_at) == (Update.OK, (B,), 101.0)
    assert [each.watcher for each in found.observed] == [A]


WITHOUT: dict[str, tuple[list[Entry], Update | None]] = {
    "no look in time": ([*beats(101, 111), look(111.1, "n")], Update.NOT_VISIBLE),
    "a look in time that found the touch before": (
        [look(101, "n", "before"), *beats(101, 111), look(111.1, "n")],
        Update.NOT_VISIBLE,
    ),
    "looks without an answer": ([look(101, "n", None), *beats(101, 125), look(125.1, "n", None)], Update.NOT_VISIBLE),
    "no answer at the deadline": ([look(101, "n"), *beats(101, 125)], Update.NOT_VISIBLE),
    "replaced at the deadline": ([look(101, "n"), *beats(101, 111), look(111.1, "n", "other")], Update.OVERWRITTEN),
    "replaced in between": (
        [look(101, "n"), *beats(102, 104), look(105, "n", "other"), *beats(106, 111), look(111.1, "n")],
        Update.OVERWRITTEN,
    ),
    "nobody awake after the deadline": ([look(101, "n"), *beats(101, 109), look(109.5, "n")], None),
    "held up over the deadline": (
        [look(101, "n"), *beats(101, 108), Beat(t=160, number=1), look(161, "n")],
        Update.INTERRUPTED,
    ),
    "killed before the last witness": ([look(101, "n"), *beats(101, 111), started(200)], Update.INTERRUPTED),
    "ended before the deadline": (
        [look(101, "n"), *beats(101, 104), SoakEnded(t=104.5, session="s")],
        Update.INTERRUPTED,
    ),
}


@pytest.mark.parametrize("what", WITHOUT)
def test_no_miss_where_a_witness_is_missing(what: str) -> None:
    """An operator is woken for an API server that was away, a second instance, a machine that slept."""
    records, word = WITHOUT[what]
    before = [Intended(t=90, nonce="before"), touched("before", 90), seen(90.1, A, "before"), seen(90.2, B, "before")]
    first = [started(), *watching(A, B), *before]
    found = judged([*first, *opened()[-2:], seen(100.1, A, "n"), *records])[1:]
    assert [each.update for each in found if isinstance(each, Judged)] == ([word] if word else [])
    assert not any(each.missed or each.observed for each in found if isinstance(each, Judged))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"answered": None, "status": None, "error": "refused"}, Update.AWAY),
        ({"status": 401, "error": "no"}, Update.DENIED),
        ({"status": 403, "error": "no"}, Update.DENIED),
        ({"status": 409, "error": "no"}, Update.CONFLICT),
        ({"status": 500, "error": "etcd"}, Update.REFUSED),
        ({"status": 429, "error": "quota"}, Update.REFUSED),
        ({"status": 404, "error": "gone"}, Update.REFUSED),
    ],
)
def test_an_update_that_failed_is_its_own_outcome(fields: dict[str, Any], word: Update) -> None:
    """A quota that is full must not make a client library look bad."""
    failed = touched("n", 100.0).model_copy(update=fields)
    (found,) = judged([*opened()[:-1], failed])
    assert isinstance(found, Judged)
    assert (found.update, found.missed, found.observed) == (word, (), ())


def test_an_update_slower_than_the_deadline_decides_nothing() -> None:
    """The API server took eleven seconds, and every watcher would have missed."""
    (found,) = judged([*opened()[:-1], *beats(100, 110), touched("n", 100.0, 111.0)])
    assert isinstance(found, Judged)
    assert found.update is Update.SLOW


def test_between_the_two_deadlines_nothing_is_said_of_that_watcher() -> None:
    """Observed 10.3 s after the sending but 9.8 s after the answer: two clocks, two words."""
    records = [*opened()[:-1], touched("n", 100.0, 100.5), look(101, "n"), *beats(101, 110), seen(110.3, A, "n")]
    (found,) = judged([*records, Beat(t=111, number=1), look(111.2, "n")])
    assert isinstance(found, Judged)
    assert (found.update, found.missed, found.undecided, found.observed) == (Update.OK, (B,), (A,), ())


def test_an_observation_read_before_the_beat_may_have_been_in_time() -> None:
    """The supervisor was busy for 0.3 s at the deadline, and charges a watcher with its own delay."""
    records = [*opened(), look(101, "n"), *beats(101, 110), seen(110.4, A, "n"), Beat(t=110.5, number=0)]
    (found,) = judged([*records, look(110.6, "n")])
    assert isinstance(found, Judged)
    assert (found.missed, found.undecided) == ((B,), (A,))


def test_late_is_told_after_the_miss_and_once() -> None:
    """ "Seen after 14 s" and "never seen" are two different bugs."""
    judge = TouchJudge()
    found = judged([*opened(), *a_miss(), seen(114, B, "n"), seen(115, B, "n"), seen(115, A, "n")], judge)
    assert [type(each) for each in found] == [Judged, Late]
    assert isinstance(found[1], Late)
    assert (found[1].watcher, found[1].delay_seconds) == (B, 14.0)


def test_late_between_the_beat_and_the_last_look() -> None:
    """The same, while the supervisor is still asking whether the nonce is there."""
    records = [*opened(), seen(100.1, A, "n"), look(101, "n"), *beats(101, 111), seen(111.05, B, "n"), look(111.1, "n")]
    found = judged(records)
    assert [type(each) for each in found] == [Judged, Late]
    assert isinstance(found[0], Judged)
    assert found[0].missed == (B,)


def test_who_has_not_watched_yet_takes_no_part() -> None:
    """Twenty-five programs need half a minute of imports before the first can watch."""
    records = [started(), *watching(A), program(0.5, B, "spawned"), *opened()[-2:], seen(100.1, A, "n")]
    (found,) = judged(records)
    assert isinstance(found, Judged)
    assert (found.update, found.missed) == (Update.OK, ())


def test_a_program_that_died_and_is_held_back_misses() -> None:
    """A crash loop that has watched once is no excuse."""
    died = [program(50, B, "exited", status=1)]
    (found,) = judged([started(), *watching(A, B), *died, *opened()[-2:], *a_miss()])
    assert isinstance(found, Judged)
    assert found.missed == (B,)


def test_not_supported_is_never_charged() -> None:
    """127 is the stack's honest answer."""
    records = [started(), *watching(A), program(0.5, B, "spawned"), program(0.6, B, "exited", status=127)]
    (found,) = judged([*records, *opened()[-2:], seen(100.1, A, "n")])
    assert isinstance(found, Judged)
    assert found.missed == ()


def test_observed_after_a_restart_is_told_apart_and_once() -> None:
    """PASS with restarts is another word than PASS."""
    again = [program(50, A, "exited", status=1), program(51, A, "spawned"), program(52, A, "watching")]
    second = [Intended(t=200, nonce="m"), touched("m", 200.01), seen(200.1, A, "m"), seen(200.1, B, "m")]
    records = [started(), *watching(A, B), *again, *opened()[-2:], seen(100.1, A, "n"), seen(100.2, B, "n"), *second]
    found = [each for each in judged(records) if isinstance(each, Judged)]
    assert [[seen.after_restart for seen in each.observed] for each in found] == [[True, False], [False, False]]


def test_the_first_start_and_an_asked_end_are_no_restarts() -> None:
    """A rollout of the soak itself would make every library PASS with restarts."""
    end = [program(50, A, "exited", status=0, by_harness=True), program(51, A, "spawned"), program(52, A, "watching")]
    (found,) = judged([started(), *watching(A, B), *end, *opened()[-2:], seen(100.1, A, "n"), seen(100.2, B, "n")])
    assert isinstance(found, Judged)
    assert not any(each.after_restart for each in found.observed)


def test_a_restart_is_not_used_up_by_a_touch_that_does_not_count() -> None:
    """The restart is hidden behind an update that failed."""
    again = [program(50, A, "exited", status=1), program(51, A, "spawned")]
    lost = [Intended(t=60, nonce="x"), seen(60.1, A, "x"), touched("x", 60.0, status=500, error="half done")]
    records = [started(), *watching(A, B), *again, *lost, *opened()[-2:], seen(100.1, A, "n"), seen(100.2, B, "n")]
    found = [each for each in judged(records) if isinstance(each, Judged)]
    assert [each.update for each in found] == [Update.REFUSED, Update.OK]
    assert found[1].observed[0].after_restart


def test_what_the_probes_said_goes_with_the_word() -> None:
    """Was the old connection dead, or was the API server away?"""
    probes = [
        IdleTried(t=101, nonce="n", outcome=Tried.SILENT, idle_seconds=600, seconds=5),
        Probed(t=101, ok=True, seconds=0.01),
    ]
    (found,) = judged([*opened(), *probes, *a_miss()])
    assert isinstance(found, Judged)
    assert (found.reused, found.new) == (Tried.SILENT, "ok")


def test_a_look_over_the_deadline_is_no_witness_of_the_time_before() -> None:
    """Sent in time, answered too late: the nonce may have come after the deadline."""
    records = [*opened(), *beats(101, 110), look(110.02, "n"), Beat(t=110.2, number=0), look(110.3, "n")]
    (found,) = judged(records)
    assert isinstance(found, Judged)
    assert found.update is Update.NOT_VISIBLE


# All interleavings: what holds whatever comes, and in whatever order.

EVENTS = st.one_of(
    st.builds(lambda w: ("seen", w), st.sampled_from([A, B])),
    st.builds(lambda w: ("old", w), st.sampled_from([A, B])),
    st.builds(lambda w, e: (e, w), st.sampled_from([A, B]), st.sampled_from(["spawned", "watching", "exited"])),
    st.sampled_from([("look",), ("look-other",), ("look-away",), ("beat",), ("intent",), ("touch",), ("fail",)]),
    st.sampled_from([("killed",), ("end",)]),
)
SCRIPTS = st.lists(st.tuples(EVENTS, st.sampled_from([0.01, 0.3, 1.0, 3.0, 9.0])), max_size=60)


def play(script: list[tuple[tuple[str, ...], float]]) -> list[Entry]:
    t, number, nonce = 1.0, 0, "none"
    records: list[Entry] = [started(), *watching(A, B)]
    for (what, *who), pause in script:
        t += pause
        match what:
            case "seen":
                records.append(seen(t, who[0], nonce))
            case "old":
                records.append(seen(t, who[0], f"n{number - 1}"))
            case "spawned" | "watching":
                records.append(program(t, who[0], what))
            case "exited":
                records.append(program(t, who[0], what, status=1))
            case "look":
                records.append(look(t, nonce))
            case "look-other":
                records.append(look(t, nonce, "another"))
            case "look-away":
                records.append(look(t, nonce, None))
            case "beat":
                records.append(Beat(t=t, number=0))
            case "intent":
                number += 1
                nonce = f"n{number}"
                records.append(Intended(t=t, nonce=nonce))
            case "touch":
                records.append(touched(nonce, t - 0.005, t))
            case "fail":
                records.append(touched(nonce, t - 0.005, t, status=500, error="no"))
            case "killed":
                records.append(started(t))
            case "end":
                records.append(SoakEnded(t=t, session="s"))
    return records


@given(script=SCRIPTS)
@settings(deadline=None, max_examples=400)
def test_no_interleaving_invents_a_miss(script: list[tuple[tuple[str, ...], float]]) -> None:
    """Counted again from all records at once, without the judge's own state."""
    records = play(script)
    judge = TouchJudge()
    for index, record in enumerate(records):
        for word in judge.feed(record):
            if not isinstance(word, Judged) or not word.missed:
                continue
            before = records[: index + 1]
            begin = max(i for i, r in enumerate(before) if isinstance(r, Intended))
            part = before[begin:]
            update = next(r for r in part if isinstance(r, Touched) and r.nonce == word.nonce)
            assert update.status == 200
            assert update.answered is not None
            end = update.answered + DEADLINE
            looks = [r for r in part if isinstance(r, Looked) and r.nonce == word.nonce]
            assert any(r.found == word.nonce and r.t <= update.sent + DEADLINE for r in looks)
            assert looks[-1].found == word.nonce
            assert looks[-1].t > end
            assert any(isinstance(r, Beat) and r.t > end for r in part)
            assert not any(isinstance(r, SoakStarted | SoakEnded) for r in part)
            for name in word.missed:
                times = [r.t for r in part if isinstance(r, Program) and r.nonce == word.nonce and r.cell == name]
                assert not [t for t in times if update.sent <= t <= end]


@given(script=SCRIPTS)
@settings(deadline=None, max_examples=300)
def test_no_interleaving_loses_a_miss(script: list[tuple[tuple[str, ...], float]]) -> None:
    """Whatever happened before, a miss with all its witnesses is charged, and a touch before it has got its word."""
    records = play(script)
    t = max(record.t for record in records) + 20
    judge = TouchJudge()
    words = judged([*records, started(t), *watching(A, B)], judge)
    intents = [record for record in records if isinstance(record, Intended)]
    assert [word.nonce for word in words if isinstance(word, Judged)] == [record.nonce for record in intents]
    more = judged([Intended(t=t + 1, nonce="z"), touched("z", t + 1.01), *a_miss("z", t + 1.01)], judge)
    assert [word.missed for word in more if isinstance(word, Judged)] == [(B,)]


@given(script=SCRIPTS, cut=st.floats(0, 1))
@settings(deadline=None, max_examples=200)
def test_the_words_are_the_same_when_read_again_from_any_saved_state(
    script: list[tuple[tuple[str, ...], float]], cut: float
) -> None:
    """After a restart the soak counts something else than it would have without one."""
    records = play(script)
    at = int(cut * len(records))
    whole, first = TouchJudge(), TouchJudge()
    expected = judged(records, whole)
    words = judged(records[:at], first)
    again = TouchJudge(STATE.validate_json(STATE.dump_json(first.state)))
    assert [*words, *judged(records[at:], again)] == expected
    assert again.state == whole.state


@given(script=SCRIPTS)
@settings(deadline=None, max_examples=200)
def test_what_does_not_matter_may_be_left_out(script: list[tuple[tuple[str, ...], float]]) -> None:
    """A program that prints a thousand observations a second fills the disk; those left out must change nothing."""
    all_of_it, sparing = TouchJudge(), TouchJudge()
    for record in play(script):
        expected = all_of_it.feed(record)
        if sparing.matters(record):
            assert sparing.feed(record) == expected
        else:
            assert expected == ()
        beat = Beat(t=record.t, number=0)
        assert sparing.feed(beat) == all_of_it.feed(beat)
    assert sparing.state == all_of_it.state


def test_the_state_does_not_grow() -> None:
    """Two weeks at a touch every ten minutes, or an hour at a thousand a minute."""
    judge = TouchJudge()
    judged([started(), *watching(A, B)], judge)
    sizes = []
    for number in range(3_000):
        t = 100.0 + 20 * number
        nonce = f"{number:032d}"
        judged([Intended(t=t, nonce=nonce), touched(nonce, t + 0.01), *a_miss(nonce, t + 0.01)], judge)
        sizes.append(len(STATE.dump_json(judge.state)))
    assert max(sizes[100:]) <= max(sizes[:100]) + 20
    assert max(sizes) < 2_000


def test_the_limit_of_a_stall_follows_the_deadline() -> None:
    """With a deadline of a minute a pause of three seconds is no stall; with one of a second it is."""
    assert stall_seconds(60) == 12
    assert stall_seconds(1) == 1
