"""Which namespace a context of the kubeconfig names. Loads the official client package: for commands that end.

Not ``list_kube_config_contexts``: it wants a current context, which nobody needs who names one, and which a kubeconfig
that was put together for several clusters often lacks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes.config import ConfigException, kube_config
from yaml import YAMLError

UNUSABLE = (ConfigException, YAMLError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""What the package raises for a kubeconfig that is none; it believes what it reads."""


def location(file: Path | None) -> str:
    """Where the package looks: the file, else KUBECONFIG, else the user's own."""
    return str(kube_config.KUBE_CONFIG_DEFAULT_LOCATION if file is None else file)


def namespace_of(context: str | None, file: Path | None) -> str:
    """That of the context; without one, of the current context. Raises one of ``UNUSABLE``."""
    # The package carries types for some of its functions only.
    read_files: Any = kube_config.KubeConfigMerger
    found = read_files(location(file)).config
    content = found.value if found is not None else {}
    wanted = context or content.get("current-context")
    if not content:
        raise ConfigException(f"there is none at {location(file)}")
    if not wanted:
        raise ConfigException("it has no current context; --context NAME names one")
    contexts = content.get("contexts") or []
    chosen = next((each.value for each in contexts if each.value.get("name") == wanted), None)
    if chosen is None:
        raise ConfigException(f"there is no context {wanted!r}")
    return str(chosen["context"].get("namespace") or "default")
