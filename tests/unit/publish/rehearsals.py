"""Rehearsals' folders made by hand, as ``watcher rehearse`` leaves them: two clusters, one of them missing touches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.publish.runs import HOME, capture
from tests.unit.summary.soaks import config_map, counted, totals
from watcher.failure_object import object_of
from watcher.publish import soak
from watcher.publish.folder import CAPTURES
from watcher.publish.redaction import Redaction
from watcher.report.summary_words import Least
from watcher.summary import exports as saved
from watcher.totals import Failure, Keepalive, Totals, Update

PATHS = {"public": "azure-slb", "private": "azure-private-link"}
NONCES = tuple(f"nonce-{number}" for number in range(7))
RELEASE = "6.18.44-for-buildhost"
USER = "system:serviceaccount:watcher:watcher"
LEAST = Least(hours=1, touches=6)


def a_rehearsal(place: Path, *, record: dict[str, Any] | None = None, missed: int = 2, **soaks: Any) -> Path:
    """``record`` changes its rehearsal.json, ``missed`` says how often the private cluster's default misses.

    ``soaks`` change the totals of both.
    """
    place.mkdir(parents=True)
    (place / "exports").mkdir()
    clusters = {}
    for name, path in PATHS.items():
        failures = missed if name == "private" else 0
        found = one_soak(f"{name}: {path}", failures, **soaks)
        clusters[name] = a_cluster(place, name, found, failures)
    kept = {
        "started_at": "2026-11-21T14:20:00+00:00",
        "control_plane": "kubernetes 1.36.3",
        "scale": 1.0,
        "interval_seconds": 600.0,
        "deadline_seconds": 10.0,
        "paths": PATHS,
        "environment": {"kernel": RELEASE, "cores": 2},
        "clusters": clusters,
    }
    (place / "rehearsal.json").write_text(json.dumps(kept | (record or {}), indent=1))
    return place


def one_soak(cluster: str, missed: int, **changes: Any) -> Totals:
    quiet = Keepalive(by="none", quiet_seconds=599)
    known: dict[str, Any] = {
        "cluster": cluster,
        "interval": "600",
        "running_seconds": 4300.0,
        "updates": {Update.OK: len(NONCES)},
    }
    watchers = (
        counted(observed=len(NONCES) - missed, missed=missed, keepalive=quiet),
        counted(profile="tcp-keepalive", observed=len(NONCES)),
    )
    return totals(*watchers, **(known | changes))


def a_failure(nonce: str) -> Failure:
    return Failure(
        instance="soak",
        node="buildhost-7",
        stack="python-kubernetes",
        profile="default",
        nonce=nonce,
        touched_at=f"2026-11-21T15:0{nonce[-1]}:00+00:00",
        missed_at=f"2026-11-21T15:0{nonce[-1]}:10+00:00",
        deadline_seconds=10,
        reused="silent",
        reason=f"not observed, says {HOME}/checkout/soak.py",
    )


def a_cluster(place: Path, name: str, found: Totals, missed: int) -> dict[str, Any]:
    folder = place / name
    (folder / "control-plane").mkdir(parents=True)
    maps = [
        config_map("totals-soak", {"totals.json": found.model_dump_json()}),
        config_map("trigger", {"nonce": NONCES[-1]}),
        *(object_of(a_failure(nonce)) for nonce in NONCES[:missed]),
    ]
    (folder / "configmaps.json").write_text(json.dumps({"items": maps}))
    (place / "exports" / f"{name}.json").write_text(saved.text_of(saved.load(folder / "configmaps.json", name)))
    (folder / "control-plane" / "audit-1.log").write_text("".join(map(an_update, NONCES)))
    (folder / "soak.log").write_text(
        '{"event":"soak","node":"buildhost-7"}\n' + json.dumps({"event": f"cannot read {HOME}/x/ca.pem"}) + "\n"
    )
    (folder / "path.jsonl").write_text('{"t":1.5,"kind":"path","action":"forgot"}\n' if name == "public" else "")
    for link in CAPTURES:
        (folder / link).write_bytes(capture())
    return {
        "kind": "ended",
        "status": 0,
        "seconds": 4300.0,
        "failures": missed,
        "audit": {"answered": len(NONCES), "others": {}, "nonces": NONCES},
        "disagreements": [],
        "problems": [],
        "measured": "",
        "figures": {},
    }


def an_update(nonce: str, status: int = 200) -> str:
    event = {
        "stage": "ResponseComplete",
        "verb": "patch",
        "user": {"username": USER},
        "objectRef": {"resource": "configmaps", "namespace": "watcher", "name": "trigger"},
        "responseStatus": {"code": status},
        "requestObject": {"data": {"nonce": nonce}},
        "requestReceivedTimestamp": f"2026-11-21T15:0{nonce[-1]}:00.000001Z",
        "sourceIPs": ["10.112.0.1"],
    }
    return json.dumps(event) + "\n"


def change(file: Path, **values: Any) -> None:
    """Keys of a JSON object in a file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def ended(folder: Path, name: str, **values: Any) -> None:
    """What rehearsal.json says of a cluster's end."""
    kept = json.loads((folder / "rehearsal.json").read_text())
    kept["clusters"][name] |= values
    (folder / "rehearsal.json").write_text(json.dumps(kept))


def publish(folder: Path, to: Path, **changes: Any) -> Path:
    said: list[str] = []
    options: dict[str, Any] = {
        "least": LEAST,
        "anyway": False,
        "redaction": Redaction([HOME], host="buildhost-7", user="alice"),
        "say": said.append,
    }
    return soak.publish(folder, to, **(options | changes))
