"""How a server is given a value to say to one client: by a socket in the file system, which no network can lose.

A line of JSON in, ``{"client": "10.0.0.1", "nonce": "…"}``, one out: ``{"number": 3}``, the third value of this client.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST_OCTETS = 4096
"""Of a line."""


@dataclass(frozen=True)
class Value:
    """What a client is told, and how many it was told before."""

    nonce: str
    number: int

    def __str__(self) -> str:
        return f"nonce={self.nonce} number={self.number}"


async def listen(file: Path, values: dict[str, Value], changed: Callable[[str], None]) -> asyncio.Server:
    """Listens on ``file``. ``changed`` is called when the value is there, before the answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (line := await reader.readline()).endswith(b"\n"):  # half a line is none
                writer.write(json.dumps(_take(line, values, changed)).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # a line without end, or one who did not wait for the answer: nothing was changed by either
        finally:
            writer.close()

    file.unlink(missing_ok=True)  # noqa: ASYNC240 - once, before anybody is served
    return await asyncio.start_unix_server(answer, file, limit=MOST_OCTETS)


def _take(line: bytes, values: dict[str, Value], changed: Callable[[str], None]) -> dict[str, object]:
    try:
        asked = json.loads(line)
        client, nonce = asked["client"], asked["nonce"]
    except (ValueError, KeyError, TypeError):
        return {"error": 'not of the form {"client": ADDRESS, "nonce": WORD}'}
    if not (isinstance(client, str) and isinstance(nonce, str) and nonce.isalnum()):
        return {"error": "client must be an address, nonce letters and digits"}
    before = values.get(client)
    values[client] = Value(nonce, 1 if before is None else before.number + 1)
    changed(client)
    return {"number": values[client].number}
