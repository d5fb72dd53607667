"""``watcher soak``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
**Settings**, by environment or in the file, by the names that `--check` prints; the environment wins:

`CHANGE_INTERVAL_SECONDS` between two touches, seconds or cron [600]; `DEADLINE_SECONDS` to observe one [10]

`WATCHER_STACKS`, `WATCHER_PROFILES` names and globs, with commas [the official Python clients, kubernetes-asyncio,
urllib3 and client-go's informer; default,tcp-keepalive]; in the file any number of `[[watcher]]` with `stack` and
`profile` instead; `WATCHER_CLIENTS` client folders of your own, with colons

`WATCHER_INSTANCE` [soak], `WATCHER_CLUSTER`, `WATCHER_NODE` what the table calls this soak, its cluster and its node;
`WATCHER_CAPTURE` where packets are kept, as container:file, for the records of failures

`KUBECONFIG` [the pod's service account]; `WATCHER_NAMESPACE` [the pod's], `WATCHER_TRIGGER` [trigger]

`WATCHER_SPOOL` the folder of what is not in the cluster yet [/var/lib/watcher, else a temporary one];
`WATCHER_KEEP_FAILURES` [500], `WATCHER_KEEP_FAILURES_DAYS` [30]; `WATCHER_LISTEN` for /healthz, /readyz and /metrics
[0.0.0.0:8080]; `WATCHER_SCALE` divides the durations of profiles, only for the lab [1]

**Examples**

`KUBECONFIG=~/.kube/config WATCHER_NAMESPACE=watcher watcher soak --check` : what would run, and where

`CHANGE_INTERVAL_SECONDS=60 WATCHER_PROFILES='*' watcher soak` : every minute, all profiles

**Exit status:** 0 ended by SIGTERM, all written; 2 wrong usage; 3 it cannot run.
"""


def soak(
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Settings as TOML. [$WATCHER_SOAK_FILE]")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Print the effective settings and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --check: as JSON.")] = False,
) -> None:
    """Watch a real cluster for weeks: touch the trigger, run every watcher, write down who missed it.

    Every watcher is a program of its own, started again when it ends. A touch that a watcher has not observed within
    the deadline becomes a ConfigMap `failure-...`; what was counted lies in the ConfigMap `totals-...`. Both outlive
    the pod, and are what `watcher summarize` makes its table of.
    """
    arguments = [*(["--file", str(file)] if file else []), *(["--check"] if check else []), *(["--json"] * as_json)]
    # In place of this process: what reads a command line need not stay in memory for weeks. Fewer arenas: its threads
    # wait, they do not compute.
    variables = {"MALLOC_ARENA_MAX": "2", **os.environ}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "watcher.soak", *arguments], variables)  # noqa: S606
