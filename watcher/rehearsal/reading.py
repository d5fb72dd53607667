"""What a soak left in its cluster, as the rehearsal reads it: to say how far it is, to check its counts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from watcher.totals import Totals

TOTALS = "totals.json"
CONFIG_MAPS = "configmaps.json"
"""In a cluster's folder: all of the soak's namespace, when it had ended."""


@dataclass(frozen=True)
class Left:
    totals: tuple[Totals, ...]
    failures: tuple[Mapping[str, str], ...]
    """The data of each."""
    problems: tuple[str, ...]


def left(config_maps: Iterable[Mapping[str, Any]]) -> Left:
    """Totals and failures among these ConfigMaps; what cannot be read is a problem, in words."""
    totals, failures, problems = [], [], []
    for each in config_maps:
        name, data = str(each["metadata"]["name"]), each.get("data") or {}
        if name.startswith("totals-"):
            try:
                totals.append(Totals.model_validate_json(data.get(TOTALS, "")))
            except ValidationError as error:
                problems.append(f"{name}: {error.error_count()} errors, first: {error.errors()[0]['msg']}")
        elif name.startswith(("failure-", "faliure-")):
            failures.append(data)
    return Left(tuple(totals), tuple(failures), tuple(problems))


def touches(totals: Iterable[Totals]) -> int:
    """How many the totals speak of, whatever became of them."""
    return sum(sum(each.updates.values()) for each in totals)
