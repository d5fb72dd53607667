"""What a soak is told, by the environment or by a mounted file; what the environment says wins. Pure but for the file.

The file is TOML: the same settings by their names here, and, instead of ``stacks`` and ``profiles``, any number of

    [[watcher]]
    stack = "python-kubernetes"
    profile = "tcp-keepalive"
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from watcher.catalog import Catalog
from watcher.errors import FileError, UsageError
from watcher.model import Name, PositiveSeconds, Value
from watcher.totals import MOST_WATCHERS
from watcher.updater import schedule_of

FILE_VARIABLE = "WATCHER_SOAK_FILE"
DEFAULT_STACKS = (
    "python-kubernetes,python-kubernetes-informer,python-kubernetes-asyncio,python-urllib3,client-go-informer"
)
PROTOCOL = "watch"
"""What a soak's programs speak: its updater touches ConfigMaps."""
DEFAULT_PROFILES = "default,tcp-keepalive"
DEFAULT_SPOOL = Path("/var/lib/watcher")

VARIABLES = {
    "interval": "CHANGE_INTERVAL_SECONDS",
    "deadline_seconds": "DEADLINE_SECONDS",
    "stacks": "WATCHER_STACKS",
    "clients": "WATCHER_CLIENTS",
    "profiles": "WATCHER_PROFILES",
    "namespace": "WATCHER_NAMESPACE",
    "trigger": "WATCHER_TRIGGER",
    "instance": "WATCHER_INSTANCE",
    "cluster": "WATCHER_CLUSTER",
    "node": "WATCHER_NODE",
    "capture": "WATCHER_CAPTURE",
    "spool": "WATCHER_SPOOL",
    "listen": "WATCHER_LISTEN",
    "keep_failures": "WATCHER_KEEP_FAILURES",
    "keep_failures_days": "WATCHER_KEEP_FAILURES_DAYS",
    "scale": "WATCHER_SCALE",
    "kubeconfig": "KUBECONFIG",
}
"""Setting to environment variable."""

_ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]


class Pair(Value):
    """One ``[[watcher]]``."""

    stack: Name
    profile: Name


class SoakSettings(Value):
    """Everything, with its defaults. Durations are seconds."""

    interval: str = "600"
    """Between two touches: seconds, or a cron expression of five fields in UTC."""
    deadline_seconds: PositiveSeconds = 10.0
    stacks: str = DEFAULT_STACKS
    profiles: str = DEFAULT_PROFILES
    watcher: tuple[Pair, ...] = ()
    clients: tuple[Path, ...] = ()
    """Client folders of the user's own; in the environment with colons between them."""
    namespace: _ObjectName | None = None
    """None: the pod's own, or the kubeconfig's."""
    trigger: _ObjectName = "trigger"
    instance: Name = "soak"
    cluster: Annotated[str, Field(max_length=200)] = ""
    node: Annotated[str, Field(max_length=253)] = ""
    capture: Annotated[str, Field(max_length=200)] = ""
    """Where somebody keeps the packets, ``container:file``; each failure then says so. Empty: nobody does."""
    spool: Path | None = None
    """None: ``/var/lib/watcher`` where that can be written to, else a folder in the temporary one."""
    listen: str = "0.0.0.0:8080"
    keep_failures: Annotated[int, Field(ge=1, le=100_000)] = 500
    keep_failures_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    scale: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Only for the lab: divides the durations of profiles."""
    kubeconfig: str | None = None
    """None: the pod's service account."""

    @field_validator("interval", mode="before")
    @classmethod
    def _interval_as_text(cls, value: object) -> object:
        return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("stacks", "profiles", mode="before")
    @classmethod
    def _lists_too(cls, value: object) -> object:
        return ",".join(map(str, value)) if isinstance(value, list) else value

    @field_validator("clients", mode="before")
    @classmethod
    def _folders(cls, value: object) -> object:
        return tuple(filter(None, value.split(":"))) if isinstance(value, str) else value

    def catalog(self) -> Catalog:
        """What can be chosen from. Raises UsageError for a folder that is no client's."""
        return Catalog.load(clients=self.clients)

    def spool_folder(self) -> Path:
        """Where the spool is."""
        if self.spool is not None:
            return self.spool
        if os.access(DEFAULT_SPOOL, os.W_OK):
            return DEFAULT_SPOOL
        return Path(tempfile.gettempdir()) / f"watcher-{os.getuid()}" / self.instance

    def pairs(self, catalog: Catalog) -> tuple[tuple[str, str], ...]:
        """Stack and profile of every watcher, in order. What a stack cannot do is left out, unless it was named as a
        pair. Raises UsageError."""
        if self.watcher:
            for pair in self.watcher:
                catalog.select_stacks(pair.stack)
                catalog.select_profiles(pair.profile)
                if (protocol := catalog.stacks[pair.stack].stack.protocol) != PROTOCOL:
                    raise UsageError(
                        f"{pair.stack} is no watcher: it speaks the protocol {protocol}",
                        advice=f"the soak runs stacks of the protocol {PROTOCOL}: `watcher list stacks`",
                    )
                if pair.profile not in catalog.stacks[pair.stack].stack.profiles:
                    raise UsageError(
                        f"{pair.stack} cannot do the profile {pair.profile}",
                        advice=f"it can do: {', '.join(catalog.stacks[pair.stack].stack.profiles)}",
                    )
            chosen = tuple(dict.fromkeys((pair.stack, pair.profile) for pair in self.watcher))
        else:
            profiles = catalog.select_profiles(self.profiles)
            chosen = tuple(
                (stack, profile)
                for stack in catalog.select_stacks(self.stacks)
                if catalog.stacks[stack].stack.protocol == PROTOCOL
                for profile in profiles
                if profile in catalog.stacks[stack].stack.profiles
            )
        if not chosen:
            raise UsageError(
                f"none of {self.stacks} can do any of {self.profiles}", advice="`watcher list stacks` says who can what"
            )
        if len(chosen) > MOST_WATCHERS:
            raise UsageError(
                f"{len(chosen)} watchers are more than {MOST_WATCHERS}", advice="run several soaks, each its instance"
            )
        return chosen


def load(environment: Mapping[str, str], file: Path | None = None) -> SoakSettings:
    """Defaults, then the file (or the one that ``WATCHER_SOAK_FILE`` names), then the environment. Raises UsageError,
    which names the variable or the file's key."""
    if file is None and environment.get(FILE_VARIABLE):
        file = Path(environment[FILE_VARIABLE])
    values = {} if file is None else _read(file)
    # An empty variable is one that a manifest has left out.
    given = {name: text for name, variable in VARIABLES.items() if (text := environment.get(variable, "").strip())}
    if "stacks" in given or "profiles" in given:
        values.pop("watcher", None)
    try:
        settings = SoakSettings.model_validate({**values, **given})
    except ValidationError as error:
        raise _problem(error, file, given) from error
    try:
        schedule_of(settings.interval)
    except UsageError as error:
        where = VARIABLES["interval"] if "interval" in given else f"{file}: interval"
        raise UsageError(f"{where}: {error.message}", advice=error.advice) from error
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            str(file), None, f"cannot be read: {error.strerror}", advice=f"{FILE_VARIABLE} or --file names it"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(str(file), None, f"is not TOML: {error}") from error


def _problem(error: ValidationError, file: Path | None, given: Mapping[str, str]) -> UsageError:
    detail = error.errors(include_url=False)[0]
    name = str(detail["loc"][0])
    key = ".".join(str(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    if name in given:
        shown = given[name] if name != "kubeconfig" else "…"
        return UsageError(f"{VARIABLES[name]}={shown!r}: {message}", advice="`watcher soak --help` explains each")
    if detail["type"] == "extra_forbidden":
        known = ", ".join(SoakSettings.model_fields)
        return FileError(str(file), key, "unknown setting", advice=f"known are: {known}")
    return FileError(str(file), key, message)
