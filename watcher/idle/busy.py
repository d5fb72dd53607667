"""The control of a measurement: one connection to the API server that is used all the time and must live."""

from __future__ import annotations

from urllib3.connection import HTTPSConnection

from watcher.api import ApiServer, tls

TIMEOUT_SECONDS = 10.0
PATH = "/version"
"""Whatever is answered counts: only that it comes over the same connection."""


class BusyConnection:
    """Blocking; one thread at a time."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._connection: HTTPSConnection | None = None

    def use(self) -> None:
        """One request and its answer; opens the connection at the first call and never again.

        Raises ``watcher.api.UNANSWERED``.
        """
        api = self._api
        if self._connection is None:
            self._connection = HTTPSConnection(
                api.host,
                api.port,
                ssl_context=tls(api.ca_pem, api.client_certificate),
                timeout=TIMEOUT_SECONDS,
                server_hostname=api.server_name,
                assert_hostname=api.server_name,
            )
            self._connection.connect()
            # Else http.client opens another one, silently, where this one has ended.
            self._connection.auto_open = 0
        headers = {"User-Agent": "watcher"}
        if api.token:
            headers["Authorization"] = f"Bearer {api.token}"
        self._connection.request("GET", PATH, headers=headers)
        _ = self._connection.getresponse().data

    def close(self) -> None:
        """Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
