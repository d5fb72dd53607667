"""Published soaks in the index, on the page for a static host, and in the README."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.report.test_report_markdown import rows
from tests.unit.summary.soaks import counted, export, totals
from watcher.report import soaks
from watcher.report.page import index_page
from watcher.report.soaks import Note, Soak
from watcher.report.summary import build
from watcher.report.summary_words import Least
from watcher.totals import Export, Keepalive, Update

LINK = "results/soaks/2026-11-21-0123abcd/summary.md"
AN_HOUR = {"interval": "600", "running_seconds": 4300.0, "updates": {Update.OK: 7}}
BAD = "a|b<img src=x>\n[x](javascript:y) <!-- /soak -->"


def exports() -> list[Export]:
    quiet = Keepalive(by="none", quiet_seconds=599)
    good = counted(observed=7, keepalive=quiet)
    bad = counted(observed=5, missed=2, keepalive=quiet)
    other = counted(profile="tcp-keepalive", observed=6)
    return [export(totals(good, other, **AN_HOUR)), export(totals(bad, other, **AN_HOUR), cluster="private")]


def a_soak(*of: Export, least: Least = Least(hours=1, touches=6), **changes: Any) -> Soak:  # noqa: B008 - frozen
    summary = build(
        of or exports(),
        made_at="2026-11-21T15:34:00+00:00",
        paths={},
        least=least,
        predicted_paths={"public": "azure-slb", "private": "azure-private-link"},
    )
    known: dict[str, Any] = {
        "name": "2026-11-21-0123abcd",
        "began": datetime(2026, 11, 21, 14, 20, tzinfo=UTC),
        "control_plane": "kubernetes 1.36.3",
        "kernel": "Linux 6.18.1",
        "scale": 1.0,
        "interval_seconds": 600.0,
        "deadline_seconds": 10.0,
        "note": Note(),
        "summary": summary,
    }
    return Soak(**(known | changes))


def test_the_readme_says_what_it_is() -> None:
    """A reader takes an hour in the lab for weeks in a cloud."""
    text = soaks.block(a_soak(), LINK)
    assert text.splitlines()[0] == (
        f"Soak [2026-11-21-0123abcd]({LINK}) of 21 November 2026, in the lab, no cloud: true time,"
        " kubernetes 1.36.3 control plane, Linux 6.18.1, a touch every 600 s, deadline 10 s."
        " public: azure-slb, 72 min, 6 to 7 touches of each client;"
        " private: azure-private-link, 72 min, 6 to 7 touches of each client."
    )


def test_the_readmes_table_is_short() -> None:
    """The first page shows what belongs into the summary, or leaves out a cluster."""
    assert rows(soaks.block(a_soak(), LINK)) == [
        ["Client", "Has keepalive?", "Public cluster", "Private cluster"],
        ["---"] * 4,
        ["python-kubernetes \\(default\\)", "NO", "✓ PASS", "✗ FAIL \\(2 of 7, never\\)"],
        ["python-kubernetes \\(tcp-keepalive\\)", "unknown", "✓ PASS", "✓ PASS"],
    ]


def test_lower_limits_are_confessed() -> None:
    """A PASS of seven touches looks like one of a hundred."""
    low = soaks.block(a_soak(), LINK)
    assert "`--least-hours 1 --least-touches 6`" in low
    assert "from 24 h and 100 touches of a client on" in low
    for least in (Least(hours=1), Least(touches=6)):
        assert "no more." in soaks.block(a_soak(least=least), LINK)
    rule = soaks.block(a_soak(least=Least()), LINK)
    assert "Below 24 h or 100 touches of a client there is no PASS." in rule
    assert "no more." not in rule
    assert "not enough data" in rows(rule)[2][2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": 12.0}, "scale 12, not in true time"),
        ({"note": Note(doubts=("public: too many",))}, "true time, cannot be trusted"),
    ],
)
def test_a_soak_that_proves_nothing_says_so(changes: dict[str, Any], words: str) -> None:
    """What was published with --anyway stands in README and index like any other."""
    soak = a_soak(**changes)
    for text in (soaks.block(soak, LINK), soaks.index([soak]), index_page([], [], [soak])):
        assert words in text


def test_hostile_texts_stay_text() -> None:
    """A cluster's ConfigMap adds columns, links or HTML to the project's first page, or ends its table's place."""
    watcher = counted(observed=5, missed=2, version=BAD, library=BAD)
    hostile = totals(watcher, cluster=BAD, **AN_HOUR)
    soak = a_soak(export(hostile, cluster=BAD), control_plane=BAD, kernel=BAD)
    for text in (soaks.block(soak, LINK), soaks.index([soak])):
        assert "<img" not in text
        assert "<!--" not in text
        assert "[x](" not in text
    assert {len(row) for row in rows(soaks.block(soak, LINK))} == {3}
    assert {len(row) for row in rows(soaks.index([soak]))} == {7}
    page = index_page([], [], [soak])
    assert "<img" not in page
    assert "<!--" not in page


def test_the_index_is_newest_first() -> None:
    """A reader takes an old soak for the state of things; or the page says soaks where there is none."""
    old = a_soak()
    new = replace(old, name="2027-01-02-00000000", began=old.began + timedelta(days=42))
    table = rows(soaks.index([old, new]))
    assert [row[0] for row in table[2:]] == [
        f"[{soak.name}](soaks/{soak.name}/summary.md)" for soak in (new, old)
    ]  # fmt: skip
    assert table[3][1:4] == ["2026-11-21 14:20", "true time", "kubernetes 1.36.3"]
    assert table[3][-1] == "3 PASS, 1 FAIL"
    assert soaks.index([]) == ""
    page = index_page([], [], [old, new])
    assert page.index(new.name) < page.index(old.name)
    assert 'class="tag stuck">✗ 1 FAIL<' in page
    assert "Soaks" not in index_page([], [])
