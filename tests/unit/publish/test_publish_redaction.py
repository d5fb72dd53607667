"""What names a machine is taken out, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from watcher.publish.redaction import Redaction

REDACTION = Redaction([Path("/srv/big disk/runs"), Path("/home/al")], host="build-7", user="python")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('File "/home/al/clients/x/watch.py", line 3', 'File "…/watch.py", line 3'),
        ("/opt/v/lib/python3.12/site-packages/a/b.py:3", "…/site-packages/a/b.py:3"),
        ("/usr/lib/python3.11/ssl.py", "…/python3.11/ssl.py"),
        ("in /srv/big disk/runs/one/cells", "in …"),
        ("/home/alfred/secret", "…"),
        ("/home/john.doe", "…"),
        ("PATH=/a/b:/c/d", "PATH=…:…"),
        ("file:///home/al/x", "file://…"),
        ("a\n/tmp/x/y", "a\n…"),
        ("on build-7 as python", "on <host> as <user>"),
        ("Authorization: Bearer eyJhbGciOi.abc.def", "Authorization: <token>"),
        ("token eyJhbGciOiJSUzI1NiIs.eyJpc3MiOi.c2ln", "token <token>"),
    ],
)
def test_names_go(text: str, shown: str) -> None:
    """A user's name or folders are published."""
    assert REDACTION.text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/Azure/AKS/issues/1755",
        "Max retries exceeded with url: /api/v1/namespaces/cell-3/configmaps?watch=True",
        "GET https://10.96.0.1:443/api/v1/x",
        "/proc/sys/net/ipv4/tcp_retries2",
        "python-urllib3/default/azure-slb#1",
        "cells/python-urllib3/default/azure-slb",
        "and/or, 3 // 4, </b>, build-70, pythonic",
        "TLSv1.3 failure in bearer form",
    ],
)
def test_what_explains_a_verdict_stays(text: str) -> None:
    """A published reason says … where it named the request that failed."""
    assert REDACTION.text(text) == text


def test_a_users_name_does_not_change_a_catalogs() -> None:
    """The user is called python, and the published run is one of stacks that nobody knows."""
    line = b'{"t":1.0,"kind":"program","library":"python","message":"python says /x/y"}\n'
    assert json.loads(REDACTION.line(line)) == {
        "t": 1.0, "kind": "program", "library": "python", "message": "<user> says …",
    }  # fmt: skip


@pytest.mark.parametrize("line", [b'{"a":  1.50, "b":"\\u00e9"}\n', b"\xff plain \r\n".replace(b"\xff", b"x"), b"\n"])
def test_clean_lines_are_not_touched(line: bytes) -> None:
    """A published journal differs from the run's where there was nothing to hide."""
    assert REDACTION.line(line) == line


@pytest.mark.parametrize(
    "line", [b'\xff "/home/al/x"\n', b"[" * 100_000 + b"/home/al/x\n", b'{"a":"\\ud800 /home/al/x"}\n', b"9" * 5_000]
)
def test_any_line_can_be_cleared(line: bytes) -> None:
    """A hostile client program's output makes its run unpublishable, or gets past."""
    assert b"home" not in REDACTION.line(line)


def test_a_program_cannot_pass_for_a_packet() -> None:
    """A line of a client program's output gets past, since a journal's packets are not looked at."""
    assert b"home" not in REDACTION.line(b'{"kind":"packet","message":"/home/al/x"}\n', free=True)


def test_the_machine_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What publishes here hides the names of somewhere else."""
    monkeypatch.setenv("LOGNAME", "carol")
    monkeypatch.setattr("socket.gethostname", lambda: "desk-9")
    redaction = Redaction.of_this_machine(tmp_path / "run with blanks")
    assert redaction.text(f"carol on desk-9: {tmp_path}/run with blanks/cells/x") == "<user> on <host>: …"


def test_who_nobody_knows_can_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user has no name the command ends in a traceback."""

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert Redaction.of_this_machine(tmp_path).text("root at /home/x/y") == "root at …"
