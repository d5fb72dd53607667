"""Makes ``results/soaks/<date>-<id>/`` from a rehearsal's folder: whole or not at all, and never over one there is."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from watcher.catalog import Catalog
from watcher.errors import FileError, UsageError
from watcher.publish import rehearsed
from watcher.publish.folder import CAPTURES
from watcher.publish.headers import trimmed
from watcher.publish.making import MOST_OCTETS, Say, making, packed, size, whole
from watcher.publish.redaction import Redaction
from watcher.publish.rehearsed import EXPORTS, RESULT, SOAK_LOG, Rehearsal, Rehearsed
from watcher.rehearsal import audit
from watcher.report import summary_html, summary_markdown
from watcher.report.soaks import FOLDER, NOTE, SUMMARY, Note
from watcher.report.summary import Summary, build
from watcher.report.summary_prediction import LabRun
from watcher.report.summary_words import Least
from watcher.summary import exports as saved
from watcher.summary import predictions
from watcher.totals import Export

MOST_OF_A_CAPTURE = 2_000_000
"""Packed. A soak has two of them for each cluster, and of each packet only the headers are left."""
TOUCHES = "touches.json"
PATH_LOG = "path.jsonl"
MEASURED = "measured.json"

_FREE = frozenset({"cluster", "node", "new", "process", "sockets", "packets", "versions", "reason", "problems"})
"""Keys of an export whose text is not a catalog's."""


def publish(
    folder: Path,
    to: Path,
    *,
    least: Least,
    anyway: bool,
    redaction: Redaction,
    say: Say,
    most_octets: int = MOST_OCTETS,
) -> Path:
    """Returns the new folder. ``to`` is that of all results. The rehearsal's own folder is only read.

    Raises UsageError for a rehearsal that is not fit to be published, is published already or would be too large; then
    nothing of it is left in ``to``.
    """
    found = rehearsed.read(folder)
    doubts = rehearsed.doubts(found)
    if not anyway:
        _fit(found, doubts)
    with making(to / FOLDER) as made:
        (made / EXPORTS).mkdir()
        for name, export in found.exports.items():
            text = saved.text_of([cleared(export, redaction)])
            (made / EXPORTS / f"{name}.json").write_text(text, encoding="utf-8")
        place = to / FOLDER / name_of(found.rehearsal, made / EXPORTS)
        if place.exists():
            raise UsageError(f"this soak is published already: {place}", advice="published soaks are never overwritten")
        (made / RESULT).write_text(_record(folder / RESULT, redaction), encoding="utf-8")
        # From what is published, prediction and exports: whoever makes the table again reads the same files.
        summary = table(made, least, predictions.published([to]))
        for name, text in drawn(summary).items():
            (made / name).write_text(text, encoding="utf-8")
        left_out: dict[str, int] = {}
        for name in found.exports:
            say(f"evidence of {name}")
            (made / name).mkdir()
            left_out |= _copy_evidence(found, name, made, redaction)
        note = Note(doubts=tuple(redaction.text(doubt) for doubt in doubts), left_out_octets=left_out)
        (made / NOTE).write_text(note.model_dump_json(indent=1) + "\n", encoding="utf-8")
        say(size(made, most_octets, "publish a shorter soak, or one of fewer clients"))
        return whole(made, place)


def name_of(rehearsal: Rehearsal, exports: Path) -> str:
    """``<date>-<id>``: the day (UTC) the rehearsal began, and the first digits of the hash of its exports."""
    digest = hashlib.sha256()
    for file in sorted(exports.iterdir()):
        digest.update(file.read_bytes())
    return f"{rehearsal.started_at.astimezone(UTC):%Y-%m-%d}-{digest.hexdigest()[:8]}"


def table(place: Path, least: Least, runs: Sequence[LabRun]) -> Summary:
    """What ``watcher summarize`` says of the exports in a published folder, on the day of the newest of them. ``runs``
    are the lab's, newest first."""
    rehearsal = rehearsed.record(place / RESULT)
    exports = [rehearsed.one(place / EXPORTS / f"{name}.json", name)[0] for name in rehearsal.clusters]
    paths = Catalog.load().paths
    return build(
        exports,
        made_at=max(export.exported_at for export in exports),
        paths=paths,
        least=least,
        predicted_paths={name: path for name, path in rehearsal.paths.items() if path in paths},
        predictions=runs,
    )


def drawn(summary: Summary) -> dict[str, str]:
    """File name to content, octet for octet as ``watcher summarize --format`` draws it."""
    return {
        f"{SUMMARY}.md": summary_markdown.render(summary),
        f"{SUMMARY}.html": summary_html.render(summary),
        f"{SUMMARY}.json": summary.model_dump_json(indent=2) + "\n",
    }


def cleared(export: Export, redaction: Redaction) -> Export:
    """Without what names the machine: no number, no time and no name of a client is another afterwards."""
    value = _cleared(export.model_dump(mode="json"), redaction)
    try:
        return Export.model_validate(value | {"cluster": export.cluster})
    except ValidationError as error:  # what stands for a name may be longer than the name
        raise UsageError(f"the export of {export.cluster} cannot be cleared of names: {error}") from error


def _cleared(value: Any, redaction: Redaction) -> Any:
    if isinstance(value, dict):
        return {
            key: redaction.value(each, free=True) if key in _FREE else _cleared(each, redaction)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_cleared(each, redaction) for each in value]
    return redaction.value(value)


def _fit(found: Rehearsed, doubts: Sequence[str]) -> None:
    problems = list(doubts)
    if found.rehearsal.scale != 1:
        problems.append(f"it ran at scale {found.rehearsal.scale:g}, not in true time")
    if problems:
        raise UsageError(
            f"{found.folder} is not fit to be published: {'; '.join(problems)}",
            advice="what is published is trusted and in true time; --anyway publishes it all the same, and says so",
        )


def _record(kept: Path, redaction: Redaction) -> str:
    value = redaction.value(json.loads(kept.read_bytes()))
    value["clusters"] = redaction.value(value["clusters"], free=True)
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _copy_evidence(found: Rehearsed, name: str, made: Path, redaction: Redaction) -> Mapping[str, int]:
    """Returns the captures that were left out, and what each would have taken."""
    source, target = found.folder / name, made / name
    with (
        rehearsed.file(found.folder, f"{name}/{SOAK_LOG}").open("rb") as log,
        (target / f"{SOAK_LOG}.gz").open("wb") as new,
        gzip.GzipFile(filename="", fileobj=new, mode="wb", compresslevel=9, mtime=0) as into,
    ):
        into.writelines(_lines(log, redaction))
    updates = found.updates[name]
    if updates is not None:
        (target / TOUCHES).write_text(_touches(updates), encoding="utf-8")
    for optional in (PATH_LOG, MEASURED):
        if _there(source / optional):
            _copy(source / optional, target / optional, redaction)
    left_out = {}
    for capture in CAPTURES:
        try:
            content = packed(trimmed(rehearsed.file(found.folder, f"{name}/{capture}").read_bytes()))
        except ValueError as error:
            raise FileError(str(source / capture), None, str(error)) from error
        if len(content) > MOST_OF_A_CAPTURE:
            left_out[f"{name}/{capture}"] = len(content)
        else:
            (target / f"{capture}.gz").write_bytes(content)
    return left_out


def _touches(updates: Sequence[audit.Updated]) -> str:
    """One update a line: small, and to be held against the totals with the eye."""
    counted = audit.counted(updates)
    lines = ",\n  ".join(json.dumps(asdict(each)) for each in updates)
    head = json.dumps({"answered": counted.answered, "others": counted.others})[1:-1]
    return f'{{{head},\n "updates": [\n  {lines}\n ]}}\n'


def _lines(log: Iterable[bytes], redaction: Redaction) -> Iterable[bytes]:
    return (redaction.line(line, free=True) for line in log if line.endswith(b"\n"))


def _copy(source: Path, target: Path, redaction: Redaction) -> None:
    """JSON or lines of it, cleared; empty files say nothing and stay behind."""
    content = source.read_bytes()
    try:
        value = json.loads(content)
    except ValueError:
        content = b"".join(_lines(content.splitlines(keepends=True), redaction))
    else:
        content = json.dumps(redaction.value(value, free=True), indent=1, ensure_ascii=False).encode() + b"\n"
    if content:
        target.write_bytes(content)


def _there(file: Path) -> bool:
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise FileError(str(file), None, "not a file")
    return file.exists()
