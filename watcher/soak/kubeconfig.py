"""A kubeconfig in the plain words that a soak needs, on standard output: ``python -m watcher.soak.kubeconfig``.

The official client's loader understands every kind of kubeconfig: several files, contexts, exec plugins, refreshed
tokens. It also takes 60 MB, which a process for weeks need not carry; so it runs here and ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def plain(files: str) -> dict[str, Any]:
    """Server, authority (PEM), token, client certificate (PEM), namespace, whether the token comes from a plugin."""
    from kubernetes.client import Configuration
    from kubernetes.config import kube_config

    loader: Any = kube_config  # it carries no types
    configuration = Configuration()
    loader.load_kube_config(config_file=files, client_configuration=configuration, persist_config=False)
    _, active = loader.list_kube_config_contexts(config_file=files)
    merged = loader.KubeConfigMerger(files).config
    user_name = active["context"].get("user")
    user = next((each["user"] for each in merged["users"] or [] if each["name"] == user_name), None)
    described = user.value if user is not None else {}
    key = (configuration.api_key or {}).get("authorization") or (configuration.api_key or {}).get("BearerToken") or ""
    return {
        "server": configuration.host,
        "server_name": getattr(configuration, "tls_server_name", None),
        "authority": _text(configuration.ssl_ca_cert),
        "verify": configuration.verify_ssl,
        "token": key.removeprefix("Bearer ").strip(),
        "certificate": _text(configuration.cert_file),
        "key": _text(configuration.key_file),
        "namespace": active["context"].get("namespace"),
        "changes": "exec" in described or "auth-provider" in described or "tokenFile" in described,
    }


def _text(file: str | None) -> str | None:
    return Path(file).read_text() if file else None


def main() -> None:
    try:
        found = plain(sys.argv[1])
    except Exception as error:  # whatever the loader and its plugins raise: the parent says it to the user
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
