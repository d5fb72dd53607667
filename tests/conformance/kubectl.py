"""kubectl put to a control plane: what a user types first. HTTP/1.1, which the embedded kubectls speaks."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.conformance.client import Api, Json

_NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubectl"}}
_CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "kubectls", "namespace": "kubectl"},
    "data": {"v": "1"},
}
_LOG_LINE = re.compile(r"[IW]\d{4} \d\d:\d\d:\d\d")
_COMMANDS = {
    "create namespace": "create --validate=false -f NAMESPACE",
    "create": "create --validate=false -f CONFIG_MAP",
    "create again": "create --validate=false -f CONFIG_MAP",
    "create by its own generator": "create configmap generated --from-literal=v=1 --namespace=kubectl",
    "get": "get cm --namespace=kubectl --field-selector=metadata.name=kubectls",
    "get as JSON": "get cm kubectls --namespace=kubectl -o jsonpath={.data.v}",
    "patch": 'patch cm kubectls --namespace=kubectl --type=merge -p={"data":{"v":"2"}}',
    "strategic patch": 'patch cm kubectls --namespace=kubectl -p={"data":{"w":"2"}}',
    "get names": "get configmaps --namespace=kubectl --field-selector=metadata.name!=generated -o name",
    "get by field": "get cm --all-namespaces --field-selector=metadata.name=kubectls -o name",
    "delete": "delete cm kubectls --namespace=kubectl",
    "get what is gone": "get cm kubectls --namespace=kubectl",
}


def available() -> bool:
    return shutil.which("kubectl") is not None


async def session(api: Api) -> dict[str, Json]:
    """Each command's exit status and output, ages left out; empty where there is no kubectl.

    (Without its own validation, which wants the OpenAPI document.)
    """
    if not available():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "kubeconfig"
        config.write_text(json.dumps(_configuration(api, Path(folder))))
        files = {"NAMESPACE": Path(folder) / "namespace.json", "CONFIG_MAP": Path(folder) / "config-map.json"}
        files["NAMESPACE"].write_text(json.dumps(_NAMESPACE))
        files["CONFIG_MAP"].write_text(json.dumps(_CONFIG_MAP))
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "KUBECONFIG": str(config), "DISABLE_HTTP2": "1"}
        found = {}
        for what, command in _COMMANDS.items():
            arguments = [str(files.get(word, word)) for word in command.split(" ")]
            found[what] = await _run(arguments, environment)
        return found


async def _run(arguments: list[str], environment: dict[str, str]) -> list[Json]:
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(40):
        output, _ = await process.communicate()
    lines = [line for line in output.decode().splitlines() if not _LOG_LINE.match(line)]
    text = re.sub(r"\b\d+s\b", "(age)", "\n".join(lines))
    text = re.sub(r"/\S*/", "", text)  # the folder of its files
    text = re.sub(r"(deleted) from \S+ namespace", r"\1", text)  # which later ones say
    return [process.returncode, re.sub(r" +", " ", text).strip()]


def _configuration(api: Api, folder: Path) -> Json:
    authority = folder / "ca.pem"
    authority.write_text(api.address.ca_pem)
    server = f"https://{api.address.host}:{api.address.port}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": "lab", "user": {"token": api.address.token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    }
