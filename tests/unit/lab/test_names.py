"""The name of a server without a virtual address: what a client's library reads, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.lab.addresses import HEADLESS_NAME
from watcher.lab.names import Names


def read(file: Path) -> dict[str, str]:
    entries = [line.split() for line in file.read_text().splitlines()]
    return {name: address for address, name in entries}


@pytest.mark.parametrize("address", ["10.113.0.6", "1.1.1.1", "255.255.255.255"])
def test_the_name_stands_for_one_address_and_then_for_another(address: str, tmp_path: Path) -> None:
    """A client that comes again finds the pod that is gone, or a file that it cannot read."""
    names = Names(tmp_path / "hosts", "10.113.0.6")
    assert read(names.file) == {"localhost": "127.0.0.1", HEADLESS_NAME: "10.113.0.6"}
    names.lead_to(address)
    assert names.address == address
    assert read(names.file) == {"localhost": "127.0.0.1", HEADLESS_NAME: address}
    names.lead_to("10.112.0.1")
    assert read(names.file)[HEADLESS_NAME] == "10.112.0.1"


def test_the_file_stays_the_one_that_is_mounted(tmp_path: Path) -> None:
    """The client would read the old one for ever; or half of the new one, if it grew or shrank meanwhile."""
    names = Names(tmp_path / "hosts", "10.113.0.6")
    before = names.file.stat()
    names.lead_to("255.255.255.255")
    after = names.file.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
