"""Images for tests: where they are kept, how one is run as a restricted pod runs it, and what podman says of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

BASE_IMAGE = "localhost/watcher-test-base:bookworm"
IMAGE = "localhost/watcher-test:current"
BUILD_SECONDS = 1500
# What the manifests say, in podman's words.
RESTRICTED = (
    "--runtime=runc",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=4096:4096",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)


def run(
    *command: str, check: bool = True, seconds: float = 60, variables: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """With all that it started, it is ended when the time is over: what builds an image has a family."""
    environment = {**os.environ, **variables}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            said, errors = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
    done = subprocess.CompletedProcess(command, process.returncode, said, errors)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def inside(storage: str, *arguments: str, options: Iterable[str] = (), check: bool = True) -> Any:
    """A container without a network, unless the options give it one."""
    command = ("podman", "run", "--rm", "--network=none", *RESTRICTED, *options, IMAGE, *arguments)
    return run(*command, check=check, variables={"CONTAINERS_STORAGE_CONF": storage})


def python(storage: str, code: str, *options: str) -> str:
    entry = ("--entrypoint=/opt/watcher/bin/python", *options)
    return str(inside(storage, "-c", code, options=entry).stdout)


def about(storage: str, *question: str) -> str:
    return run("podman", *question, variables={"CONTAINERS_STORAGE_CONF": storage}).stdout
