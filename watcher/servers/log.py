"""What a server says: one line for each connection's begin and end, for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Log = Callable[..., None]
"""Called with an event's name and its fields; must not raise, must not block for long."""


def lines(write: Callable[[str], object], *, as_json: bool) -> Log:
    """A log of whole lines with the time of day, each given to ``write``."""

    def log(event: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if as_json:
            write(json.dumps({"time": now, "event": event, **fields}) + "\n")
        else:
            write(" ".join([now, event, *(f"{name}={_plain(value)}" for name, value in fields.items())]) + "\n")

    return log


def _plain(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if " " in text or not text else text
