"""The lab's own requests to an API server: is it ready, and what a cell needs before it can begin."""

from __future__ import annotations

import asyncio
import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from urllib3 import HTTPSConnectionPool, Retry
from urllib3.exceptions import HTTPError

from watcher.errors import LabFailure

_AT_ONCE = 8
_SECONDS = 10.0
_TEXT = 8192


@dataclass(frozen=True)
class Answer:
    """``body`` is empty where the answer was no JSON object; ``text`` is the beginning of whatever it was."""

    status: int
    body: dict[str, Any]
    text: str = ""

    @property
    def problem(self) -> str:
        """In one line; of a list of checks, as ``/readyz`` gives it, those that failed."""
        failed = " ".join(line for line in self.text.splitlines() if line.startswith("[-]"))
        return f"{self.status} {self.body.get('message', failed)}".strip()


class ApiClient:
    """Requests to one address over a few kept connections; the certificate is always verified."""

    def __init__(self, host: str, port: int, ca_pem: str) -> None:
        self._pool = HTTPSConnectionPool(
            host,
            port,
            ssl_context=ssl.create_default_context(cadata=ca_pem),
            maxsize=_AT_ONCE,
            block=True,
            timeout=_SECONDS,
        )
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="control-plane")

    async def request(
        self, method: str, path: str, token: str, body: dict[str, Any] | None = None, *, retries: int = 3
    ) -> Answer:
        """Raises urllib3's HTTPError when no answer came, after as many ``retries`` as that.

        A request that changes something may so be sent twice; callers take "exists already" for done.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._request, method, path, token, body, retries)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.close()

    def _request(self, method: str, path: str, token: str, body: dict[str, Any] | None, retries: int) -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        again = Retry(retries, allowed_methods=None, backoff_factor=0.05, raise_on_status=False)
        answer = self._pool.request(
            method, path, body=json.dumps(body) if body is not None else None, headers=headers, retries=again
        )
        try:
            read = json.loads(answer.data)
        except ValueError:
            read = {}
        text = answer.data[:_TEXT].decode(errors="replace")
        return Answer(answer.status, read if isinstance(read, dict) else {}, text)


async def ask(
    server: ApiClient, method: str, token: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The answer's object. What is there already, or gone already, is done. Raises LabFailure for other refusals."""
    try:
        answer = await server.request(method, path, token, body)
    except HTTPError as error:
        raise LabFailure(f"{method} {path}: {error}") from error
    done = {"POST": 409, "DELETE": 404}.get(method)
    if answer.status not in (200, 201, done):
        raise LabFailure(f"{method} {path}: {answer.problem}")
    return answer.body
