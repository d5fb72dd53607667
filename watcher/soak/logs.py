"""The soak's log: one line for each happening, JSON for machines or columns for people, and never a secret.

What is logged comes from servers, libraries and kubeconfigs, and an error's text often quotes what was sent. So every
line is cleared of whatever looks like a credential before it is written, and of the very values named by ``hide``.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, TextIO

# structlog imports rich for tracebacks that it is not asked to draw here: 10 MiB that a supervisor need not carry.
if "rich" in sys.modules:
    import structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's own way to say: not to be imported
    try:
        import structlog
    finally:
        del sys.modules["rich"]

REDACTED = "[redacted]"
MOST_CHARACTERS = 4_000
"""Of one value; a server may answer with a page."""
SHORTEST_SECRET = 8
"""A shorter value would black out words that happen to contain it."""

_SECRET_KEY = re.compile(
    r"(?i)(^|[_.-])(token|password|passwd|secret|authorization|cookie|private[_-]?key|key[_-]data)$"
)
_SECRET_TEXT = (
    # A JSON web token, as service accounts have it: three parts, of which the first begins with {" in base64.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), REDACTED),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REDACTED),
    (re.compile(r"(?i)((?:token|password|passwd|secret|key-data|private_key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&]{4,}"),
     rf"\1{REDACTED}"),
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), REDACTED),
)  # fmt: skip
_hidden: deque[str] = deque(maxlen=16)


def hide(secret: str) -> None:
    """This very value never appears in the log from now on; of those named, the newest 16 are kept in mind."""
    if len(secret) >= SHORTEST_SECRET and secret not in _hidden:
        _hidden.append(secret)


def redact(text: str) -> str:
    """``text`` without what is, or looks like, a credential."""
    for secret in _hidden:
        text = text.replace(secret, REDACTED)
    for pattern, instead in _SECRET_TEXT:
        text = pattern.sub(instead, text)
    return text


def configure(stream: TextIO, *, json: bool | None = None, level: int = logging.INFO) -> None:
    """From now on everything logged, by us or by a library, goes to ``stream``.

    ``json`` None: columns where the stream is a terminal, else JSON. Colours only on a terminal, and not with NO_COLOR.
    """
    terminal = stream.isatty()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _clear,
    ]
    renderer: Any
    if json is None and terminal:
        json = False
    if json is False:
        renderer = structlog.dev.ConsoleRenderer(
            colors=terminal and not os.environ.get("NO_COLOR"),
            timestamp_key="time",
            exception_formatter=structlog.dev.plain_traceback,
        )
    else:
        renderer = structlog.processors.JSONRenderer(default=str)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # Libraries tell of their every request at INFO.
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.captureWarnings(True)


def logger(**fields: Any) -> Any:
    """A logger whose lines carry ``fields``: ``logger(watcher="a/default").warning("restarted", status=1)``."""
    return structlog.get_logger(**fields)


def _clear(_logger: object, _method: str, event: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _cleared(key, value) for key, value in event.items()}


def _cleared(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key) and value is not None:
        return REDACTED
    if value is None or isinstance(value, (bool, int, float)):
        return value
    # structlog's own, for records of other libraries; removed before the line is written.
    if key.startswith("_"):
        return value
    if isinstance(value, Mapping):
        return {str(inner): _cleared(str(inner), each) for inner, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_cleared(key, each) for each in value]
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    # Cut after it is cleared: half a token does not look like one.
    text = redact(text)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}… ({len(text)} characters)"
