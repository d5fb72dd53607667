"""The API server, and requests to it over connections of their own.

Every request here opens a connection and closes it again, so that none depends on the health of an older one: what
is asked is always "is the API server there now", never "is my old connection still good".
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPException
from typing import Any

from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError

UNANSWERED = (OSError, HTTPError, HTTPException, ValueError)
"""What a request raises where no (whole) answer came: refused, reset, timed out, TLS, half an answer."""
MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"
MOST_ANSWER_BYTES = 64 << 20


@dataclass(frozen=True)
class ApiServer:
    """Where the API server is reached, and as whom. ``ca_pem`` is what its certificate is verified with."""

    host: str
    port: int
    ca_pem: str
    token: str = field(repr=False)
    client_certificate: tuple[str, str] | None = field(default=None, repr=False)
    """Files of certificate and key, where that is who we are instead of, or besides, a token."""
    server_name: str | None = None
    """What the certificate must name, where it is not ``host``."""


Credentials = Callable[[], ApiServer]
"""Asked before every request, since tokens are rotated under a running pod."""


@dataclass(frozen=True)
class Answer:
    """``body`` is empty where the answer was no JSON object. Times are CLOCK_MONOTONIC."""

    status: int
    body: dict[str, Any]
    sent: float
    answered: float

    @property
    def problem(self) -> str:
        return f"{self.status} {str(self.body.get('message', 'no reason given'))[:500]}"


def request(
    api: ApiServer,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    content_type: str = JSON,
    timeout_seconds: float,
    user_agent: str = "watcher",
) -> Answer:
    """One request over a fresh connection. Blocks; raises ``UNANSWERED``; ``sent`` is after the handshake."""
    connection = HTTPSConnection(
        api.host,
        api.port,
        ssl_context=tls(api.ca_pem, api.client_certificate),
        timeout=timeout_seconds,
        server_hostname=api.server_name,
        assert_hostname=api.server_name,
    )
    headers = {"Accept": JSON, "Connection": "close", "User-Agent": user_agent}
    if api.token:
        headers["Authorization"] = f"Bearer {api.token}"
    if body is not None:
        headers["Content-Type"] = content_type
    try:
        connection.connect()
        sent = time.monotonic()
        connection.request(method, path, body=None if body is None else json.dumps(body).encode(), headers=headers)
        response = connection.getresponse()
        data = response.data
        answered = time.monotonic()
        found = json.loads(data or b"{}")
        return Answer(response.status, found if isinstance(found, dict) else {}, sent, answered)
    finally:
        connection.close()


@lru_cache(maxsize=8)
def tls(ca_pem: str, client_certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
    """Verifies the server by ``ca_pem`` alone. Raises ``ssl.SSLError`` (an OSError) where that is no certificate."""
    context = ssl.create_default_context(cadata=ca_pem)
    if client_certificate is not None:
        context.load_cert_chain(*client_certificate)
    return context
