"""Layer-4 proxies before the API server: HAProxy in TCP mode, one listener for each idle timeout that a stage needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from watcher.lab.addresses import Server
from watcher.lab.namespace import Namespace
from watcher.model import CellPlan


class Proxies:
    """The proxies of one stage, running in the cluster's namespace; a ``scene.Proxy``."""

    @classmethod
    @asynccontextmanager
    async def start(cls, cluster: Namespace, folder: Path, plans: Iterable[CellPlan]) -> AsyncIterator[Proxies | None]:
        """Ready when entered; None where no plan asks for a proxy. Its log goes to ``folder``."""
        if any(plan.proxy for plan in plans):
            raise NotImplementedError
        yield None

    def server(self, plan: CellPlan) -> Server:
        """Where the cell's path leads."""
        raise NotImplementedError

    def close(self, client_address: str) -> None:
        """Closes the client's connections, both sides, with FIN. Blocks."""
        raise NotImplementedError
