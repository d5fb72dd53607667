"""From ConfigMaps to an ``Export``: bounded, validated, and never at a loss for words. Pure.

Whatever is there may have been written by a newer version, by the original of this software, by hand, or by somebody
who means harm. What cannot be read becomes a line of ``problems``; it never ends the reading.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from watcher.failure_object import touched_at_of
from watcher.totals import Export, Failure, Totals

TOTALS = "totals-"
FAILURES = ("failure-", "faliure-")
"""The second as the original wrote it."""
KEY = "totals.json"
MOST_TOTALS = 50
MOST_FAILURES = 500
"""Kept, the newest; all of them are counted."""
MOST_PROBLEMS = 50
MOST_OCTETS = 2 << 20
"""Of one value. A ConfigMap holds 1 MiB, an export anything."""
UNKNOWN = "unknown"

_TIMES = ("touchedAt", "timestamp", "time", "updatedAt")
_LONG = ("sockets", "packets", "versions")
_INSTANTS = ("touched_at", "answered_at", "visible_at", "missed_at", "observed_at")
_NUMBERS = ("deadline_seconds", "delay_seconds")
_FIELDS = {to_camel(name): name for name in Failure.model_fields}


def concerns(found: object) -> bool:
    """Whether an object is one of a soak's, by its name."""
    return _parts(found)[0].startswith((TOTALS, *FAILURES))


def read(cluster: str, objects: Iterable[object], exported_at: str) -> Export:
    """``objects`` are ConfigMaps as JSON has them, or anything else. Never raises."""
    totals: list[Totals] = []
    failures: list[Failure] = []
    problems: list[str] = []
    read_failures = 0
    for found in objects:
        name, data, created = _parts(found)
        if name.startswith(TOTALS):
            try:
                totals.append(totals_of(data.get(KEY)))
            except ValueError as error:
                problems.append(f"{name[:100]}: {error}"[:200])
        elif name.startswith(FAILURES):
            read_failures += 1
            try:
                failures.append(failure_of(name, data, created))
            except ValueError as error:
                problems.append(f"{name[:100]}: {error}"[:200])
            if len(failures) > 2 * MOST_FAILURES:
                failures = _newest(failures)
    if len(totals) > MOST_TOTALS:
        problems.insert(0, f"{len(totals)} totals; only the first {MOST_TOTALS} are shown")
    if read_failures and not totals:
        problems.insert(0, f"{read_failures} failures, but no totals: of how many touches, nobody knows")
    if len(problems) > MOST_PROBLEMS:
        more = len(problems) - MOST_PROBLEMS + 1
        problems[MOST_PROBLEMS - 1 :] = [f"and {more} more problems of this kind"]
    return Export(
        cluster=cluster[:200],
        exported_at=exported_at,
        totals=tuple(totals[:MOST_TOTALS]),
        failures=tuple(_newest(failures)),
        failures_read=read_failures,
        problems=tuple(problem[:200] for problem in problems),
    )


def totals_of(text: object) -> Totals:
    """Raises ValueError, in words."""
    if not isinstance(text, str):
        raise ValueError(f"has no {KEY}")
    if len(text) > MOST_OCTETS:
        raise ValueError(f"{KEY} is larger than {MOST_OCTETS} octets")
    try:
        totals = Totals.model_validate(strictly(text))
    except ValidationError as error:  # a ValueError itself, whose words are not for people
        raise ValueError(words_of(error)) from error
    names = [(each.stack, each.profile) for each in totals.watchers]
    if len(set(names)) != len(names):
        raise ValueError("names a watcher twice")
    return totals


def strictly(text: str) -> Any:
    """JSON in which nothing can be read in two ways: no key twice, no NaN. Raises ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def words_of(error: ValidationError) -> str:
    """One line, without what was read."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part)[:40] for part in first["loc"][:5])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg'][:100]}{more}"


def failure_of(name: str, data: Mapping[str, object], created: str = "") -> Failure:
    """Of whatever keys there are: the original wrote others than we do, and by hand there may be any."""
    known: dict[str, Any] = {}
    for key, value in data.items():
        field = _FIELDS.get(key)
        if field is None or not isinstance(value, str):
            continue
        if field in _NUMBERS:
            number = _number(value)
            known |= {} if number is None else {field: number}
        else:
            known[field] = value[: 4000 if field in _LONG else 40 if field in _INSTANTS else 200]
    when = next((str(data[key])[:40] for key in _TIMES if data.get(key)), "") or _stamp(name) or created[:40]
    others = "; ".join(f"{key}: {value}" for key, value in data.items() if key not in _FIELDS)
    defaults = {
        "stack": UNKNOWN,
        "profile": UNKNOWN,
        "nonce": "",
        "touched_at": when,
        "missed_at": when,
        "deadline_seconds": 0.0,
        "reason": others[:200],
    }
    try:
        return Failure.model_validate(defaults | known)
    except ValidationError as error:
        raise ValueError(words_of(error)) from error


def _parts(found: object) -> tuple[str, Mapping[str, object], str]:
    """Name, data, time of creation."""
    if not isinstance(found, Mapping):
        return "", {}, ""
    metadata = found.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name, created, data = metadata.get("name"), metadata.get("creationTimestamp"), found.get("data")
    return (
        name if isinstance(name, str) else "",
        data if isinstance(data, Mapping) else {},
        created if isinstance(created, str) else "",
    )


def _newest(failures: list[Failure]) -> list[Failure]:
    return sorted(failures, key=lambda failure: failure.touched_at)[-MOST_FAILURES:]


def _stamp(name: str) -> str:
    """The time in a name: ours, or seconds since 1970 as the original has them."""
    at = touched_at_of(name)
    digits = name.rpartition("-")[2]
    if at is None and digits.isascii() and digits.isdigit() and len(digits) in (10, 13):
        at = datetime.fromtimestamp(int(digits[:10]), UTC)
    return "" if at is None else at.isoformat()


def _number(text: str) -> float | None:
    try:
        number = float(text[:40])
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number <= 1e10 else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
