"""A miss as the ConfigMap ``failure-<ts>``: its name, its labels, its keys. Lab and soak write the same object. Pure.

Readers are people with ``kubectl`` and ``watcher summarize``; so every value is a string, and keys are camelCase as in
any other object of Kubernetes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic.alias_generators import to_camel

from watcher.totals import Failure

PREFIX = "failure-"
KIND_LABEL = "watcher/kind"
INSTANCE_LABEL = "watcher/instance"
KIND = "failure"
UNDATED = "undated"

_NAMED = {to_camel(name): name for name in Failure.model_fields}
_LABEL = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_STAMP = re.compile(r"failure-(\d{8}t\d{6})-")


def name_of(failure: Failure, attempt: int = 1) -> str:
    """The same for the same miss, whoever computes it and whenever; different for any other. A DNS label, 42 at most.

    Sorts by the time of the touch. ``attempt`` leads around a name that turns out to be somebody else's.
    """
    what = [failure.instance, failure.stack, failure.profile, failure.nonce, *([attempt] if attempt > 1 else [])]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    return f"{PREFIX}{_compact(failure.touched_at) or _compact(failure.missed_at) or UNDATED}-{digest}"


def touched_at_of(name: str) -> datetime | None:
    """When the touch was that a failure of this name tells of; None where the name does not say."""
    found = _STAMP.match(name)
    try:
        return None if found is None else datetime.strptime(found[1], "%Y%m%dt%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def labels_of(instance: str) -> dict[str, str]:
    """``watcher/instance`` is what retention goes by; an instance whose name is no label goes by its hash."""
    labels = {"app.kubernetes.io/name": "watcher", KIND_LABEL: KIND}
    return {**labels, INSTANCE_LABEL: label_value(instance)} if instance else labels


def label_value(text: str) -> str:
    return text if _LABEL.fullmatch(text) else f"h-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def data_of(failure: Failure) -> dict[str, str]:
    """What is not known is left out."""
    values: dict[str, Any] = failure.model_dump()
    told = {key: values[name] for key, name in _NAMED.items() if values[name] not in ("", None)}
    return {key: value if isinstance(value, str) else _number(value) for key, value in told.items()}


def object_of(failure: Failure, attempt: int = 1) -> dict[str, Any]:
    """The body of a POST to ``configmaps``."""
    metadata = {"name": name_of(failure, attempt), "labels": labels_of(failure.instance)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data_of(failure)}


def late_of(observed_at: str, delay_seconds: float) -> dict[str, str]:
    """The keys of ``data`` that a late observation adds."""
    return {"observedAt": observed_at, "delaySeconds": _number(delay_seconds)}


def same(failure: Failure, data: object) -> bool:
    """Whether an object's ``data`` tells of this very miss."""
    return isinstance(data, Mapping) and all(
        data.get(key, "") == getattr(failure, _NAMED[key]) for key in ("nonce", "stack", "profile", "instance")
    )


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _compact(instant: str) -> str | None:
    try:
        at = datetime.fromisoformat(instant)
    except ValueError:
        return None
    return f"{(at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC):%Y%m%dt%H%M%S}"
