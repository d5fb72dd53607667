"""ConfigMaps and Namespaces as values: what a client may write, and what becomes of it.

Pure. Only fields that are served are kept: unknown ones are dropped silently, as kube-apiserver does; what would need
machinery that is not here (finalizers, immutability, generated names) is refused as not served.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from watcher.lab.control_plane.statuses import NotServed, bad_request, invalid

Json = dict[str, Any]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_LABEL = re.compile(r"([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
_DATA_LIMIT_OCTETS = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object that is served."""

    plural: str
    kind: str
    short_name: str
    namespaced: bool


CONFIG_MAPS = Resource("configmaps", "ConfigMap", "cm", namespaced=True)
NAMESPACES = Resource("namespaces", "Namespace", "ns", namespaced=False)


def accept(resource: Resource, namespace: str, body: Json) -> Json:
    """The object that ``body`` asks for: of what the server sets, only a uid and a resourceVersion are kept.

    Raises ``ApiError`` with 400, 422 or 501.
    """
    if body.get("kind", resource.kind) != resource.kind or body.get("apiVersion", "v1") != "v1":
        raise bad_request(f"{body.get('apiVersion')}/{body.get('kind')} is no v1/{resource.kind}")
    metadata = _metadata(resource, namespace, body.get("metadata"))
    kept: Json = {"kind": resource.kind, "apiVersion": "v1", "metadata": metadata}
    if resource is NAMESPACES:
        metadata["labels"] = metadata.get("labels", {}) | {"kubernetes.io/metadata.name": metadata["name"]}
        return kept | {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    if body.get("immutable"):
        raise NotServed("immutable ConfigMaps")
    for field in ("data", "binaryData"):
        if values := _strings(field, body.get(field)):
            kept[field] = values
    _check_data(metadata["name"], kept)
    return kept


def _metadata(resource: Resource, namespace: str, asked: object) -> Json:
    if not isinstance(asked, dict):
        asked = {}
    if asked.get("finalizers"):
        raise NotServed("finalizers")
    name = asked.get("name") or ""
    if not name and asked.get("generateName"):
        raise NotServed("generateName")
    if not isinstance(name, str):
        raise bad_request("metadata.name must be a string")
    if not name:
        raise invalid(resource.kind, "", "metadata.name", "FieldValueRequired", "name or generateName is required")
    if not _may_be_a_name(resource, name):
        problem = f'Invalid value: "{name}": must be a lowercase RFC 1123 {_NAME_RULES[resource.namespaced]}'
        raise invalid(resource.kind, name, "metadata.name", "FieldValueInvalid", problem)
    if asked.get("namespace", namespace) not in ("", namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    metadata: Json = {"name": name}
    if resource.namespaced:
        metadata["namespace"] = namespace
    for field in ("uid", "resourceVersion"):
        if asked.get(field):
            metadata[field] = asked[field]
    for field in ("labels", "annotations"):
        if values := _strings(f"metadata.{field}", asked.get(field)):
            metadata[field] = values
            _check_qualified(resource, name, field, values)
    if asked.get("ownerReferences"):
        metadata["ownerReferences"] = asked["ownerReferences"]
    return metadata


_NAME_RULES = {True: "subdomain", False: "label"}


def _may_be_a_name(resource: Resource, name: str) -> bool:
    if resource.namespaced:
        return len(name) <= 253 and _NAME.fullmatch(name) is not None
    # A namespace is part of the names of services: no dots.
    return len(name) <= 63 and "." not in name and _NAME.fullmatch(name) is not None


def _check_qualified(resource: Resource, name: str, field: str, values: dict[str, str]) -> None:
    """Keys of labels and annotations may have a domain before them; only a label's value has a form."""
    for key, value in values.items():
        domain, slash, rest = key.rpartition("/")
        sound = bool(rest) and _LABEL.fullmatch(rest) is not None
        sound = sound and (not slash or (len(domain) <= 253 and _NAME.fullmatch(domain) is not None))
        if not sound or (field == "labels" and not _LABEL.fullmatch(value)):
            problem = f'Invalid value: "{value if sound else key}": not the form of a {"value" if sound else "key"}'
            raise invalid(resource.kind, name, f"metadata.{field}", "FieldValueInvalid", problem)


def _strings(field: str, asked: object) -> dict[str, str]:
    if asked is None:
        return {}
    if not isinstance(asked, dict):
        raise bad_request(f"{field} must be an object of strings")
    for key, value in asked.items():
        if not isinstance(value, str | None):
            raise bad_request(f"{field}.{key} must be a string")
    # A null in a map of strings is the empty string in Go.
    return {key: value or "" for key, value in sorted(asked.items())}


def _check_data(name: str, kept: Json) -> None:
    octets = 0
    for field in ("data", "binaryData"):
        for key, value in kept.get(field, {}).items():
            if not _KEY.fullmatch(key):
                problem = f'Invalid value: "{key}": only letters, digits, "-", "_" and "." may be in a key'
                raise invalid("ConfigMap", name, f"{field}[{key}]", "FieldValueInvalid", problem)
            if field == "binaryData":
                try:
                    octets += len(base64.b64decode(value, validate=True))
                except binascii.Error as error:
                    raise bad_request(f"binaryData.{key} is not base64: {error}") from error
                if key in kept.get("data", {}):
                    problem = f'Invalid value: "{key}": duplicate of key present in data'
                    raise invalid("ConfigMap", name, f"data[{key}]", "FieldValueInvalid", problem)
            else:
                octets += len(value.encode())
    if octets > _DATA_LIMIT_OCTETS:
        problem = f"Too long: may not be more than {_DATA_LIMIT_OCTETS} bytes"
        raise invalid("ConfigMap", name, "[]", "FieldValueTooLong", problem)


def merge(target: object, patch: object) -> Any:
    """``target`` after the JSON merge patch ``patch`` (RFC 7386); neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def check_strategic(patch: object) -> None:
    """Raises where a strategic merge patch means something else than a merge patch: lists and directives."""
    if isinstance(patch, list):
        raise NotServed("strategic merge patches with lists")
    if isinstance(patch, dict):
        for key, value in patch.items():
            if key.startswith("$"):
                raise NotServed("strategic merge patches with directives")
            check_strategic(value)
