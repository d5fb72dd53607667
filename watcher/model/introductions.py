"""How a page introduces its run to somebody who knows none of our words."""

from __future__ import annotations

from watcher.model.values import Value


class Introduction(Value):
    """What clients of a protocol are and do, in words that fit into a page's sentences; as it stands, of any."""

    client: str = "client"
    """Will my … still see a change?"""
    clients_do: str = "real clients hold a connection open"
    """… through a real network that goes wrong."""
    happens: str = "a new value is published"
    """Then …. Does the client see it?"""
    connected: str = "connected"
    """3 client libraries, … in 4 ways."""
