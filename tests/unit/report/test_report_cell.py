"""A cell in words, beside its packets."""

from __future__ import annotations

from pathlib import Path

from watcher import journal
from watcher.judge.results import results_of
from watcher.model import Results
from watcher.report import cell, files

RECORDED = Path(__file__).parents[2] / "recorded" / "scale-12-urllib3"


def recorded() -> Results:
    return results_of(journal.read(RECORDED))


def test_the_folder_alone_can_convince() -> None:
    """Without ports, times and proofs nobody finds the two packets that matter."""
    texts = files.beside_cells(recorded())
    text = texts[f"cells/python-urllib3/default/azure-slb-silent/{cell.FILE}"]
    results = recorded()
    found = results.by_key()["python-urllib3", "default", "azure-slb-silent"]
    assert text.startswith("python-urllib3 / default / azure-slb-silent: stuck\n")
    assert "event-not-forwarded: holds: the server's event" in text
    assert f"tcpdump -nr client-link.pcap port {found.evidence['watch_port']}" in text
    assert "the probe: the lab's own fresh connection" in text
    assert "times 12 they are true ones" in text
    assert len(texts) == len(results.cells) + len(results.controls) - sum(
        "folder" not in each.evidence for each in results.cells
    )


def test_what_a_program_said_is_harmless_to_a_terminal() -> None:
    """An error text with escape sequences must not rewrite the screen of whoever reads the evidence."""
    results = recorded()
    found = results.by_key()["python-urllib3", "default", "azure-slb-silent"]
    hostile = found.model_copy(update={"reason": "\x1b[2Jgone\nfaked: ok"})
    text = cell.text(hostile, results.run)
    assert "\x1b" not in text
    assert "\nfaked: ok" not in text


def test_a_cell_that_never_settled_has_no_times() -> None:
    """A program that never watched leaves no L0 to count from; its folder still says why."""
    results = recorded()
    found = results.by_key()["python-urllib3", "default", "azure-slb-silent"]
    bare = found.model_copy(update={"evidence": {"folder": "x"}, "proof": "unproven"})
    assert cell.text(bare, results.run).endswith("Proof: unproven\n")


def test_a_detection_that_no_packet_shows_is_told_as_what_it_is() -> None:
    """The cell says when the client was connected again, and not that it knew by then."""
    results = recorded()
    found = results.by_key()["python-urllib3", "default", "azure-slb-silent"]
    moments = {"detected": None, "detected_at_latest": 46.1, "reconnected": 46.2, "observed": None, "died": None}
    words = "the client knew at the latest by now"
    told = cell.text(found.model_copy(update={"evidence": {**found.evidence, "recovery": moments}}), results.run)
    [line] = [line for line in told.splitlines() if words in line]
    assert "46.1" in line
    assert "neither FIN nor RST of the old one had left it" in line
    assert words not in cell.text(found, results.run)
