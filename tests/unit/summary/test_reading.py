"""What a cluster holds may be anything: it becomes data or a line of problems, never a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.summary.soaks import config_map, counted, export, totals
from watcher.errors import FileError
from watcher.failure_object import object_of
from watcher.summary import exports
from watcher.summary.reading import MOST_FAILURES, MOST_PROBLEMS, MOST_TOTALS, failure_of, read
from watcher.totals import Failure

NOW = "2026-11-21T12:00:00+00:00"
TOTALS = totals(counted(observed=190, missed=2, late=1))
FAILURE = Failure(
    stack="python-kubernetes",
    profile="default",
    nonce="n",
    touched_at="2026-11-20T00:00:00.5+00:00",
    missed_at="2026-11-20T00:00:10.5+00:00",
    deadline_seconds=10,
    delay_seconds=899.75,
    sockets="a\nb",
)


def changed(**values: Any) -> str:
    return json.dumps(TOTALS.model_dump(mode="json") | values)


def with_watcher(**values: Any) -> str:
    found = TOTALS.model_dump(mode="json")
    found["watchers"][0] |= values
    return json.dumps(found)


def test_what_the_soak_writes_is_read_whole() -> None:
    """The table is made from nothing else."""
    written = object_of(FAILURE)
    found = read("public", [config_map("totals-soak", {"totals.json": TOTALS.model_dump_json()}), written], NOW)
    assert found.totals == (TOTALS,)
    assert found.failures == (FAILURE,)
    assert (found.failures_read, found.problems) == (1, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "5",
        "[" * 100_000,
        '{"a":' * 100_000,
        "x" * (3 << 20),
        changed(totals_version=2),
        changed(extra="key"),
        changed(running_seconds=float("nan")),
        changed(running_seconds=float("inf")),
        changed(running_seconds=-1),
        changed(instance="../../etc"),
        changed(instance="x" * 1000),
        changed(cluster="x" * 1000),
        changed(watchers=[TOTALS.watchers[0].model_dump(mode="json")] * 2),
        changed(watchers="many"),
        changed(updates={"invented": 1}),
        changed(updates={"ok": 10**16}),
        with_watcher(observed=10**16),
        with_watcher(observed=-1),
        with_watcher(observed=1.5),
        with_watcher(observed="many"),
        with_watcher(stack="<script>"),
        with_watcher(worst_delay_seconds=1e300),
        with_watcher(keepalive={"by": "magic"}),
        changed().replace('"missed": 2', '"missed": 2, "missed": 0'),
        with_watcher(observed=0).replace('"observed": 0', f'"observed": {"9" * 5000}'),
        None,
        5,
        {"totals.json": "{}"},
    ],
)
def test_totals_that_are_none_are_a_problem_and_the_others_stay(text: object) -> None:
    """Otherwise one edited ConfigMap would hide every cluster's weeks, or make a FAIL into a PASS."""
    good = config_map("totals-good", {"totals.json": TOTALS.model_dump_json()})
    found = read("public", [config_map("totals-bad", {"totals.json": text}), good], NOW)
    assert found.totals == (TOTALS,)
    (problem,) = found.problems
    assert problem.startswith("totals-bad: ")
    assert len(problem) <= 200


@pytest.mark.parametrize(
    "item",
    [None, 5, "x", [], {}, {"metadata": 5}, {"metadata": {"name": 5}}, {"metadata": {"name": "failure-1"}, "data": 5}],
)
def test_objects_of_any_shape(item: object) -> None:
    """An export is a file that anybody may have made."""
    assert read("public", [item], NOW).totals == ()


def test_the_originals_failures_are_read_too() -> None:
    """Its spelling, its few keys, its name as the only time."""
    found = read(
        "public",
        [
            config_map("faliure-1603692000", {"message": "no notify in 10s"}),
            config_map("failure-20261120t000000-abc", {}),
            {"metadata": {"name": "faliure-xxxx", "creationTimestamp": "2020-10-26T07:00:00Z"}},
            config_map("faliure-2", {"timestamp": "2020-10-26T08:00:00Z"}),
        ],
        NOW,
    )
    assert [each.touched_at for each in found.failures] == [
        "2020-10-26T06:00:00+00:00",
        "2020-10-26T07:00:00Z",
        "2020-10-26T08:00:00Z",
        "2026-11-20T00:00:00+00:00",
    ]
    assert found.failures[0].reason == "message: no notify in 10s"
    assert {each.stack for each in found.failures} == {"unknown"}
    assert "of how many touches, nobody knows" in found.problems[0]


KEYS = st.sampled_from(["stack", "nonce", "touchedAt", "delaySeconds", "deadlineSeconds", "reason", "x"])
VALUES = st.one_of(st.text(), st.none(), st.integers(), st.sampled_from(["nan", "1e400", "-1", "9" * 99]))


@settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(st.dictionaries(KEYS, VALUES))
def test_any_data_of_a_failure_is_read(data: dict[str, object]) -> None:
    """A miss must not vanish for an odd key."""
    found = failure_of("failure-1", data)
    assert len(found.reason) <= 200
    assert found.delay_seconds is None or 0 <= found.delay_seconds <= 1e10


def test_what_is_read_is_bounded() -> None:
    """A namespace with a million objects must not fill the reader's memory or page."""
    many = [config_map(f"failure-{n}", {"touchedAt": f"2026-11-20T{n:06d}"}) for n in range(3 * MOST_FAILURES)]
    many += [config_map(f"totals-{n}", {"totals.json": "{"}) for n in range(200)]
    many += [config_map(f"totals-ok-{n}", {"totals.json": changed(instance=f"s-{n}")}) for n in range(60)]
    found = read("x" * 1000, many, NOW)
    assert len(found.failures) == MOST_FAILURES
    assert found.failures[-1].touched_at == f"2026-11-20T{3 * MOST_FAILURES - 1:06d}"
    assert found.failures_read == 3 * MOST_FAILURES
    assert len(found.totals) == MOST_TOTALS
    assert len(found.problems) == MOST_PROBLEMS
    assert "more problems" in found.problems[-1]
    assert found.problems[0] == f"60 totals; only the first {MOST_TOTALS} are shown"


def test_exports_are_saved_and_read_again(tmp_path: Path) -> None:
    """A cluster behind a bastion is read there and shown here."""
    first = export(TOTALS, failures=(FAILURE,), failures_read=1, problems=("a problem",))
    second = export(TOTALS, cluster="private")
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(exports.text_of([first]))
    two.write_text(exports.text_of([first, second]))
    assert exports.load(one) == (first,)
    assert exports.load(two) == (first, second)
    assert exports.load(one, "other")[0].cluster == "other"
    assert json.loads(one.read_text())["export_version"] == 1
    with pytest.raises(FileError, match="cannot all be"):
        exports.load(two, "other")


def test_what_kubectl_prints_is_read(tmp_path: Path) -> None:
    """No tool of ours on the machine that reaches the cluster."""
    file = tmp_path / "private.json"
    file.write_text(json.dumps({"kind": "List", "items": [config_map("totals-soak", {"totals.json": changed()})]}))
    (found,) = exports.load(file)
    assert (found.cluster, found.totals) == ("private", (TOTALS,))
    assert exports.load(file, "named")[0].cluster == "named"


@pytest.mark.parametrize(
    "content", ["", "{", "5", '"x"', "{}", "[{}]", '{"export_version": 1}', '{"a":1,"a":2}', "[" * 100_000, "\udcff"]
)
def test_a_file_that_is_no_export_is_the_users_error(tmp_path: Path, content: str) -> None:
    """With the file's name, and what to do."""
    file = tmp_path / "wrong.json"
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(FileError) as raised:
        exports.load(file)
    assert "wrong.json" in str(raised.value)
