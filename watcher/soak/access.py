"""Where the API server is and as whom we ask: a pod's service account, or a kubeconfig. Rotated tokens are taken up.

Client programs find the same by the contract: in a pod their library's own way, else a kubeconfig written as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from watcher.api import ApiServer
from watcher.errors import UsageError

POD_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_POD_VARIABLES = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
LOAD_SECONDS = 60.0
CHANGING_SECONDS = 300.0
"""A token that comes from a plugin or a file is asked for again after this."""
LEAST_SECONDS = 5.0
"""Between two times that a kubeconfig is read, however often the API server says 401."""


class Access(Protocol):
    """Threads may call everything; ``credentials`` may block on files and plugins. Errors are OSError: unanswered."""

    namespace: str

    def credentials(self) -> ApiServer: ...
    def refused(self) -> None:
        """The API server said 401: what is remembered is not good any more."""

    def environment(self) -> dict[str, str]:
        """What a client program needs to find the API server."""


class InCluster:
    """The pod's own service account. Its token is read anew for every request, since the kubelet rotates it."""

    def __init__(self, environment: Mapping[str, str], folder: Path = POD_FOLDER) -> None:
        missing = [name for name in _POD_VARIABLES if not environment.get(name)]
        if missing or not (folder / "token").exists():
            raise UsageError(
                "this is no pod with a service account, and KUBECONFIG is not set",
                advice="in a pod: automountServiceAccountToken: true; elsewhere: KUBECONFIG=$HOME/.kube/config",
            )
        self._folder = folder
        self._host, port = (environment[name] for name in _POD_VARIABLES)
        self._port = int(port)
        try:
            self.namespace = (folder / "namespace").read_text().strip()
        except OSError:
            self.namespace = "default"

    def credentials(self) -> ApiServer:
        token = (self._folder / "token").read_text().strip()
        return ApiServer(self._host, self._port, (self._folder / "ca.crt").read_text(), token)

    def refused(self) -> None:
        """Nothing is remembered."""

    def environment(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": self._host, "KUBERNETES_SERVICE_PORT": str(self._port)}


class Kubeconfig:
    """A user's kubeconfig; ``files`` as in ``KUBECONFIG``. ``folder`` is private to this process and takes a copy in
    the plain form that the contract promises to client programs."""

    def __init__(
        self,
        files: str,
        folder: Path,
        *,
        now: Callable[[], float] = time.monotonic,
        load: Callable[[str], dict[str, Any]] | None = None,
    ) -> None:
        self._files = files
        self._folder = folder
        self._now = now
        self._load = load or _in_a_child
        self._lock = threading.Lock()
        self._loaded_at = float("-inf")
        self._stamp: tuple[int, ...] = ()
        self._changes = False
        self._refused = False
        self._api: ApiServer | None = None
        self.namespace = "default"
        self._refresh()

    def credentials(self) -> ApiServer:
        with self._lock:
            age = self._now() - self._loaded_at
            old = self._refused or (self._changes and age > CHANGING_SECONDS) or self._stamp != self._stamps()
            if old and age > LEAST_SECONDS:
                try:
                    self._refresh()
                except UsageError as error:
                    self._loaded_at = self._now()
                    raise ConnectionError(str(error.message)) from error
            assert self._api is not None
            return self._api

    def refused(self) -> None:
        self._refused = True

    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self._folder / "kubeconfig")}

    def _refresh(self) -> None:
        stamp = self._stamps()
        found = self._load(self._files)
        server = urlsplit(str(found["server"]))
        if server.scheme != "https" or not found["authority"] or not found["verify"]:
            raise UsageError(
                f"the kubeconfig names a server that cannot be verified: {found['server']}",
                advice="it needs https and a certificate authority; insecure-skip-tls-verify is not supported",
            )
        self.namespace = found.get("namespace") or "default"
        token = str(found.get("token") or "")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        certificate = self._write_certificate(found)
        self._write("ca.pem", str(found["authority"]))
        self._write("token", token)
        port = server.port or 443
        self._api = ApiServer(
            host=str(server.hostname),
            port=port,
            ca_pem=str(found["authority"]),
            token=token,
            client_certificate=certificate,
            server_name=found.get("server_name"),
        )
        self._write("kubeconfig", json.dumps(self._plain(str(found["server"]), token, certificate, found)))
        self._stamp, self._loaded_at, self._refused = stamp, self._now(), False
        self._changes = bool(found.get("changes"))

    def _plain(
        self, server: str, token: str, certificate: tuple[str, str] | None, found: Mapping[str, Any]
    ) -> dict[str, Any]:
        """As the contract words it; certificates are an addition, for those who read more than it promises."""
        cluster = {"server": server, "certificate-authority": str(self._folder / "ca.pem")}
        if found.get("server_name"):
            cluster["tls-server-name"] = str(found["server_name"])
        user: dict[str, str] = {"tokenFile": str(self._folder / "token")} if token else {}
        if certificate is not None:
            user |= {"client-certificate": certificate[0], "client-key": certificate[1]}
        context = {"cluster": "soak", "user": "soak", "namespace": self.namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "soak",
            "contexts": [{"name": "soak", "context": context}],
            "clusters": [{"name": "soak", "cluster": cluster}],
            "users": [{"name": "soak", "user": user}],
        }

    def _write_certificate(self, found: Mapping[str, Any]) -> tuple[str, str] | None:
        if not (found.get("certificate") and found.get("key")):
            return None
        return self._write("client.pem", str(found["certificate"])), self._write("client.key", str(found["key"]))

    def _write(self, name: str, content: str) -> str:
        """Nobody else may read it, and nobody reads half of it."""
        path = self._folder / name
        new = path.with_name(f".{name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        new.replace(path)
        return str(path)

    def _stamps(self) -> tuple[int, ...]:
        stamps = []
        for file in self._files.split(os.pathsep):
            try:
                stamps.append(Path(file).stat().st_mtime_ns)
            except OSError:
                stamps.append(0)
        return tuple(stamps)


def _in_a_child(files: str) -> dict[str, Any]:
    """Raises UsageError with the loader's own words."""
    missing = [file for file in files.split(os.pathsep) if file and not Path(file).exists()]
    if missing and len(missing) == len([file for file in files.split(os.pathsep) if file]):
        raise UsageError(f"KUBECONFIG names no file: {files}", advice="KUBECONFIG=$HOME/.kube/config watcher soak")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "watcher.soak.kubeconfig", files],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LOAD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"the kubeconfig {files} could not be read: {error}") from error
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["no reason given"]
        raise UsageError(
            f"the kubeconfig {files} cannot be used: {words[-1][:500]}",
            advice="`kubectl config view --minify` shows what it says; kubectl must work with it",
        )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
