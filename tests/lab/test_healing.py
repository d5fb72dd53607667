"""Faults healed in every order, twice, unasked, and after a failure: afterwards the network and the client work."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.lab.sandboxed import run_inside
from watcher import faults, plan
from watcher.catalog import Catalog
from watcher.errors import LabFailure
from watcher.lab import network, nftables, path
from watcher.lab.addresses import API_ADDRESS, API_PORT, VIRTUAL_ADDRESS, VIRTUAL_PORT, Server
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Scene
from watcher.records import Entry, FlowKey

pytestmark = [pytest.mark.lab, pytest.mark.timeout(500)]

SOON_SECONDS = 20.0
"""A packet that passes does so at once, where the machine is not busy."""
NEVER_SECONDS = 2.0
"""One that is stopped never passes."""
SEED = 7

ENDS_FLOWS = {"server-mute", "history-refused"}
"""Faults after which the client's connections are gone, healed or not."""

NOTHING_TO_HEAL = {"none", "idle-expiry", "proxy-closed", "conntrack-invalid"}
"""Faults that do nothing, or something that is over at once and leaves no trace here."""

HARMED = (LabFailure, OSError)
"""What an apply may raise where another fault is in force already, or where it is made to."""


def on_the_path() -> list[str]:
    """Every fault that acts on path, proxy or client; the others act on a server that ends with its scenario."""
    return [name for name in faults.names() if "own-backend" not in faults.load(name).NEEDS]


class _Proxy:
    """In place of the real one, whose connections are not what is tested here."""

    def close(self, client_address: str) -> None:
        """Leaves them alone."""


@dataclass
class Stage:
    """One cell's network with an echo server behind it, a client's connection and a client's process."""

    scene: Scene
    client: Namespace
    process: subprocess.Popen[bytes]
    patience_seconds: float = SOON_SECONDS

    def connect(self) -> socket.socket:
        address = (VIRTUAL_ADDRESS, VIRTUAL_PORT)
        return self.client.enter(lambda: socket.create_connection(address, timeout=self.patience_seconds))

    def echoes(self, connection: socket.socket) -> bool:
        connection.settimeout(self.patience_seconds)
        try:
            connection.sendall(b"word")
            return connection.recv(4) == b"word"
        except OSError:
            return False

    def wrong(self) -> str | None:
        """What does not work as before any fault; None where all does."""
        try:
            with self.connect() as fresh:
                if not self.echoes(fresh):
                    return "a new connection gets no answer"
        except OSError as error:
            return f"no new connection: {error}"
        if "T" in Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[:1]:
            return "the client's process is stopped"
        return None


def _serve(listener: socket.socket, answer: bytes | None = None) -> None:
    """Echoes, or says the same to all."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_talk, args=(connection, answer), daemon=True).start()


def _talk(connection: socket.socket, answer: bytes | None) -> None:
    with contextlib.suppress(OSError):
        while data := connection.recv(100):
            connection.sendall(answer or data)


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    catalog = Catalog.load()
    stack, profile = catalog.stacks["python-urllib3"].stack, catalog.profiles["default"]
    cell = plan.make(plan.Choice([stack], [profile], [catalog.scenarios["control"]], catalog.paths, {}))[-1]
    cluster = network.make_cluster()
    nets = network.CellNetwork.named(7)
    Namespace.create([nets.client.name, nets.path.name])
    network.make_cell(nets, cluster)
    path.prepare(cell, nets)
    seen: list[Entry] = []
    lab_path = path.LabPath(cell, nets, Path(tempfile.mkdtemp()), seen.append)
    server, forgetful = lab_path.server, Server(API_ADDRESS, API_PORT + 1000)
    listeners = [cluster.enter(partial(socket.create_server, (at.address, at.port))) for at in (server, forgetful)]
    for listener, answer in zip(listeners, (None, b"gone"), strict=True):
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
    process = subprocess.Popen(["sleep", "600"])
    scene = Scene(lab_path, cluster, server, pids=lambda: (process.pid,), proxy=_Proxy(), forgetful=forgetful)
    try:
        yield Stage(scene, nets.client, process)
    finally:
        process.kill()
        process.wait()
        for listener in listeners:
            listener.close()
        lab_path.close()


def applied(stage: Stage, name: str) -> None:
    with contextlib.suppress(*HARMED):
        faults.load(name).apply(stage.scene)


def healed(stage: Stage, names: list[str]) -> None:
    for name in names:
        for _ in range(2):
            faults.load(name).heal(stage.scene)


def in_pairs(stage: Stage) -> list[str]:
    """Every two faults, applied one after the other with a watch open, healed in both orders, each twice."""
    found = []
    acting = [name for name in on_the_path() if name not in NOTHING_TO_HEAL]
    for first, second in product(acting, repeat=2):
        for order in [[first, second], [second, first]][: 1 + (first != second)]:
            with stage.connect() as watch:
                assert stage.echoes(watch)
                applied(stage, first)
                applied(stage, second)
                healed(stage, order)
                ended = {first, second} & ENDS_FLOWS
                wrong = stage.wrong() or (None if ended or stage.echoes(watch) else "the watch's flow is dead")
            if wrong:
                found.append(f"{first}, {second}; healed {', '.join(order)}: {wrong}")
                stage.process.send_signal(signal.SIGCONT)
                nftables.mend(stage.scene.path.network.path)
    return found


def shuffled(stage: Stage, times: int) -> list[str]:
    """All faults at once, healed in some order, with heals of what was not applied in between."""
    found = []
    chance = random.Random(SEED)  # noqa: S311 - the same order each time, so that a failure can be seen again
    for _ in range(times):
        steps = chance.choices(on_the_path(), k=6)
        for name in steps:
            if chance.random() < 0.3:
                healed(stage, [name])
            else:
                applied(stage, name)
        last = chance.sample(on_the_path(), k=len(on_the_path()))
        healed(stage, last)
        if wrong := stage.wrong():
            found.append(f"{steps}; healed {last}: {wrong}")
    return found


def unasked(stage: Stage) -> list[str]:
    """Heal without apply, and heal after an apply that failed at its first, or at its last, step."""
    found = []

    def failing(*_: Any) -> tuple[FlowKey, ...]:
        raise LabFailure("made to fail")

    def late(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **named: Any) -> None:
            real(*arguments, **named)
            failing()

        return act

    with stage.connect() as watch:
        assert stage.echoes(watch)
        lab_path = stage.scene.path
        for name in on_the_path():
            healed(stage, [name])
            found += [f"{name} healed, never applied: {wrong}" for wrong in [stage.wrong()] if wrong]

            lab_path.established = failing  # type: ignore[method-assign]  # the first thing that a fault asks
            applied(stage, name)
            del lab_path.established  # the class's own again
            healed(stage, [name])
            found += [f"{name} failed early: {wrong}" for wrong in [stage.wrong()] if wrong]

            kept = nftables.load, os.kill
            nftables.load, os.kill = late(nftables.load), late(os.kill)
            try:
                applied(stage, name)
            finally:
                nftables.load, os.kill = kept
            healed(stage, [name])
            found += [f"{name} failed late: {wrong}" for wrong in [stage.wrong()] if wrong]
    return found


def unhealed(stage: Stage) -> dict[str, str | None]:
    """What is wrong while each fault is in force."""
    found: dict[str, str | None] = {}
    for name in on_the_path():
        with stage.connect() as watch:
            assert stage.echoes(watch)
            applied(stage, name)
            stage.patience_seconds = NEVER_SECONDS
            found[name] = stage.wrong() or (None if stage.echoes(watch) else "the watch's flow is dead")
            stage.patience_seconds = SOON_SECONDS
            healed(stage, [name])
    return found


async def on_stage(what: str, *arguments: Any) -> Any:
    """Plays one of the above. Its capture lives in the event loop, all that blocks in a thread."""
    with staged() as stage:
        return await asyncio.to_thread(globals()[what], stage, *arguments)


def test_two_faults_are_healed_in_either_order() -> None:
    """What is left of one cell's fault would decide the rest of the cell, or of the next on the same path."""
    assert run_inside(on_stage, "in_pairs", timeout=450) == []


def test_faults_are_healed_in_any_order() -> None:
    """The runner heals whatever may have been applied, after whatever went wrong."""
    assert run_inside(on_stage, "shuffled", 15, timeout=450) == []


def test_heal_is_harmless_unasked_and_undoes_what_failed_half_way() -> None:
    """A fault that broke in the lab would leave the client frozen, or the path dark, for the evidence after it."""
    assert run_inside(on_stage, "unasked", timeout=450) == []


def test_the_check_sees_a_fault_that_is_not_healed() -> None:
    """The mutant of all of the above: with nothing wrong to be seen, healing would be proven by nothing."""
    seen = run_inside(on_stage, "unhealed", timeout=450)
    assert {name for name, wrong in seen.items() if wrong is None} <= NOTHING_TO_HEAL, seen
    assert seen["client-frozen"] == "the client's process is stopped"
    assert "no new connection" in seen["outage"]
    assert "no new connection" in seen["proxy-ended"]
    assert seen["server-mute"] == seen["history-refused"] == "a new connection gets no answer"
    assert seen["blackhole"] == seen["blackhole-to-client"] == "the watch's flow is dead"
