"""Two servers of one protocol: what is published reaches both while both live, and a failure is told from an end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from watcher.errors import LabFailure
from watcher.lab.addresses import Server
from watcher.lab.own_served import OwnServed
from watcher.protocols._beside import to_both
from watcher.updater import Published

TAKEN = {"its": Published(sent=1.0, answered=1.5, status=200), "shared": Published(sent=1.1, answered=1.2, status=200)}
REFUSED = Published(sent=1.0, error="refused")
NOWHERE: Any = None


class Running:
    """A process, as far as anybody asks."""

    name = "a-server"
    log = Path("its.log")

    def __init__(self) -> None:
        self.running = True

    def signal(self, _number: int) -> None:
        self.running = False

    async def gone(self) -> None:
        assert not self.running


def own(served: Running, *, deaf: bool = False) -> OwnServed[Running]:
    at = Server("10.113.0.6", 6620)
    return OwnServed(1, NOWHERE, NOWHERE, served, server=at, shared=at, control_plane=NOWHERE, deaf=deaf)


async def given(server: OwnServed[Running] | None, **answers: Published) -> tuple[Published, list[str]]:
    told: list[str] = []

    async def give(which: OwnServed[Any] | None) -> Published:
        told.append("shared" if which is None else "its")
        return (TAKEN | answers)[told[-1]]

    return await to_both(server, give), told


async def test_both_are_told_and_timed_together() -> None:
    """A client that observes it at the first server before the second is told has not seen into the future."""
    published, told = await given(own(Running()))
    assert sorted(told) == ["its", "shared"]
    assert (published.sent, published.answered, published.status) == (1.0, 1.5, 200)


async def test_who_has_ended_as_asked_is_not_told() -> None:
    """The touch after a fault is for the server that has taken over."""
    server = own(Running())
    server.signal(15)  # type: ignore[arg-type]
    assert await given(server) == (TAKEN["shared"], ["shared"])
    assert await given(None) == (TAKEN["shared"], ["shared"])


async def test_who_ends_while_it_is_told_is_no_failure() -> None:
    """A touch in the midst of a tidy end must not make the cell invalid."""
    server = own(Running())

    async def give(which: OwnServed[Any] | None) -> Published:
        if which is None:
            return TAKEN["shared"]
        which.signal(15)  # type: ignore[arg-type]
        return REFUSED

    assert await to_both(server, give) == TAKEN["shared"]


async def test_who_lives_and_does_not_take_it_fails_the_touch() -> None:
    """Else a client would be charged with what its server never had."""
    assert (await given(own(Running()), its=REFUSED))[0].error == "refused"
    assert (await given(own(Running()), shared=REFUSED))[0].error == "refused"


async def test_an_end_that_nobody_asked_for_is_the_labs() -> None:
    """No fault has done that: neither a touch nor a fault may pass over it."""
    served = Running()
    server = own(served)
    served.running = False
    published, _ = await given(server)
    assert published.error is not None
    assert "a-server ended of its own accord" in published.error
    assert (published.answered, published.status) == (None, None)
    with pytest.raises(LabFailure, match="of its own accord"):
        server.signal(9)  # type: ignore[arg-type]


class Deaf(Running):
    def signal(self, number: int) -> None:
        self.running = number == 15


async def test_who_is_deaf_goes_on_after_sigterm() -> None:
    """A force-deleted pod that ignores SIGTERM answers until its network is taken away."""
    server = own(Deaf(), deaf=True)
    server.signal(15)  # type: ignore[arg-type]
    server.signal(9)  # type: ignore[arg-type]
    assert not server.serves()


async def test_who_is_said_to_be_deaf_and_ends_on_sigterm_is_the_labs_failure() -> None:
    """Its FIN would tell the clients what the report says that nobody tells them, and the cell would count."""
    server = own(Running(), deaf=True)
    server.signal(15)  # type: ignore[arg-type]
    with pytest.raises(LabFailure, match="of its own accord"):
        server.signal(9)  # type: ignore[arg-type]
