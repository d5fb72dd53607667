"""The JVM's stacks once more without their shared class data: what the archive saves, in one and the same run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from watcher.catalog import Catalog, FoundStack
from watcher.programs import environments
from watcher.programs.environments.class_data import ARCHIVE

SUFFIX = "-unshared"
"""Of the name of a stack that is another without its archive."""


def client(folder: Path, built: Iterable[str]) -> tuple[Path, list[str]] | None:
    """A client folder made in ``folder`` with a twin for each of the stacks that has an archive, and the twins' names.
    They run in the environments that are there. None where no stack has one.
    """
    stacks = Catalog.load().stacks
    twins = {name: stacks[name] for name in built if _archive(stacks[name]).is_file()}
    if not twins:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "client.toml").write_text('[build]\nkind = "none"\n' + "".join(map(_stack, twins.values())))
    return folder, [name + SUFFIX for name in twins]


def _archive(found: FoundStack) -> Path:
    return environments.environment_for(found.folder, found.build) / ARCHIVE


def _stack(found: FoundStack) -> str:
    """In TOML, whose text, lists, numbers and truth look as in JSON."""
    stack, place = found.stack, _archive(found).parent
    command = [part.format(environment=place, folder=found.folder) for part in stack.command if ARCHIVE not in part]
    assert len(command) == len(stack.command) - 1, stack.command
    told = stack.model_dump(exclude={"command", "timers", "lock"}, exclude_none=True)
    told |= {"name": stack.name + SUFFIX, "command": command}
    return _table("stack", told) + "".join(_table("stack.timers", timer.model_dump()) for timer in stack.timers)


def _table(name: str, values: dict[str, object]) -> str:
    return f"\n[[{name}]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def saved(cost: Iterable[tuple[str, float, float]]) -> Iterator[tuple[str, float, str, float | None, str]]:
    """Of stacks with memory in MiB and CPU in seconds: what each costs, and how many times what its twin does."""
    of = {name: costs for name, *costs in cost}
    for name, costs in of.items():
        if (twin := of.get(name + SUFFIX)) is not None:
            for what, unit, value, without in zip(("memory", "CPU"), ("MiB", "s"), costs, twin, strict=True):
                yield f"{name}: {what} with shared class data", value, unit, value / without, "without"
