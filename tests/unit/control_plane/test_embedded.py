"""The process: its command line, its lines on standard output, its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from watcher.lab.control_plane.certificates import Authority
from watcher.lab.control_plane.embedded import TOKEN_VARIABLE, parser

TOKEN = "sesame"  # noqa: S105 - of servers that live for one test
DEADLINE_SECONDS = 60


@dataclass
class Files:
    authority: str
    certificate: Path
    key: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = Authority.make()
    made = Files(authority.ca_pem, tmp_path / "serving.crt", tmp_path / "serving.key")
    authority.issue(["127.0.0.1", "kubernetes.default"], made.certificate, made.key)
    return made


def command(files: Files, *more: str) -> list[str]:
    fixed = ["--listen=127.0.0.1:0,keepalive=off", f"--certificate={files.certificate}", f"--key={files.key}"]
    return [sys.executable, "-m", "watcher.lab.control_plane.embedded", *fixed, *more]


@asynccontextmanager
async def running(files: Files, *more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command(files, *more),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {TOKEN_VARIABLE: TOKEN},
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> dict[str, object]:
    assert process.stdout is not None
    read: dict[str, object] = json.loads(await process.stdout.readline())
    return read


def only_address(ready: dict[str, object]) -> str:
    addresses = ready["listen"]
    assert isinstance(addresses, list)
    assert len(addresses) == 1
    return str(addresses[0])


async def test_ready_then_served_then_ended_cleanly(files: Files) -> None:
    """The lab waits for this line, connects at once, and stops it with SIGTERM between runs."""
    async with running(files) as process:
        ready = await line(process)
        assert ready["event"] == "ready"
        assert "embedded" in str(ready["version"])
        address = only_address(ready)
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=files.authority))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(f"https://{address}", connector=connector, headers=headers) as session:
            async with session.get("/api/v1/pods") as response:
                assert response.status == 501
            unserved = await line(process)
            assert (unserved["event"], unserved["what"]) == ("unserved", "GET /api/v1/pods")
            async with session.get("/api/v1/configmaps?watch=1") as watch:
                process.send_signal(signal.SIGTERM)
                assert await watch.read() == b""  # the last chunk came, or this would raise
        assert (await line(process))["reason"] == "shutdown"
        assert await process.wait() == 0


async def test_told_to_ignore_sigterm_it_serves_on(files: Files) -> None:
    """Clients that poll a force-deleted pod would see it say goodbye. The mutant is the test above."""
    async with running(files, "--ignore-sigterm") as process:
        address = only_address(await line(process))
        process.send_signal(signal.SIGTERM)
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=files.authority))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(f"https://{address}", connector=connector, headers=headers) as session:
            for _ in range(3):
                async with session.get("/api/v1/configmaps") as response:
                    assert response.status == 200
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def test_it_ends_with_its_standard_input(files: Files) -> None:
    """A harness that is killed takes it along: nothing may be left behind."""
    async with running(files, "--exit-with-stdin") as process:
        await line(process)
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 0


async def test_without_the_flag_standard_input_does_not_matter(files: Files) -> None:
    """The other side of the check above: it must not end by itself in the middle of a run."""
    async with running(files) as process:
        await line(process)
        assert process.stdin is not None
        process.stdin.close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.5)


async def test_a_token_file_goes_before_the_environment(files: Files, tmp_path: Path) -> None:
    """The token is a secret: a file or the environment, never the command line that everybody can read."""
    (tmp_path / "token").write_text("from-file\n")
    async with running(files, f"--token-file={tmp_path / 'token'}") as process:
        address = only_address(await line(process))
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=files.authority))
        async with aiohttp.ClientSession(f"https://{address}", connector=connector) as session:
            for token, status in (("from-file", 200), (TOKEN, 401)):
                async with session.get("/api/v1", headers={"Authorization": f"Bearer {token}"}) as response:
                    assert response.status == status
    assert not [option for option in parser().format_help().split() if option == "--token"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--token-file=/nowhere/token"], "token file"),
        (["--listen=nonsense"], "no listener"),
        (["--bookmark-interval=0"], "positive"),
        (["--watch-timeout=60-30"], "first must not be more"),
        (["--history=0"], "at least 1"),
    ],
)
async def test_wrong_arguments_end_with_2_and_say_why(files: Files, more: list[str], said: str) -> None:
    """Whoever starts it by hand must see what is wrong, not a traceback."""
    async with running(files, *more) as process:
        output, errors = await process.communicate()
    assert process.returncode == 2
    assert said in errors.decode()
    assert "Traceback" not in errors.decode()
    assert output == b""


def test_the_key_is_its_owners_alone(files: Files) -> None:
    """Other users of the machine must not be able to pose as the control plane."""
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
