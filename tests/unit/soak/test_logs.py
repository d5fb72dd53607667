"""The soak's log: lines that a machine can read, without a secret in any of them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from watcher.api import ApiServer
from watcher.soak import logs

# Put together here, so that no scanner takes them for real ones.
TOKEN = ".".join(["eyJhbGciOiJSUzI1NiJ9", "eyJzdWIiOiJ3YXRjaGVyIn0", "c2lnbmF0dXJlLW9mLXRoaXM"])
OPAQUE = "ya29-" + "q" * 30
KEY = "\n".join(["-----BEGIN EC " + "PRIVATE KEY-----", "MHcCAQEEIE", "-----END EC " + "PRIVATE KEY-----"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logs._hidden.clear()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_happening_is_one_line_with_its_time() -> None:
    """Otherwise the cluster's log collector breaks a happening into pieces, or orders them wrongly."""
    stream = io.StringIO()
    logs.configure(stream)
    logs.logger(watcher="python-urllib3/default").warning("restarted", status=1, reason="two\nlines")
    (line,) = lines(stream)
    assert line["event"] == "restarted"
    assert line["level"] == "warning"
    assert (line["watcher"], line["status"], line["reason"]) == ("python-urllib3/default", 1, "two\nlines")
    assert line["time"].endswith("Z")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["time"])).total_seconds()) < 60


@pytest.mark.parametrize(
    "fields",
    [
        {"token": OPAQUE},
        {"Authorization": f"Bearer {OPAQUE}"},
        {"bearer_token": OPAQUE},
        {"client-key-data": OPAQUE},
        {"headers": {"authorization": OPAQUE}},
        {"headers": [("accept", "json"), ("authorization", f"Bearer {OPAQUE}")]},
        {"error": f"401 for header 'Authorization: Bearer {OPAQUE}'"},
        {"error": f"the token {TOKEN} has expired"},
        {"error": f"GET /?token={OPAQUE}&x=1"},
        {"error": f'{{"users": [{{"token": "{OPAQUE}"}}]}}'},
        {"error": f"token: {OPAQUE}"},
        {"error": KEY},
        {"error": f"proxy http://user:{OPAQUE}@proxy:3128 refused"},
        {"body": TOKEN.encode()},
        {"server": ApiServer("host", 443, "ca", TOKEN)},
        {"error": ValueError(f"bad header {TOKEN}")},
        {"deep": {"list": [{"password": OPAQUE}]}},
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_no_secret_is_ever_written(fields: dict[str, Any], as_json: bool) -> None:
    """Otherwise whoever reads the log can act as the soak, or as the user who started it."""
    stream = io.StringIO()
    logs.configure(stream, json=as_json)
    logs.logger(**fields).error("failed", **fields)
    text = stream.getvalue()
    assert "failed" in text
    for secret in (OPAQUE, TOKEN, TOKEN.split(".")[1], "MHcCAQEEIE"):
        assert secret not in text


def test_the_test_above_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, with the clearing taken out: the secret must then be seen."""
    monkeypatch.setattr(logs, "_clear", lambda _logger, _method, event: event)
    stream = io.StringIO()
    logs.configure(stream, json=True)
    logs.logger().error("failed", error=f"Bearer {OPAQUE}")
    assert OPAQUE in stream.getvalue()


def test_a_value_that_was_named_is_never_written() -> None:
    """Otherwise a token of no known form, as an exec plugin may bring it, is quoted by some server's error."""
    logs.hide("plain-looking-words")
    logs.hide("a")  # too short to be a secret: it would black out every word
    stream = io.StringIO()
    logs.configure(stream)
    logs.logger().info("a server said: plain-looking-words are no good")
    assert lines(stream)[0]["event"] == f"a server said: {logs.REDACTED} are no good"


def test_what_is_no_secret_stays() -> None:
    """Otherwise the log says too little to find a fault: a nonce or a certificate's name must be readable."""
    text = (
        'denied: 403 serviceaccounts "watcher" cannot create resource; nonce 7f3a9c0d; https://host:6443/api?watch=true'
    )
    assert logs.redact(text) == text


def test_an_exception_comes_in_the_same_line_and_cleared() -> None:
    """Otherwise a traceback is forty events for a log collector, and its last line shows the token."""
    stream = io.StringIO()
    logs.configure(stream)
    try:
        raise ConnectionError(f"refused with Bearer {OPAQUE}")
    except ConnectionError:
        logs.logger().exception("update failed")
    (line,) = lines(stream)
    assert "ConnectionError" in line["exception"]
    assert OPAQUE not in stream.getvalue()


def test_libraries_log_the_same_way() -> None:
    """Otherwise a line of urllib3 in between is no JSON, and may show what was sent."""
    stream = io.StringIO()
    logs.configure(stream)
    logging.getLogger("urllib3.connection").warning("retrying with Bearer %s", OPAQUE)
    logging.getLogger("apscheduler").info("job added")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, *others = lines(stream)
    assert first["event"] == f"retrying with Bearer {logs.REDACTED}"
    assert (first["level"], first["logger"]) == ("warning", "urllib3.connection")
    assert [line["logger"] for line in others] == ["py.warnings"]


def test_a_value_has_a_bound() -> None:
    """Otherwise a server's error page of megabytes is one line of the log."""
    stream = io.StringIO()
    logs.configure(stream)
    logs.logger().info("answer", body="x" * 100_000)
    assert len(stream.getvalue()) < logs.MOST_CHARACTERS + 500


def test_a_terminal_gets_columns_and_colour_only_where_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a person reads JSON, or a pipe and a NO_COLOR user get escape sequences."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    seen = {}
    for name, stream in {"terminal": Terminal(), "plain": Terminal(), "pipe": io.StringIO()}.items():
        if name == "plain":
            monkeypatch.setenv("NO_COLOR", "1")
        logs.configure(stream, json=False if name == "pipe" else None)
        logs.logger().info("touched", outcome="ok")
        seen[name] = stream.getvalue()
    assert all("touched" in text and "{" not in text for text in seen.values())
    assert ["\x1b" in seen[name] for name in ("terminal", "plain", "pipe")] == [True, False, False]


def test_it_does_not_carry_what_it_does_not_need() -> None:
    """Otherwise the supervisor needs 10 MiB more, in every pod, for tracebacks that it does not draw."""
    code = "import sys, watcher.soak.logs; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
