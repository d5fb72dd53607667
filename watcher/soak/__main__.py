"""``python -m watcher.soak``: what ``watcher soak`` becomes, so that its command line need not stay in memory."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from watcher.errors import WatcherError
from watcher.soak.settings import load


def main() -> int:
    """Exit status: 0 ended in order, 2 wrong usage, 3 it cannot run."""
    parser = argparse.ArgumentParser(prog="watcher soak")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        settings = load(os.environ, arguments.file)
        from watcher.soak import assembly

        if not arguments.check:
            assembly.main(settings)
        found = assembly.check(settings)
    except WatcherError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    else:
        for name, value in found.items():
            lines = value if isinstance(value, list) else [value]
            sys.stdout.writelines(f"{name if not number else '':22} {line}\n" for number, line in enumerate(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
