"""What a cell opens to, as JSON; packed by stack, so that a page of many cells is small and starts at once."""

from __future__ import annotations

import base64
import gzip
import json
import shlex
from collections.abc import Mapping
from typing import Any

from watcher.model import CellResult, Control, Results, Settings
from watcher.report.page.ladder import rows
from watcher.report.page.lanes import lanes
from watcher.report.page.story import story
from watcher.report.page.surroundings import Surroundings
from watcher.report.words import seconds_text
from watcher.timeline import Timeline


def key(cell: CellResult) -> str:
    return f"{cell.stack}/{cell.profile}/{cell.scenario}"


def packed(
    cells: Mapping[str, CellResult], results: Results, timelines: Mapping[str, Timeline], around: Surroundings
) -> str:
    """Compressed and in Base64, which no text in it can break out of. Equal cells give equal octets."""
    details = {place: detail(cell, results, timelines, around) for place, cell in cells.items()}
    content = json.dumps(details, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def detail(
    cell: CellResult, results: Results, timelines: Mapping[str, Timeline], around: Surroundings
) -> dict[str, object]:
    """What is not there is left out."""
    evidence: dict[str, Any] = cell.evidence
    found: dict[str, object] = {
        "story": story(cell, results),
        "reason": cell.reason,
        "proof": cell.proof,
        "proofs": [
            [name, bool(finding.get("holds")), str(finding.get("seen", ""))]
            for name, finding in (evidence.get("proofs") or {}).items()
        ],
        "repeats": [[repeat.verdict.value, repeat.delay_seconds, repeat.reason] for repeat in cell.repeats],
        "settings": _given(cell.settings.effective),
        "command": command(cell, results),
    }
    if cell.settings.asked != cell.settings.effective:
        found["asked"] = _given(cell.settings.asked)
    if variables := around.variables.get(key(cell)):
        found["variables"] = variables
    if files := around.evidence.get(key(cell)):
        found["files"] = files
    timeline = timelines.get(str(evidence.get("folder")))
    if timeline is not None:
        found["lanes"] = lanes(timeline)
        found["ladder"] = rows(timeline)
        found["ladder_left_out"] = timeline.steps_left_out
    return found


def command(cell: CellResult, results: Results) -> str:
    """Runs just this cell again, with its scenario's controls."""
    parts = ["watcher", "run", "--cells", key(cell)]
    if cell.control is not None:
        parts = ["watcher", "run", "--scenarios", cell.scenario]  # every run brings its controls
    if results.run.control_plane.startswith("kubernetes"):
        parts += ["--control-plane", "kubernetes"]
    if results.run.scale != 1:
        parts += ["--scale", f"{results.run.scale:g}"]
    return shlex.join(parts)


def hint(settings: Settings) -> str:
    """The numbers of a setting in a few characters, for the head of a row."""
    said = []
    if settings.keepalive_idle_seconds is not None:
        numbers = (settings.keepalive_idle_seconds, settings.keepalive_interval_seconds or 0)
        said.append(f"{'/'.join(map(_short, numbers))}/{settings.keepalive_count}")
    elif settings.keepalive:
        said.append("kernel's 2 h")
    if settings.user_timeout_seconds is not None:
        said.append(f"+ {_short(settings.user_timeout_seconds)} s")
    timeouts = (settings.read_timeout_seconds, settings.watch_timeout_seconds, settings.ping_idle_seconds)
    said += [f"{_short(seconds)} s" for seconds in timeouts if seconds is not None]
    return " ".join(said)


def _short(seconds: float) -> str:
    return f"{seconds:.3g}"


def spoken(cell: CellResult) -> str:
    """The verdict for a screen reader, to whom the symbol says nothing."""
    if cell.delay_seconds is None:
        return cell.verdict.value
    return f"{cell.verdict.value}, {seconds_text(cell.delay_seconds)} seconds"


def role(control: Control | None) -> str:
    return {
        Control.PERFECT: "watches beside the network: must be ok",
        Control.DEAF: "is built to miss the change: must be stuck",
        None: "",
    }[control]


def _given(settings: Settings) -> dict[str, object]:
    return settings.model_dump(exclude_defaults=True)
