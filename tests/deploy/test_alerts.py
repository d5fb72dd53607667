"""The alerts, tried by promtool on made-up weeks; and each of them broken, which promtool must then say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, objects, one
from watcher.soak.metrics import Metrics

RULES = DEPLOY / "prometheus" / "rules.yml"
TESTS = DEPLOY / "prometheus" / "rules.test.yml"


def promtool() -> str:
    beside = Path(sys.executable).with_name("promtool")
    found = str(beside) if beside.exists() else shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not there: `make setup` as root fetches it, else install Prometheus")
    return found


def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return found


def alerts() -> list[str]:
    return [rule["alert"] for group in groups() for rule in group["rules"]]


def tried(folder: Path, rules: str) -> subprocess.CompletedProcess[str]:
    (folder / RULES.name).write_text(rules)
    shutil.copy(TESTS, folder)
    command = [promtool(), "test", "rules", str(folder / TESTS.name)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_alert_fires_when_it_must_and_not_before(tmp_path: Path) -> None:
    """Otherwise nobody is told of a miss, or of a soak that is gone; or everybody of nothing, until nobody reads it."""
    done = tried(tmp_path, RULES.read_text())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts())
@pytest.mark.parametrize("instead", ["vector(1) < 0", "vector(1)"])
def test_an_alert_that_never_or_always_fires_is_seen(tmp_path: Path, alert: str, instead: str) -> None:
    """The mutants: each alert in turn, deaf and shouting. What the tests of the rules let pass, they do not test."""
    content = {"groups": groups()}
    for rule in content["groups"][0]["rules"]:
        if rule["alert"] == alert:
            rule["expr"] = instead
    done = tried(tmp_path, yaml.safe_dump(content))
    assert done.returncode != 0
    assert alert in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("alert", "old", "new"),
    [
        ("WatcherMissedTouch", "> 0", "> 2"),
        ("WatcherSoakSilent", "2 * watcher_change_interval_seconds", "9 * watcher_change_interval_seconds"),
        ("WatcherSoakSilent", "or watcher_last_beat_age_seconds > 300", ""),
        ("WatcherSoakSilent", "2 * watcher_change_interval_seconds", "1200"),
        ("WatcherUpdatesFail", "> 1.5", "> 0"),
        ("WatcherUpdatesFail", "|denied", ""),
        ("WatcherUpdatesFail", "|not-visible", "|not-visible|interrupted"),
        ("WatcherCrashLoop", "increase(watcher_restarts_total[1h]) > 5", "increase(watcher_restarts_total[1h]) > -1"),
        (
            "WatcherCrashLoop",
            "\nand watcher_last_observation_age_seconds",
            "\nunless watcher_last_observation_age_seconds",
        ),
    ],
)
def test_a_wrong_bound_is_seen(tmp_path: Path, alert: str, old: str, new: str) -> None:
    """The finer mutants: a bound moved, a part of a condition lost."""
    content = {"groups": groups()}
    (rule,) = [each for each in content["groups"][0]["rules"] if each["alert"] == alert]
    flat = rule["expr"].replace(" and ", "\nand ")
    assert old in flat
    rule["expr"] = flat.replace(old, new)
    assert tried(tmp_path, yaml.safe_dump(content)).returncode != 0


def test_every_metric_in_a_rule_is_the_soaks() -> None:
    """Otherwise an alert waits for ever for a series that nobody makes, and its test, with made-up ones, is content."""
    made = Metrics(["python-urllib3/default"], version="1").render().decode()
    there = set(re.findall(r"^(watcher_\w+)", made, re.MULTILINE))
    for group in groups():
        for rule in group["rules"]:
            named = set(re.findall(r"\bwatcher_\w+", rule["expr"]))
            assert named
            assert named <= there


def test_every_outcome_in_a_rule_is_one() -> None:
    """Otherwise an update's failure of a new kind, or with another spelling, alerts nobody."""
    from watcher.totals import Update

    expression = next(r["expr"] for g in groups() for r in g["rules"] if r["alert"] == "WatcherUpdatesFail")
    named = set(re.search(r'outcome=~"([^"]*)"', expression)[1].split("|"))  # type: ignore[index]  # else it fails here
    harmless = {Update.OK, Update.OVERWRITTEN, Update.INTERRUPTED}
    assert named == {outcome.value for outcome in set(Update) - harmless}


def test_the_operators_object_is_the_same() -> None:
    """Otherwise users of the Prometheus operator have other alerts than those that were tested."""
    rule = one(objects(DEPLOY / "base", "prometheus-operator"), "PrometheusRule")
    assert rule["spec"]["groups"] == groups()
    mutant = yaml.safe_load(RULES.read_text().replace("> 1.5", "> 2.5"))
    assert rule["spec"]["groups"] != mutant["groups"]
