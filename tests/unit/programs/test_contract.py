"""The contract's words, read and written: what a program may print, and what it is told."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import watcher
from watcher.model import Profile, Settings
from watcher.programs import contract
from watcher.programs.contract import MAX_LINE_BYTES, Violation, environment, record
from watcher.records import RECORD, Program

PACKAGE = Path(watcher.__file__).parent
DOCUMENT = PACKAGE.parent / "clients" / "CONTRACT.md"


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


STARTED = {"event": "started", "library": "l", "version": "1", "runtime": "r", "settings": {"keepalive": True, "n": 2}}


@pytest.mark.parametrize(
    ("printed", "read"),
    [
        (STARTED, {"library": "l", "version": "1", "runtime": "r", "settings": {"keepalive": True, "n": 2}}),
        ({"event": "watching"}, {}),
        ({"event": "observed", "nonce": "n", "resourceVersion": "7"}, {"nonce": "n", "resource_version": "7"}),
        ({"event": "ended", "reason": "r"}, {"message": "r"}),
        ({"event": "error", "message": "m"}, {"message": "m"}),
        ({"event": "asked", "id": "i"}, {"message": "i"}),
        (
            {"event": "watching", "connection": {"id": "c", "reused": True}},
            {"connection": {"id": "c", "reused": True}},
        ),
        ({"event": "watching", "colour": "green"}, {}),
        ({"event": "observed", "nonce": "", "resourceVersion": "7"}, {"nonce": "", "resource_version": "7"}),
    ],
)
def test_what_a_program_may_say(printed: dict[str, object], read: dict[str, object]) -> None:
    """A line lost between program and journal is an observation lost: `stuck` for a client that saw the touch."""
    assert record(line(**printed), 1.5, "a/b/c#1") == Program.model_validate(
        {"t": 1.5, "cell": "a/b/c#1", "event": printed["event"], **read}
    )


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (b'{"event":"watching"\xff}', "not UTF-8: byte 20 of the line"),
        (b"", "empty"),
        (b"  \r", "empty"),
        (b"hello", "not JSON"),
        (b'{"event":"watching"} {"event":"watching"}', "not JSON"),
        (b'{"event":"watching"', "not JSON"),
        (b'{"event":"observed","nonce":"\\ud800","resourceVersion":"1"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'["watching"]', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "no field 'event'"),
        (line(event="exited", status=0), "unknown event 'exited'; known are started, watching"),
        (line(event="violation"), "unknown event"),
        (line(event=["watching"]), "unknown event"),
        (line(event="observed", nonce="n"), "event 'observed': field 'resourceVersion' is missing"),
        (line(event="observed", nonce=7, resourceVersion="1"), "field 'nonce' must be a string"),
        (line(event="observed", nonce="n", resourceVersion=1), "field 'resourceVersion' must be a string"),
        (line(event="observed", nonce=None, resourceVersion="1"), "field 'nonce' must be a string"),
        (line(event="observed", nonce="n", resource_version="1"), "field 'resourceVersion' is missing"),
        (line(**STARTED | {"version": ""}), "field 'version' must not be empty"),
        (line(**STARTED | {"settings": "all"}), "field 'settings' must be an object"),
        (line(**STARTED | {"settings": {"a": [1]}}), "field 'settings.a' must be a string, a finite number"),
        (json.dumps(STARTED | {"settings": {"a": float("nan")}}).encode(), "not JSON"),
        (line(event="watching", connection="c"), "field 'connection' must be an object"),
        (line(event="watching", connection={"reused": True}), "field 'connection.id' is missing"),
        (line(event="watching", connection={"id": "c", "reused": 1}), "'connection.reused' must be true or false"),
    ],
)
def test_what_a_program_may_not_say(printed: bytes, told: str) -> None:
    """A maintainer who adds a client learns from this sentence what is wrong with it."""
    with pytest.raises(Violation, match=re.escape(told)):
        record(printed, 0, None)


def test_the_longest_line() -> None:
    """A program that prints without a newline must not fill the harness's memory, and a long error must get through."""
    around = len(line(event="error", message=""))
    longest = line(event="error", message="x" * (MAX_LINE_BYTES - around))
    assert len(longest) == MAX_LINE_BYTES
    assert record(longest, 0, None).event == "error"
    with pytest.raises(Violation, match=f"more than {MAX_LINE_BYTES} bytes"):
        record(longest + b" ", 0, None)


TEXT = st.text(alphabet='aé\x00\ud800"\\\n', max_size=5)  # with half of a surrogate pair, which no file can hold
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
EVENTS = sorted(contract._EVENTS)
FIELDS = [
    "library",
    "version",
    "runtime",
    "settings",
    "nonce",
    "resourceVersion",
    "reason",
    "message",
    "id",
    "connection",
]


@given(
    st.binary(max_size=80)
    | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda value: json.dumps(value).encode())
)
def test_garbage_is_a_violation_or_a_record_and_never_an_error(printed: bytes) -> None:
    """One broken program must not end the run of all the others."""
    _read_or_refused(printed)


@given(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_fields_are_a_violation_or_a_record_that_the_journal_takes(event: str, fields: dict[str, object]) -> None:
    """What was read is written to the journal and read again when the run is judged; it must survive that."""
    _read_or_refused(json.dumps({"event": event, **fields}).encode())


def _read_or_refused(printed: bytes) -> None:
    try:
        read = record(printed, 0, None)
    except Violation:
        return
    assert RECORD.validate_json(RECORD.dump_json(read)) == read


def told(settings: Settings, profile: str = "p") -> dict[str, str]:
    return environment(settings, profile, "ns", "trigger")


def test_what_every_program_is_told() -> None:
    """Without these it cannot know what to watch; with anything else `default` would not be default."""
    assert told(Settings()) == {
        "WATCHER_NAMESPACE": "ns",
        "WATCHER_NAME": "trigger",
        "WATCHER_PROFILE": "p",
    }


def test_the_numbers_of_a_profile() -> None:
    """A wrong number here is a wrong row of the matrix."""
    settings = Settings(
        retry_seconds=1 / 12,
        keepalive=True,
        keepalive_idle_seconds=2.0,
        keepalive_interval_seconds=1,
        keepalive_count=3,
        user_timeout_seconds=20 / 12,
        read_timeout_seconds=3.75,
        watch_timeout_seconds=8,
        ping_idle_seconds=0.5,
        ping_timeout_seconds=0.25,
    )
    assert {name: value for name, value in told(settings).items() if name not in told(Settings())} == {
        "WATCHER_RETRY_SECONDS": "0.083333",
        "WATCHER_KEEPALIVE_IDLE": "2",
        "WATCHER_KEEPALIVE_INTERVAL": "1",
        "WATCHER_KEEPALIVE_COUNT": "3",
        "WATCHER_USER_TIMEOUT": "1.666667",
        "WATCHER_READ_TIMEOUT": "3.75",
        "WATCHER_WATCH_TIMEOUT": "8",
        "WATCHER_PING_IDLE": "0.5",
        "WATCHER_PING_TIMEOUT": "0.25",
    }


@pytest.mark.parametrize("field", ["keepalive_idle_seconds", "keepalive_interval_seconds", "watch_timeout_seconds"])
def test_what_the_kernel_and_the_api_take_only_whole(field: str) -> None:
    """A program would cut 1.9 s to 1 s, and the matrix would still say 1.9."""
    keepalive = {"keepalive_idle_seconds": 1.0, "keepalive_interval_seconds": 1.0, "keepalive_count": 1}
    settings = Settings.model_validate({"keepalive": True} | keepalive | {field: 1.9})
    with pytest.raises(ValueError, match=f"{field} must be whole seconds, not 1.9"):
        told(settings)


@given(st.floats(min_value=0.001, max_value=1e6))
def test_a_number_is_read_back_as_it_was(seconds: float) -> None:
    """Half a microsecond is the most that writing may change."""
    text = told(Settings(read_timeout_seconds=seconds))["WATCHER_READ_TIMEOUT"]
    assert "e" not in text
    assert float(text) == pytest.approx(seconds, abs=5e-7)


@pytest.mark.parametrize("variable", sorted(told(Settings.model_validate(
    {"keepalive": True} | {name: 1 for name in Settings.model_fields if name not in ("keepalive", "bookmarks")}
))))  # fmt: skip
def test_every_variable_is_in_the_document(variable: str) -> None:
    """Whoever writes a program from the document alone must find every name that it is given."""
    assert f"`{variable}`" in DOCUMENT.read_text()


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_and_its_fields_are_in_the_document(event: str) -> None:
    """The same, for what it prints."""
    text = DOCUMENT.read_text()
    assert f'"event": "{event}"' in text
    for name, of in contract._EVENTS[event].model_fields.items():
        assert f'"{of.alias or name}"' in text


@pytest.mark.parametrize("path", sorted((PACKAGE / "profiles").glob("*.toml")), ids=lambda path: path.stem)
def test_every_profile_and_setting_is_in_the_document(path: Path) -> None:
    """A profile that the document does not explain cannot be implemented the same way twice."""
    text = DOCUMENT.read_text()
    profile = Profile(name=path.stem, **tomllib.loads(path.read_text()))
    assert f"`{profile.name}`" in text
    for setting in profile.settings.model_dump(exclude_defaults=True):
        assert f"`{setting}`" in text


def test_the_examples_of_the_document_keep_the_contract() -> None:
    """An example that is a violation teaches violations."""
    examples = re.findall(r'^\{"event": .*\}$', DOCUMENT.read_text(), flags=re.MULTILINE)
    assert {record(example.encode(), 0, None).event for example in examples} == set(EVENTS)
