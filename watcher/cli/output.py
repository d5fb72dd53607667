"""Where the command line writes: reports and JSON to standard output, errors and progress to standard error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from watcher.errors import UsageError, WatcherError

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Colour only on a terminal and never with NO_COLOR; nothing is highlighted or parsed as markup by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def progress_console() -> Console:
    """For what moves while a run lasts: standard error, so that standard output is the matrix alone."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def print_error(error: WatcherError) -> None:
    """One block: what is wrong, then, indented, what to do."""
    from rich.text import Text

    block = Text.assemble(("error: ", "bold red"), error.message)
    for line in (error.advice or "").splitlines():
        block.append(f"\n  {line}")
    console(stderr=True).print(block, soft_wrap=True)


def print_json(value: Any) -> None:
    """Stable for scripts: two spaces, keys in the order given, no colour."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def replace(file: Path, content: str) -> None:
    """Writes so that a reader sees the old file or the new one, never half of one. Raises UsageError."""
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_text(content, encoding="utf-8")
        new.replace(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error
