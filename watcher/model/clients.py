"""Client programs: stacks, and how their environments are made."""

from __future__ import annotations

from string import Formatter
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from watcher.model.values import Name, PositiveSeconds, Value


class Timer(Value):
    """A timer built into a client library that a run cannot scale."""

    name: str
    seconds: PositiveSeconds
    profiles: tuple[str, ...] = ("*",)
    """Globs of the profiles in which it is armed."""
    source: str


COMMAND_PLACES = ("environment", "folder")

LockFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$")]
"""A file inside the client's folder, or below it."""


class Build(Value):
    """How a client folder's environment is made."""

    kind: Name
    """A module of ``programs/environments/kinds``. ``none``: the command needs nothing made for it, as a program that
    is built already."""
    lock: LockFile | None = None
    """What names every library in one version, with its hash; in the form that the kind's own tool has for it."""
    needs: tuple[str, ...] = ()
    """Programs of the system that it cannot do without when it runs: ``kubectl``."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Of the stacks that run in it; never written in a manifest's ``[build]``, but filled in by ``Client.build_of``."""

    @model_validator(mode="after")
    def _lock_fits(self) -> Build:
        if (self.kind == "none") != (self.lock is None):
            raise ValueError(f"kind {self.kind!r} needs a lock" if self.kind != "none" else "kind 'none' has no lock")
        return self


class Stack(Value):
    """One way to watch with one version of one client library."""

    name: Name
    description: str
    protocol: Name = "watch"
    variant: Name | None = None
    """How the protocol's server is set up for it, where there are several ways: how often it says something."""
    language: str
    library: str
    version: str
    command: tuple[str, ...] = Field(min_length=1)
    """Arguments; ``{environment}`` and ``{folder}`` are replaced by the built environment and the client's folder."""
    lock: LockFile | None = None
    """Another lock than the folder's: another version of the same library under the same program."""
    profiles: tuple[Name, ...] = Field(min_length=1)
    """Profiles it can do; any other must end with status 127."""
    timers: tuple[Timer, ...] = ()
    asks: bool = False
    """It asks now and then instead of being told: its delay begins when it asks."""
    sends: bool = False
    """It sends of its own accord, more often than any path forgets: so that data is in flight when its path fails."""
    http2: bool = False
    """It offers HTTP/2 to the server, so that a real one speaks that with it."""
    websocket: bool = False
    """It watches over a WebSocket, where the server has that."""

    @field_validator("command")
    @classmethod
    def _places_are_known(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        for argument in command:
            for _, place, _, _ in Formatter().parse(argument):
                if place is not None and place not in COMMAND_PLACES:
                    known = ", ".join(f"{{{each}}}" for each in COMMAND_PLACES)
                    raise ValueError(f"{{{place}}} is not known; there are {known}")
        return command

    default_source: str
    """The upstream page whose example the ``default`` profile is."""
    memory_mib: Annotated[int, Field(gt=0)]
    """Measured resident memory of one program."""


class Coming(Value):
    """A client folder's ``to-come.toml``: a library that has no program yet, and whose place in the tables is kept."""

    language: str
    library: str
    protocol: str = "watch"


class Client(Value):
    """A client folder's ``client.toml``: how its environment is made, and the stacks that run in it."""

    build: Build
    stack: tuple[Stack, ...] = Field(min_length=1)

    def build_of(self, stack: Stack) -> Build:
        """The folder's, with the stack's own lock where it has one, and the commands of all that run with that lock."""
        lock = stack.lock or self.build.lock
        commands = tuple(other.command for other in self.stack if (other.lock or self.build.lock) == lock)
        return self.build.model_copy(update={"lock": lock, "commands": commands})

    @model_validator(mode="after")
    def _commands_are_the_stacks_own(self) -> Client:
        if self.build.commands:
            raise ValueError("build.commands: commands are the stacks' own")
        return self

    @model_validator(mode="after")
    def _only_what_is_built_has_a_lock(self) -> Client:
        for stack in self.stack:
            if stack.lock is not None and self.build.kind == "none":
                raise ValueError(f"stack {stack.name!r} has a lock, but kind 'none' builds nothing")
        return self
