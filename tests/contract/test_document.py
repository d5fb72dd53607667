"""The program that ends ``clients/CONTRACT.md`` is one that a reader can start from: it runs as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.contract.running import SETTINGS, Cluster, running
from watcher.catalog import Catalog

# The library of the document: one event, then silence; with the profile `retry` it fails once instead.
LIBRARY = """
import os, time, types
class WatchError(Exception): pass
calls = []
def watch(kind, namespace, *, name):
    assert (kind, namespace, name) == ("configmaps", "contract", "trigger")
    calls.append(kind)
    if len(calls) == 1 and os.environ["WATCHER_PROFILE"] == "retry":
        raise WatchError("lost")
    data = types.SimpleNamespace(data={"nonce": "n"}, resource_version="7")
    yield types.SimpleNamespace(type="BOOKMARK", object={})
    yield types.SimpleNamespace(type="ADDED", object=data)
    time.sleep(60)
"""


@pytest.mark.parametrize("profile", ["default", "retry", "bookmarks"])
async def test_the_example_is_whole(profile: str, tmp_path: Path) -> None:
    """Whoever starts from it and adds a library must not begin with somebody else's mistake."""
    clients = next(iter(Catalog.load().stacks.values())).folder.parent
    (program,) = re.findall(r"```python\n(.*?)```", (clients / "CONTRACT.md").read_text(), flags=re.DOTALL)
    (tmp_path / "watch.py").write_text(program)
    (tmp_path / "example.py").write_text(LIBRARY)
    installed = tmp_path / "example-1.2.3.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.2.3\n")
    arguments = [sys.executable, str(tmp_path / "watch.py")]
    async with Cluster.start() as cluster:
        kubeconfig = cluster.kubeconfig(tmp_path)
        async with running(arguments, tmp_path / "cell", kubeconfig, profile, SETTINGS[profile]) as it:
            if profile == "bookmarks":
                assert await it.ends() == 127
                assert it.records == []
                return
            await it.observes("n")
            assert [record.event for record in it.records if record.event != "watching"] == (
                ["started", "observed"] if profile == "default" else ["started", "error", "observed"]
            )
            assert it.records[0].version == "1.2.3"
            assert it.violations == []
        assert it.status == 0


def test_the_worked_example_is_one_that_the_catalog_takes(tmp_path: Path) -> None:
    """A newcomer who follows docs/stacks.md must not stumble over a manifest that has become wrong since."""
    shipped = next(iter(Catalog.load().stacks.values())).folder.parent
    text = (shipped.parent / "docs" / "stacks.md").read_text()
    files = dict(re.findall(r"^`([a-z.]+)`\n\n```\w+\n(.*?)```", text, flags=re.DOTALL | re.MULTILINE))
    assert sorted(files) == ["client.toml", "requirements.in", "watch.py"]
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    found = Catalog.load([tmp_path]).stacks["python-requests"].stack
    assert files["requirements.in"] == f"{found.library}=={found.version}\n"
    compile(files["watch.py"], "watch.py", "exec")
    for pattern in re.findall(r"`clients/([a-z*-]+)`", text):
        assert list(shipped.glob(f"{pattern}/client.toml")), pattern
