"""What a soak is told, and what it says where it is told nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.catalog import Catalog
from watcher.errors import UsageError
from watcher.soak.assembly import identity_of
from watcher.soak.settings import DEFAULT_STACKS, VARIABLES, load

FILE = """
interval = 900
cluster = "gke private"
deadline_seconds = 5

[[watcher]]
stack = "python-urllib3"
profile = "tcp-keepalive"
"""


def test_defaults() -> None:
    """Nothing set must be a useful soak: what most controllers are made of, without and with keepalive."""
    settings = load({})
    assert (settings.interval, settings.deadline_seconds, settings.instance) == ("600", 10.0, "soak")
    pairs = settings.pairs(Catalog.load())
    assert ("python-kubernetes", "default") in pairs
    assert {profile for _, profile in pairs} == {"default", "tcp-keepalive"}
    assert ("client-go-informer", "default") in pairs
    assert {stack for stack, _ in pairs} <= set(DEFAULT_STACKS.split(","))


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A value in the Deployment that has no effect is looked for all day."""
    file = tmp_path / "soak.toml"
    file.write_text(FILE)
    settings = load({"WATCHER_SOAK_FILE": str(file)})
    assert (settings.interval, settings.cluster, settings.deadline_seconds) == ("900", "gke private", 5.0)
    assert settings.pairs(Catalog.load()) == (("python-urllib3", "tcp-keepalive"),)
    given = {"WATCHER_CLUSTER": "mine", "WATCHER_PROFILES": "default", "WATCHER_STACKS": "", "DEADLINE_SECONDS": "7"}
    settings = load(given, file)
    assert (settings.cluster, settings.deadline_seconds, settings.interval) == ("mine", 7.0, "900")
    assert {profile for _, profile in settings.pairs(Catalog.load())} == {"default"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CHANGE_INTERVAL_SECONDS", "soon"),
        ("CHANGE_INTERVAL_SECONDS", "0"),
        ("DEADLINE_SECONDS", "-1"),
        ("WATCHER_INSTANCE", "Two Words"),
        ("WATCHER_NAMESPACE", "a/b"),
        ("WATCHER_KEEP_FAILURES", "many"),
        ("WATCHER_SCALE", "0"),
    ],
)
def test_a_wrong_value_names_its_variable(variable: str, value: str) -> None:
    """A pod that ends with a stack trace of a validation library."""
    with pytest.raises(UsageError) as caught:
        load({variable: value})
    assert variable in caught.value.message


def test_the_capture_reaches_the_records() -> None:
    """A sidecar that keeps packets of which no failure tells."""
    catalog = Catalog.load()
    assert identity_of(load({"WATCHER_CAPTURE": "capture:/capture/ring.pcap*"}), catalog).capture.startswith("capture:")
    assert identity_of(load({}), catalog).capture == ""


def test_a_wrong_file_names_its_key(tmp_path: Path) -> None:
    """A misspelt setting that is passed over in silence."""
    file = tmp_path / "soak.toml"
    for content, word in (
        ("intervall = 3", "intervall"),
        ("interval = [", "TOML"),
        ("deadline_seconds = 0", "deadline"),
    ):
        file.write_text(content)
        with pytest.raises(UsageError, match=word):
            load({}, file)
    with pytest.raises(UsageError, match="cannot be read"):
        load({}, tmp_path / "none.toml")


def test_unknown_and_impossible_watchers(tmp_path: Path) -> None:
    """A typing error must not make a soak smaller in silence."""
    catalog = Catalog.load()
    with pytest.raises(UsageError, match="unknown stack"):
        load({"WATCHER_STACKS": "pyton"}).pairs(catalog)
    file = tmp_path / "soak.toml"
    file.write_text('[[watcher]]\nstack = "python-urllib3"\nprofile = "http2-ping"\n')
    with pytest.raises(UsageError, match="cannot do"):
        load({}, file).pairs(catalog)


def test_help_names_every_variable() -> None:
    """A setting that nobody can find."""
    from watcher.cli import soaking

    assert [variable for variable in VARIABLES.values() if variable not in soaking.EPILOG] == []
