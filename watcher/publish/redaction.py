"""Takes out of a run what names the machine it ran on: absolute paths, the host, the user, tokens.

Verdicts come from packets, counters and nonces, and none of these is text; so a journal that was cleared of names is
judged like the one it came from.
"""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

GONE = "…"

_PATH = re.compile(r"(?:(?<![\w./~<…-])|(?<=file://))/(?!/)[\w.+@~%=-]+(?:/[\w.+@~%=-]+)+/?")
_PUBLIC = frozenset({"api", "apis", "version", "healthz", "livez", "readyz", "openapi", "metrics", "proc", "sys"})
"""First parts of paths that are the same everywhere: those of an API server, and the kernel's."""
_PACKAGE = re.compile(r"/(?:site-packages|dist-packages|python3(?:\.\d+)?)(?=/)")
_FILE = re.compile(r"[\w+-]+\.[a-z][a-z0-9]{0,7}")
_TOKEN = re.compile(r"(?i:\bbearer )[\w.~+/=-]{8,}|\beyJ[\w-]{6,4096}\.[\w-]+\.[\w-]+")

_VERSION = re.compile(r"^(\d+(?:\.\d+)*)\b.*$", re.DOTALL)
"""Of a kernel's release: what follows the version names who built it, and sometimes for which machine."""

_FREE = frozenset({"message", "error", "what", "reason", "environment"})
"""Keys of a record whose text somebody wrote freely. Names of a catalog are not: a user may be called python."""
_COMMON = frozenset({"root", "localhost"})
_SHORTEST_NAME = 3


class Redaction:
    """Replaces names by what they stand for; equal text in, equal text out."""

    def __init__(self, folders: Iterable[Path] = (), *, host: str = "", user: str = "") -> None:
        literal = {str(folder) for folder in folders if len(folder.parts) > 2}
        self._folders = sorted(literal, key=lambda folder: (-len(folder), folder))
        self._names = [
            (re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])"), f"<{kind}>")
            for kind, name in (("host", host), ("user", user))
            if len(name) >= _SHORTEST_NAME and name not in _COMMON
        ]

    @classmethod
    def of_this_machine(cls, run: Path) -> Redaction:
        """What this machine and its user are called, here and now."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # no entry for this user id, as in many containers
            user = ""
        return cls({run.absolute(), Path.cwd(), Path.home()}, host=socket.gethostname(), user=user)

    def text(self, text: str, *, free: bool = True) -> str:
        """Of an absolute path stays what an installed package is the same everywhere for, else a file's own name."""
        for folder in self._folders:  # before the pattern: a folder's name may have blanks
            text = re.sub(rf"{re.escape(folder)}(?![\w-])", "/-/-", text)
        text = _PATH.sub(_shortened, text)
        if free:
            text = _TOKEN.sub("<token>", text)
            for name, kind in self._names:
                text = name.sub(kind, text)
        return text

    def value(self, value: Any, *, free: bool = False) -> Any:
        """The same for all text inside a JSON value; keys stay."""
        if isinstance(value, str):
            return self.text(value, free=free)
        if isinstance(value, list):
            return [self.value(item, free=free) for item in value]
        if isinstance(value, dict):
            cleared = {key: self.value(item, free=free or key in _FREE) for key, item in value.items()}
            if isinstance(release := cleared.get("kernel"), str):
                cleared["kernel"] = _VERSION.sub(r"\1", release)
            return cleared
        return value

    def line(self, line: bytes, *, free: bool = False) -> bytes:
        """A line of JSON, octet for octet the same where there is nothing to hide; or any other line, as text."""
        if not free and b'"kind":"packet"' in line:  # most of a journal, and numbers only
            return line
        try:
            value = json.loads(line)
            cleared = self.value(value, free=free)
        except (ValueError, RecursionError):  # a client program may print anything
            return self.text(line.decode(errors="replace")).encode()
        if cleared == value:
            return line
        end = line[len(line.rstrip(b"\r\n")) :]
        return json.dumps(cleared, separators=(",", ":")).encode() + end


def _shortened(found: re.Match[str]) -> str:
    path = found.group()
    parts = path.strip("/").split("/")
    if parts[0] in _PUBLIC:
        return path
    packages = list(_PACKAGE.finditer(path))
    if packages:
        return GONE + path[packages[-1].start() :]
    return f"{GONE}/{parts[-1]}" if len(parts) > 2 and _FILE.fullmatch(parts[-1]) else GONE
