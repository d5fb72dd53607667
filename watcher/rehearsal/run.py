"""A rehearsal as the command sees it: plans, starts a sandbox for each cluster, says how far it is, keeps the rest."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from watcher.catalog import Catalog, clients_folder
from watcher.doctor import machine
from watcher.errors import LabFailure, UsageError
from watcher.lab import sandbox
from watcher.lab.control_plane import binaries
from watcher.lab.control_plane.binaries import Binaries
from watcher.programs import environments
from watcher.programs.environments.work import CACHE_VARIABLE
from watcher.rehearsal.options import RehearsalOptions, chosen_paths, path_order
from watcher.rehearsal.order import SAID, Broken, ClusterOrder, Ended, Said
from watcher.rehearsal.progress import words
from watcher.rehearsal.reading import CONFIG_MAPS

STAGE_LOG = "lab.log"
RESULT = "rehearsal.json"
BASE = clients_folder().parent / "deploy" / "base"
"""What ``kubectl apply -k`` gives a user's cluster."""
WATCHER = (sys.executable, "-X", "utf8", "-m", "watcher")
SOAK = (*WATCHER, "soak")
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "PYTHONPATH")


@dataclass(frozen=True)
class Rehearsed:
    folder: Path
    clusters: Mapping[str, Ended]

    def config_maps(self, cluster: str) -> Path:
        """All that was in the soak's namespace, as ``kubectl get configmaps -o json`` prints it."""
        return self.folder / cluster / CONFIG_MAPS

    @property
    def trusted(self) -> bool:
        """Whether every soak ran as long as it was to, and its counts agree with what its API server wrote down."""
        return not any(each.problems or each.disagreements for each in self.clusters.values())


def rehearse(options: RehearsalOptions, catalog: Catalog, console: Console) -> Rehearsed:
    """Runs a soak in each cluster for as long as was asked, and returns what they left.

    Raises UsageError for what the user can mend, LabUnavailable or LabFailure where nothing can be known.
    """
    paths = chosen_paths(options.clusters, catalog.paths)
    path_orders = {name: path_order(name, path, options) for name, path in paths.items()}
    control_plane = binaries.find(options.control_plane, environments.cache_folder())
    _build(options, catalog, console)
    folder = _new_folder(options.output)
    manifests, kubectl = manifests_of(control_plane)
    orders = [
        ClusterOrder(
            name=name,
            path=path_order_,
            folder=str((folder / name).absolute()),
            control_plane=control_plane,
            manifests=manifests,
            kubectl=kubectl,
            command=SOAK,
            environment=soak_environment(options, name, paths[name].name, folder),
            measure=measure_command(options.scale) if options.measure else (),
            seconds=None if options.hours is None else options.hours * 3600 / options.scale,
            touches=options.touches,
        )
        for name, path_order_ in path_orders.items()
    ]
    console.print(
        f"{len(orders)} clusters at scale {options.scale:g},"
        f" a touch every {options.interval_seconds / options.scale:g} s,"
        f" control plane {_name(control_plane)}, rehearsal {folder}",
        highlight=False,
        soft_wrap=True,
    )
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    clusters = _stages(orders, folder, console)
    _keep(folder, options, started_at, _name(control_plane), clusters)
    return Rehearsed(folder, clusters)


def measure_command(scale: float) -> tuple[str, ...]:
    """``watcher path`` with its own ages divided by the scale."""
    step, until = (f"{seconds / scale:g}" for seconds in (60, 900))
    return (*WATCHER, "path", "--step", step, "--until", until, "--json")


def soak_environment(options: RehearsalOptions, name: str, path: str, folder: Path) -> dict[str, str]:
    """The soak's whole environment, but for where its API server is. In real seconds, the profiles' own excepted."""
    deadline = max(1.0, options.deadline_seconds / options.scale)
    asked = {"WATCHER_STACKS": options.stacks, "WATCHER_PROFILES": options.profiles}
    return {
        **{key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ},
        CACHE_VARIABLE: str(environments.cache_folder()),
        "CHANGE_INTERVAL_SECONDS": f"{options.interval_seconds / options.scale:g}",
        "DEADLINE_SECONDS": f"{deadline:g}",
        "WATCHER_SCALE": f"{options.scale:g}",
        "WATCHER_CLUSTER": f"{name}: {path}",
        "WATCHER_NODE": "lab",
        "WATCHER_SPOOL": str((folder / name / "spool").absolute()),
        **{key: value for key, value in asked.items() if value is not None},
    }


def _stages(orders: list[ClusterOrder], folder: Path, console: Console) -> dict[str, Ended]:
    said: queue.SimpleQueue[tuple[str, Said | None]] = queue.SimpleQueue()
    stages = {}
    try:
        for order in orders:
            cluster_folder = Path(order.folder)
            cluster_folder.mkdir()
            stage = sandbox.start(
                [sys.executable, "-X", "utf8", "-m", "watcher.rehearsal.inside"], cluster_folder / STAGE_LOG
            )
            stages[order.name] = stage
            _send(stage, order.model_dump_json())
            threading.Thread(target=_read, args=(order.name, stage, said), daemon=True).start()
        return _follow(stages, said, folder, console)
    finally:
        for stage in stages.values():
            sandbox.end(stage)


def _follow(
    stages: Mapping[str, subprocess.Popen[bytes]],
    said: queue.SimpleQueue[tuple[str, Said | None]],
    folder: Path,
    console: Console,
) -> dict[str, Ended]:
    """Until every stage has ended. The first interrupt asks the soaks to end in order, the second is obeyed."""
    ended: dict[str, Ended] = {}
    open_, interrupted = set(stages), False
    while open_:
        try:
            name, what = said.get()
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            console.print("interrupted: the soaks are asked to end; once more to end at once", highlight=False)
            for name in open_:
                _send(stages[name], "end")
            continue
        if what is None:
            open_.discard(name)
            if name not in ended:
                raise LabFailure(f"the lab of {name} ended early", advice=f"its log: {folder / name / STAGE_LOG}")
        elif isinstance(what, Broken):
            raise LabFailure(f"{name}: {what.message}", advice=f"its log: {folder / name / STAGE_LOG}")
        else:
            console.print(f"{name}: {words(what)}", highlight=False, markup=False, soft_wrap=True)
            if isinstance(what, Ended):
                ended[name] = what
    return {name: ended[name] for name in stages}


def _read(name: str, stage: subprocess.Popen[bytes], said: queue.SimpleQueue[tuple[str, Said | None]]) -> None:
    assert stage.stdout is not None
    for line in stage.stdout:
        said.put((name, SAID.validate_json(line)))
    said.put((name, None))


def _send(stage: subprocess.Popen[bytes], line: str) -> None:
    assert stage.stdin is not None
    try:
        stage.stdin.write(line.encode() + b"\n")
        stage.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended; what it said, or its log, says why


def _build(options: RehearsalOptions, catalog: Catalog, console: Console) -> None:
    """Makes the environments of the stacks that the soaks will start. Raises WatcherError where one cannot be made."""
    for name in catalog.select_stacks(options.stacks):
        found = catalog.stacks[name]
        if not environments.is_built(found.folder, found.build):
            console.print(f"building {found.folder.name}", highlight=False)
            environments.build(found.folder, found.build)


def manifests_of(control_plane: Binaries | None) -> tuple[str | None, str | None]:
    """deploy/base as kubectl renders it, and kubectl; both None where one of them is not there. Raises LabFailure."""
    kubectl = shutil.which("kubectl")
    if control_plane is None or kubectl is None or not BASE.is_dir():
        return None, None
    done = subprocess.run([kubectl, "kustomize", str(BASE)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabFailure(f"kubectl kustomize {BASE}: {done.stderr.strip()}")
    return done.stdout, kubectl


def _new_folder(output: Path | None) -> Path:
    folder = output or Path("rehearsals") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty", advice="name an --output that is new or empty")
    except OSError as error:
        raise UsageError(
            f"cannot use {folder}: {error.strerror}", advice="name an --output that you may write to"
        ) from error
    if folder.absolute().is_relative_to("/run"):
        raise UsageError(
            f"{folder} is under /run, which the lab hides from itself", advice="name an --output elsewhere"
        )
    return folder


def _keep(
    folder: Path, options: RehearsalOptions, started_at: str, control_plane: str, clusters: Mapping[str, Ended]
) -> None:
    kept = {
        "started_at": started_at,
        "control_plane": control_plane,
        "scale": options.scale,
        "interval_seconds": options.interval_seconds,
        "deadline_seconds": options.deadline_seconds,
        "paths": dict(options.clusters),
        "environment": machine.described(),
        "clusters": {name: each.model_dump(mode="json", exclude={"totals"}) for name, each in clusters.items()},
    }
    (folder / RESULT).write_text(json.dumps(kept, indent=1) + "\n")


def _name(control_plane: Binaries | None) -> str:
    return "embedded" if control_plane is None else f"kubernetes {control_plane.version}"
