"""The state of the embedded control plane and the history of its changes. Pure: no clock, no network, no files.

One counter numbers all changes, whatever they change, as etcd's revision does; it is every object's resourceVersion.
Each resource keeps a bounded history. Whoever asks for the changes after a version gets all of them or an error,
never some of them.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, Protocol

from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES, Json, Resource, accept, merge
from watcher.lab.control_plane.statuses import (
    already_exists,
    bad_request,
    conflict,
    expired,
    not_found,
    unexpected,
)

FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_MODIFIED_MEANWHILE = "the object has been modified; please apply your changes to the latest version and try again"

Key = tuple[str, str]
"""Namespace (empty where there is none) and name: in the order in which kube-apiserver lists."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object. ``value`` is never changed; ``encoded`` is its JSON, made once for all readers."""

    value: Json
    encoded: bytes
    namespace: str
    name: str
    revision: int

    @property
    def encoded_in_list(self) -> bytes:
        """Items do not say what they are: the list does."""
        return b"{" + self.encoded.split(b",", 2)[2]

    @property
    def uid(self) -> str:
        return str(self.value["metadata"]["uid"])


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an object; a deletion carries its last state under the deletion's own revision."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    version: Version

    @property
    def revision(self) -> int:
        return self.version.revision


class Subscriber(Protocol):
    def offer(self, change: Change) -> bool:
        """Takes a change without waiting; False ends the subscription."""


class History:
    """The last changes of one resource."""

    def __init__(self, limit: int, revision: int = 0) -> None:
        self._changes: deque[Change] = deque(maxlen=limit)
        self._forgotten = revision
        """All changes after this revision are here."""

    def append(self, change: Change) -> None:
        if len(self._changes) == self._changes.maxlen:
            self._forgotten = self._changes[0].revision
        self._changes.append(change)

    def after(self, revision: int) -> list[Change]:
        """All changes after ``revision``, oldest first. Raises 410 if some of them are forgotten."""
        if revision < self._forgotten:
            raise expired(revision, self._forgotten)
        return list(takewhile(lambda change: change.revision > revision, reversed(self._changes)))[::-1]


class Store:
    """All objects. ``now`` gives timestamps (RFC 3339), ``uid`` unique ids, ``history_limit`` counts changes."""

    def __init__(self, *, now: Callable[[], str], uid: Callable[[], str], history_limit: int = 1000) -> None:
        self._now = now
        self._uid = uid
        self.revision = 0
        self._objects: dict[Resource, dict[Key, Version]] = {CONFIG_MAPS: {}, NAMESPACES: {}}
        self._histories = {resource: History(history_limit) for resource in self._objects}
        self._subscribers: dict[Resource, list[Subscriber]] = {resource: [] for resource in self._objects}
        for name in FIRST_NAMESPACES:
            self.create(NAMESPACES, "", {"metadata": {"name": name}})

    def get(self, resource: Resource, namespace: str, name: str) -> Version:
        try:
            return self._objects[resource][namespace, name]
        except KeyError:
            raise not_found(resource.plural, name) from None

    def versions(self, resource: Resource) -> Iterator[Version]:
        """The present objects, in the order of their keys."""
        objects = self._objects[resource]
        return (objects[key] for key in sorted(objects))

    def after(self, resource: Resource, revision: int) -> list[Change]:
        return self._histories[resource].after(revision)

    def subscribe(self, resource: Resource, subscriber: Subscriber) -> None:
        """From now on ``subscriber`` is offered every change."""
        self._subscribers[resource].append(subscriber)

    def unsubscribe(self, resource: Resource, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers[resource]:
            self._subscribers[resource].remove(subscriber)

    def create(self, resource: Resource, namespace: str, body: Json) -> Version:
        if resource.namespaced:
            self.get(NAMESPACES, "", namespace)
        value = accept(resource, namespace, body)
        name = value["metadata"]["name"]
        if value["metadata"].pop("resourceVersion", None):
            raise unexpected("resourceVersion should not be set on objects to be created")
        if (namespace, name) in self._objects[resource]:
            raise already_exists(resource.plural, name)
        value["metadata"] |= {"uid": self._uid(), "creationTimestamp": self._now()}
        return self._write("ADDED", resource, namespace, value)

    def update(self, resource: Resource, namespace: str, name: str, body: Json) -> Version:
        """PUT. With a resourceVersion in ``body`` only that version is replaced (409 otherwise), without one any is."""
        present = self.get(resource, namespace, name)
        asked = body.get("metadata")
        asked_name = asked.get("name") if isinstance(asked, dict) else None
        if asked_name != name:
            raise bad_request(f"the name of the object ({asked_name}) does not match the name on the URL ({name})")
        return self._replace(resource, present, body)

    def patch(self, resource: Resource, namespace: str, name: str, patch: Json) -> Version:
        """A merge patch; one that names a resourceVersion fits only that version (409 otherwise)."""
        present = self.get(resource, namespace, name)
        asked = patch.get("metadata")
        if isinstance(asked, dict):
            for field, allowed in (("name", name), ("namespace", namespace)):
                if asked.get(field, allowed) != allowed:
                    raise bad_request(f"the {field} of the object ({asked[field]}) does not match that on the URL")
        return self._replace(resource, present, merge(present.value, patch))

    def delete(self, resource: Resource, namespace: str, name: str, preconditions: Mapping[str, object]) -> Version:
        """Deletes at once; a namespace takes all in it along. Returns the last state.

        (With kube-apiserver that is the namespace controller's work, which runs outside it.)
        """
        present = self.get(resource, namespace, name)
        metadata = present.value["metadata"]
        for field in ("uid", "resourceVersion"):
            asked = preconditions.get(field)
            if asked is not None and asked != metadata[field]:
                why = (
                    f"Precondition failed: {field} in precondition: {asked}, {field} in object meta: {metadata[field]}"
                )
                raise conflict(resource.kind, name, why)  # the kind is what kube-apiserver names here
        if resource is NAMESPACES:
            for inside in [key for key in sorted(self._objects[CONFIG_MAPS]) if key[0] == name]:
                self.delete(CONFIG_MAPS, *inside, {})
        self._write("DELETED", resource, namespace, present.value)
        return present

    def _replace(self, resource: Resource, present: Version, body: Json) -> Version:
        value = accept(resource, present.namespace, body)
        metadata, old = value["metadata"], present.value["metadata"]
        if metadata.get("uid", old["uid"]) != old["uid"]:
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {old['uid']}"
            raise conflict(resource.plural, present.name, why)
        version = metadata.get("resourceVersion", old["resourceVersion"])
        if not str(version).isdigit():
            raise unexpected(f"invalid resource version {version!r}")
        if version != old["resourceVersion"]:
            raise conflict(resource.plural, present.name, _MODIFIED_MEANWHILE)
        metadata |= {field: old[field] for field in ("uid", "resourceVersion", "creationTimestamp")}
        # kube-apiserver writes nothing, and so tells no watcher, where nothing would change.
        return present if value == present.value else self._write("MODIFIED", resource, present.namespace, value)

    def _write(
        self, change: Literal["ADDED", "MODIFIED", "DELETED"], resource: Resource, namespace: str, value: Json
    ) -> Version:
        self.revision += 1
        name = value["metadata"]["name"]
        value = value | {"metadata": value["metadata"] | {"resourceVersion": str(self.revision)}}
        # First what it is: items of lists are without these two.
        value = {"kind": resource.kind, "apiVersion": "v1"} | value
        encoded = json.dumps(value, separators=(",", ":")).encode()
        version = Version(value, encoded, namespace, name, self.revision)
        if change == "DELETED":
            del self._objects[resource][namespace, name]
        else:
            self._objects[resource][namespace, name] = version
        self._tell(resource, Change(change, version))
        return version

    def _tell(self, resource: Resource, change: Change) -> None:
        self._histories[resource].append(change)
        subscribers = self._subscribers[resource]
        subscribers[:] = [subscriber for subscriber in subscribers if subscriber.offer(change)]
