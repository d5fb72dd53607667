"""Makes ``results/<date>-<id>/`` from a run's folder: whole or not at all, and never over one that is there."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from watcher import journal
from watcher.errors import FileError, UsageError
from watcher.judge.proving import HAPPENED
from watcher.judge.results import results_of
from watcher.model import CellResult, Control, Results, Verdict
from watcher.publish.headers import trimmed
from watcher.publish.making import MOST_OCTETS, Say, making, packed, size, whole
from watcher.publish.redaction import Redaction
from watcher.records import RECORD
from watcher.report import cell as cell_in_words
from watcher.report import files
from watcher.report.index import ENVIRONMENT

MOST_OF_A_LOG = 65_536
EVIDENCE = "evidence"
CAPTURES = ("client-link.pcap", "server-link.pcap")
PROGRAM = "program.jsonl"
ERRORS = "stderr.log"

_NO_FOLDER = frozenset({Verdict.UNSUPPORTED, Verdict.NOT_BUILT, Verdict.NOT_RUN})


def publish(
    run: Path, to: Path, *, anyway: bool, redaction: Redaction, say: Say, most_octets: int = MOST_OCTETS
) -> Path:
    """Returns the new folder. The run's own folder is only read.

    Raises UsageError for a run that is not fit to be published, is published already or would be too large; then
    nothing of it is left in ``to``.
    """
    if not run.is_dir():
        raise UsageError(f"{run} is no folder", advice="give the folder that `watcher run` wrote (its --output)")
    kept = journal.find(run)
    with making(to) as made:
        say(f"copying {kept.name}")
        _copy_journal(kept, made, redaction)
        say("judging it again")
        results = results_of(journal.read(made))
        if not anyway:
            _fit(results)
        texts = files.derived(results)
        for name, content in texts.items():
            (made / name).write_text(content, encoding="utf-8")
        (made / ENVIRONMENT).write_text(_environment(made), encoding="utf-8")
        place = to / name_of(results, texts[files.RESULTS])
        if place.exists():
            raise UsageError(f"this run is published already: {place}", advice="published runs are never overwritten")
        cells = list(worth_evidence(results))
        for number, cell in enumerate(cells, 1):
            say(f"evidence {number}/{len(cells)}: {cell.stack}/{cell.profile}/{cell.scenario}")
            place_of_cell = _copy_evidence(cell, run, made, redaction)
            words = cell_in_words.text(cell, results.run)
            (place_of_cell / cell_in_words.FILE).write_text(words, encoding="utf-8")
        say(size(made, most_octets, "publish a run of fewer cells"))
        return whole(made, place)


def name_of(results: Results, content: str) -> str:
    """``<date>-<id>``: the day (UTC) the run began, and the first digits of the hash of its results."""
    try:
        began = datetime.fromisoformat(results.run.started_at).astimezone(UTC)
    except ValueError as error:
        raise UsageError(f"the journal does not say when its run began: {results.run.started_at!r}") from error
    return f"{began:%Y-%m-%d}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def worth_evidence(results: Results) -> Iterator[CellResult]:
    """Every cell that is not ok, and every control that is not what it must be or that its fault did not reach."""
    yield from (cell for cell in results.cells if cell.verdict is not Verdict.OK and cell.verdict not in _NO_FOLDER)
    for cell in results.controls:
        wanted = Verdict.OK if cell.control is Control.PERFECT else Verdict.STUCK
        unreached = cell.control is Control.DEAF and cell.proof != HAPPENED
        if (cell.verdict is not wanted or unreached) and cell.verdict not in _NO_FOLDER:
            yield cell


def _fit(results: Results) -> None:
    problems = list(results.run.distrust)
    if results.run.scale != 1:
        problems.append(f"it ran at scale {results.run.scale:g}, not in true time")
    if problems:
        raise UsageError(
            f"run {results.run.id} is not fit to be published: {'; '.join(problems)}",
            advice="what is published is trusted and in true time; --anyway publishes it all the same, and says so",
        )


def _copy_journal(kept: Path, folder: Path, redaction: Redaction) -> None:
    with (
        gzip.open(kept, "rb") if kept.suffix == ".gz" else kept.open("rb") as source,
        (folder / f"{journal.NAME}.gz").open("wb") as target,
        gzip.GzipFile(filename="", fileobj=target, mode="wb", compresslevel=9, mtime=0) as packed,
    ):
        for line in source:
            if line.endswith(b"\n"):  # a last line that a crash cut short says nothing
                packed.write(redaction.line(line))


def _environment(folder: Path) -> str:
    """As the run's own, but from the journal that is published."""
    started = journal.started(journal.read(folder))
    assert started is not None
    return RECORD.dump_json(started, indent=1).decode() + "\n"


def _copy_evidence(cell: CellResult, run: Path, folder: Path, redaction: Redaction) -> Path:
    """That of the repeat which stands for the cell; returns its place in ``folder``.

    Of an invalid cell, whose lab may have failed, there may be less.
    """
    name = f"{cell.stack}/{cell.profile}/{cell.scenario}"
    kept = PurePosixPath(str(cell.evidence.get("folder") or f"cells/{name}"))
    if kept.is_absolute() or ".." in kept.parts or kept.parts[:1] != ("cells",) or len(kept.parts) < 4:
        raise FileError(journal.NAME, name, f"evidence lies outside the run's folder: {kept}")
    source, target = run / kept, folder / EVIDENCE / kept.relative_to("cells")
    if not source.resolve().is_relative_to(run.resolve()):  # a client program may have left a link
        raise FileError(str(source), name, "evidence lies outside the run's folder")
    target.mkdir(parents=True)
    for capture in CAPTURES:
        if _there(source / capture, cell):
            try:
                content = trimmed((source / capture).read_bytes())
            except ValueError as error:
                raise FileError(str(source / capture), None, str(error)) from error
            (target / f"{capture}.gz").write_bytes(packed(content))
    if _there(source / PROGRAM, cell):
        lines = (source / PROGRAM).read_bytes().splitlines(keepends=True)
        content = b"".join(redaction.line(line, free=True) for line in _ends(lines))
        (target / PROGRAM).write_bytes(content)
    if _there(source / ERRORS, cell):
        (target / ERRORS).write_text(redaction.text(_tail(source / ERRORS)), encoding="utf-8")
    return target


def _there(file: Path, cell: CellResult) -> bool:
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise FileError(str(file), None, "not a file")
    if file.exists():
        return True
    if cell.verdict is Verdict.INVALID or cell.control is not None:  # the perfect control is on no path
        return False
    raise FileError(str(file), None, "evidence is missing", advice="a run is published from its whole folder")


def _ends(lines: list[bytes]) -> Iterator[bytes]:
    """All lines, or the first and the last of them with a line in between that counts those left out."""
    if sum(map(len, lines)) <= MOST_OF_A_LOG:
        yield from lines
        return
    half = MOST_OF_A_LOG // 2
    first, last = _as_many(lines, half), _as_many(lines[::-1], half)
    yield from lines[:first]
    yield b'{"left_out_lines":%d}\n' % (len(lines) - first - last)
    yield from lines[len(lines) - last :]


def _as_many(lines: list[bytes], octets: int) -> int:
    count = 0
    for line in lines:
        octets -= len(line)
        if octets < 0:
            break
        count += 1
    return count


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - MOST_OF_A_LOG))
        text = file.read().decode(errors="replace")
    if size <= MOST_OF_A_LOG:
        return text
    # From the next line on: a path that is cut in two would not be known for one.
    whole_lines = text.partition("\n")[2]
    return f"[the first {size - MOST_OF_A_LOG} octets are left out]\n{whole_lines}"
