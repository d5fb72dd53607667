"""Runs' folders made by hand around a recorded journal, as ``watcher run`` leaves them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dpkt

from watcher.judge.results import results_of
from watcher.model import Results, Verdict
from watcher.publish import folder
from watcher.publish.redaction import Redaction
from watcher.records import RECORD

RECORDED = Path(__file__).parents[2] / "recorded" / "scale-12-urllib3" / "journal.jsonl.gz"
SECRET = b"what TLS carries"
HOME = Path("/home/alice cooper")
TRACEBACK = f"""Traceback (most recent call last):
  File "{HOME}/checkout/clients/python-urllib3/watch.py", line 9, in <module>
  File "/home/bob/.cache/watcher/environments/x/lib/python3.11/site-packages/urllib3/response.py", line 1284, in f
OSError: [Errno 5] on buildhost-7
"""

Change = Callable[[dict[str, Any]], dict[str, Any]]


def unchanged(record: dict[str, Any]) -> dict[str, Any]:
    return record


def in_true_time(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "scale": 1.0} if record["kind"] == "run" else record


def lines(change: Change = in_true_time) -> list[str]:
    """The recorded journal, record by record through ``change``."""
    recorded = gzip.decompress(RECORDED.read_bytes()).decode().splitlines()
    return [json.dumps(change(json.loads(line)), separators=(",", ":")) for line in recorded]


def capture(packets: int = 3) -> bytes:
    """A pcap file as the lab writes it: TCP with payload."""
    tcp = dpkt.tcp.TCP(sport=40_000, dport=443, seq=7, flags=dpkt.tcp.TH_ACK, data=SECRET * 50)
    tcp.opts = b"\x01\x01\x08\x0a" + bytes(8)
    tcp.off = 8
    ip = dpkt.ip.IP(src=b"\x0a\x00\x00\x01", dst=b"\x0a\x60\x00\x01", p=dpkt.ip.IP_PROTO_TCP, data=tcp)
    ip.len = len(ip)
    frame = bytes(dpkt.ethernet.Ethernet(data=ip))
    return pcap([frame] * packets)


def pcap(frames: Iterable[bytes]) -> bytes:
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file, nano=True)
    for number, frame in enumerate(frames):
        writer.writepkt_time(frame, 1_700_000_000.125 + number)
    return file.getvalue()


def a_run_folder(place: Path, journal: Iterable[str] | None = None) -> Path:
    """With evidence for every cell of the journal that closed."""
    place.mkdir(parents=True)
    kept = list(journal if journal is not None else lines())
    (place / "journal.jsonl").write_text("".join(f"{line}\n" for line in kept))
    for line in kept:
        record = json.loads(line)
        if record["kind"] != "closed" or ".." in record["folder"]:
            continue
        cell = place / record["folder"]
        cell.mkdir(parents=True)
        for name in folder.CAPTURES:
            (cell / name).write_bytes(capture())
        (cell / folder.PROGRAM).write_text(
            '{"event": "watching"}\n' + json.dumps({"event": "error", "message": f"no {HOME}/x/ca.pem"}) + "\n"
        )
        (cell / folder.ERRORS).write_text(TRACEBACK)
    return place


def judged(journal: Iterable[str]) -> Results:
    return results_of(RECORD.validate_json(line) for line in journal)


def publish(run: Path, to: Path, **changes: Any) -> Path:
    said: list[str] = []
    options: dict[str, Any] = {
        "anyway": False,
        "redaction": Redaction([HOME], host="buildhost-7", user="alice"),
        "say": said.append,
    }
    return folder.publish(run, to, **(options | changes))


def contents(place: Path) -> dict[str, bytes]:
    """Every file, unpacked, by its path."""
    return {
        str(file.relative_to(place)): gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for file in sorted(place.rglob("*"))
        if file.is_file()
    }


def not_ok(results: Results) -> set[str]:
    return {f"{cell.stack}/{cell.profile}/{cell.scenario}" for cell in results.cells if cell.verdict is not Verdict.OK}
