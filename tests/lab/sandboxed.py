"""Runs a function of a test module inside the lab's sandbox and brings back what it returns, as JSON."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from watcher.lab import sandbox

ROOT = Path(__file__).parents[2]


def run_inside(scene: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any, timeout: float = 90) -> Any:
    """Raises AssertionError with the sandbox's own words when the scene fails."""
    order = json.dumps([scene.__module__, scene.__name__, arguments])
    done = subprocess.run(
        [*sandbox.command([sys.executable, "-m", "tests.lab.sandboxed"])],
        input=order, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def main() -> None:
    module, name, arguments = json.loads(sys.stdin.read())
    sandbox.furnish()
    result = asyncio.run(getattr(importlib.import_module(module), name)(*arguments))
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
