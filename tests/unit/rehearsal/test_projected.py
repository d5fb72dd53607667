"""A pod's credentials as files: a reader meets one generation whole, whenever it reads."""

from __future__ import annotations

import threading
from pathlib import Path

from watcher.rehearsal.projected import Projected


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    """Otherwise no client finds its API server."""
    projected = Projected(tmp_path / "serviceaccount")
    projected.write({"token": "one", "ca.crt": "authority", "namespace": "watcher"})
    assert {file.name: file.read_text() for file in projected.folder.iterdir() if not file.name.startswith("..")} == {
        "token": "one",
        "ca.crt": "authority",
        "namespace": "watcher",
    }


def test_a_reader_never_meets_half_an_exchange(tmp_path: Path) -> None:
    """Otherwise a rotation is seen as a fault of the client's or of the soak's."""
    projected = Projected(tmp_path)
    texts = [letter * 50_000 for letter in "abcd"]
    projected.write({"token": texts[0]})
    seen: set[str] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                seen.add((tmp_path / "token").read_text())
            except FileNotFoundError:  # opened by a name that was exchanged in between; the kubelet's are no different
                continue

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        projected.write({"token": texts[number % 4]})
    over.set()
    reader.join()
    assert seen <= set(texts)
    assert len(list(tmp_path.glob("..generation-*"))) == 1
