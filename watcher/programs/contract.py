"""The contract of a client program, version 1, as ``clients/CONTRACT.md`` words it: what goes in, what comes out. Pure.

What a program prints is untrusted: a line is either an event with the fields and types of the contract, or a
``Violation`` that says in plain words what is wrong with it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from watcher.model import Settings
from watcher.records import Program

CONTRACT_VERSION = 1
MAX_LINE_BYTES = 1 << 20
"""Of one line, without its newline."""
UNSUPPORTED_STATUS = 127
"""A program's exit status where its library cannot do the profile."""

_SHOWN_CHARACTERS = 80


class Violation(ValueError):
    """A line that breaks the contract; the text says how."""


class _Fields(BaseModel):
    """Of any line. A field that the contract does not name is ignored, so that version 1 programs can say more."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    connection: _Connection | None = None


class _Connection(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    id: str
    reused: bool = False


class _Started(_Fields):
    event: Literal["started"]
    library: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    runtime: str
    settings: dict[str, bool | int | float | str | None]


class _Watching(_Fields):
    event: Literal["watching"]


class _Observed(_Fields):
    event: Literal["observed"]
    nonce: str
    resource_version: Annotated[str, Field(alias="resourceVersion")]


class _Ended(_Fields):
    event: Literal["ended"]
    message: Annotated[str, Field(alias="reason")]


class _Error(_Fields):
    event: Literal["error"]
    message: str


class _Asked(_Fields):
    event: Literal["asked"]
    message: Annotated[str, Field(alias="id")]


_EVENTS: dict[str, type[_Fields]] = {
    "started": _Started,
    "watching": _Watching,
    "observed": _Observed,
    "ended": _Ended,
    "error": _Error,
    "asked": _Asked,
}

# pydantic's words for a wrong type, in the words of JSON.
_MUST_BE = {
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "finite_number": "must be a finite number",
}


def record(line: bytes, t: float, cell: str | None) -> Program:
    """The journal's record of one line without its newline; ``t`` is the harness's own time of its arrival.

    ``ended``'s reason and ``asked``'s id become the record's message. Raises ``Violation``.
    """
    fields = _parse(line)
    return Program(t=t, cell=cell, **fields.model_dump(exclude_unset=True))


def _parse(line: bytes) -> _Fields:
    if len(line) > MAX_LINE_BYTES:
        raise Violation(f"a line of more than {MAX_LINE_BYTES} bytes")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Violation(f"not UTF-8: byte {error.start + 1} of the line") from error
    if not text.strip():
        raise Violation("an empty line")
    try:
        value = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise Violation(f"not JSON ({error}): {_shown(text)}") from error
    if not isinstance(value, dict):
        raise Violation(f"not a JSON object: {_shown(text)}")
    if "event" not in value:
        raise Violation(f"no field 'event': {_shown(text)}")
    event = value["event"]
    if not isinstance(event, str) or event not in _EVENTS:
        raise Violation(f"unknown event {_shown(repr(event))}; known are {', '.join(_EVENTS)}")
    try:
        return _EVENTS[event].model_validate_json(line)
    except ValidationError as error:
        raise Violation(f"event {event!r}: {'; '.join(_problems(error))}") from error


def _problems(error: ValidationError) -> list[str]:
    """One per field, for a value that fits none of several types gets an error for each of them."""
    by_field: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_input=False):
        location = [str(part) for part in problem["loc"]]
        if location[0] == "settings" and len(location) > 1:
            by_field[f"settings.{location[1]}"] = "must be a string, a finite number, true, false or null"
        elif problem["type"] == "missing":
            by_field[".".join(location)] = "is missing"
        else:
            by_field[".".join(location)] = _MUST_BE.get(problem["type"], problem["msg"])
    return [f"field {_shown(repr(field))} {what}" for field, what in by_field.items()]


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def environment(
    effective: Settings, profile: str, namespace: str, name: str, *, ask_after_seconds: float | None = None
) -> dict[str, str]:
    """The contract's variables for a program: only those of its profile are set. Where its server is says its protocol.

    Numbers are in seconds, counts are plain. Raises ``ValueError`` where a number that the kernel or the API takes
    only whole is not; the planner has rounded those.
    """
    variables: dict[str, str | None] = {
        "WATCHER_NAMESPACE": namespace,
        "WATCHER_NAME": name,
        "WATCHER_PROFILE": profile,
        "WATCHER_KEEPALIVE_IDLE": _whole("keepalive_idle_seconds", effective.keepalive_idle_seconds),
        "WATCHER_KEEPALIVE_INTERVAL": _whole("keepalive_interval_seconds", effective.keepalive_interval_seconds),
        "WATCHER_KEEPALIVE_COUNT": _number(effective.keepalive_count),
        "WATCHER_USER_TIMEOUT": _number(effective.user_timeout_seconds),
        "WATCHER_READ_TIMEOUT": _number(effective.read_timeout_seconds),
        "WATCHER_WATCH_TIMEOUT": _whole("watch_timeout_seconds", effective.watch_timeout_seconds),
        "WATCHER_PING_IDLE": _number(effective.ping_idle_seconds),
        "WATCHER_PING_TIMEOUT": _number(effective.ping_timeout_seconds),
        "WATCHER_RETRY_SECONDS": _number(effective.retry_seconds),
        "WATCHER_POLL_SECONDS": _number(ask_after_seconds),
    }
    return {variable: text for variable, text in variables.items() if text is not None}


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return str(int(value)) if value == int(value) else f"{value:.6f}".rstrip("0")


def _whole(field: str, value: float | None) -> str | None:
    if value is not None and value != int(value):
        raise ValueError(f"{field} must be whole seconds, not {value:g}")
    return _number(value)
