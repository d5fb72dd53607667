"""What a list or a watch asks for in its query. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from watcher.lab.control_plane.objects import Resource
from watcher.lab.control_plane.statuses import ApiError, NotServed, bad_request, invalid, unexpected
from watcher.lab.control_plane.store import Version


@dataclass(frozen=True, slots=True)
class Selector:
    """Which objects a list or a watch is about.

    Names and namespaces never change, so an object never enters or leaves a selection: a watcher's ADDED, MODIFIED
    and DELETED are always the object's own.
    """

    namespace: str | None = None
    """From the URL; None is all namespaces."""
    terms: tuple[tuple[str, bool, str], ...] = ()
    """Field selector: field, whether it must be equal, value."""

    def matches(self, version: Version) -> bool:
        if self.namespace is not None and version.namespace != self.namespace:
            return False
        return all(
            ((version.name if field == "metadata.name" else version.namespace) == value) is equal
            for field, equal, value in self.terms
        )


@dataclass(frozen=True, slots=True)
class ListOptions:
    selector: Selector
    watch: bool = False
    revision: int | None = None
    """None where no resourceVersion was given. 0 means: any state will do."""
    exact: bool = False
    """A list of just that revision is asked for, not of one that is not older."""
    bookmarks: bool = False
    timeout_seconds: int = 0
    """0: the server chooses."""
    initial_events: bool | None = None

    @property
    def starts_with_state(self) -> bool:
        """The watch begins with the present objects; else with the changes after its revision."""
        return not self.revision if self.initial_events is None else self.initial_events


def parse(query: Mapping[str, str], resource: Resource, namespace: str | None) -> ListOptions:
    """Raises ``ApiError``: 400 or 422 as kube-apiserver does, 501 for what is not served."""
    if query.get("labelSelector"):
        raise NotServed("label selectors")
    if query.get("continue"):
        raise bad_request("continue key is not valid: the embedded control plane always answers with the whole list")
    watch = _truth(query.get("watch"))
    initial_events = _truth(query["sendInitialEvents"]) if "sendInitialEvents" in query else None
    text = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    if watch and initial_events is None and not match and text in ("", "0"):
        # kube-apiserver reads it so: whoever allows bookmarks gets the one that ends the initial events, too.
        initial_events, match = True, "NotOlderThan"
    if problem := _combination(watch, initial_events, text, match):
        raise problem
    return ListOptions(
        selector=Selector(namespace, field_selector(query.get("fieldSelector", ""), resource)),
        watch=watch,
        revision=revision(text, watch=watch),
        exact=match == "Exact",
        bookmarks=_truth(query.get("allowWatchBookmarks")),
        timeout_seconds=_seconds(query.get("timeoutSeconds")),
        initial_events=initial_events,
    )


def _combination(watch: bool, initial_events: bool | None, revision: str, match: str) -> ApiError | None:
    """The error of parameters that do not go together."""

    def forbidden(field: str, why: str) -> ApiError:
        return invalid("ListOptions", "", field, "FieldValueForbidden", f"Forbidden: {why}")

    if match not in ("", "Exact", "NotOlderThan"):
        problem = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
        return invalid("ListOptions", "", "resourceVersionMatch", "FieldValueNotSupported", problem)
    if watch:
        if initial_events is None and match:
            return forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        if initial_events is not None and match != "NotOlderThan":
            return forbidden(
                "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        return None
    if initial_events is not None:
        return forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if match and not revision:
        return forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match == "Exact" and revision == "0":
        return forbidden("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    return None


def revision(text: str, *, watch: bool = False) -> int | None:
    """Raises 400 for what is no version; kube-apiserver answers such a watch with 500."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        problem = f'Invalid value: "{text}": a resource version is a whole number'
        raise unexpected(f"resourceVersion: {problem}") if watch else bad_request(f"resourceVersion: {problem}")
    return int(text)


def field_selector(text: str, resource: Resource) -> tuple[tuple[str, bool, str], ...]:
    """Terms of ``metadata.name`` and ``metadata.namespace`` with ``=``, ``==`` or ``!=``, joined by commas."""
    known = ("metadata.name", "metadata.namespace") if resource.namespaced else ("metadata.name",)
    terms = []
    for term in filter(None, text.split(",")):
        for sign in ("!=", "==", "="):
            field, found, value = term.partition(sign)
            if found:
                break
        else:
            raise bad_request(f"invalid selector: {text!r}; can't understand {term!r}")
        if field not in known:
            raise bad_request(f'"{field}" is not a known field selector: only {", ".join(known)}')
        if "\\" in value:
            raise NotServed("escapes in field selectors")
        terms.append((field, sign != "!=", value))
    return tuple(terms)


def _truth(text: str | None) -> bool:
    """Kubernetes' own reading: absent, ``false`` and ``0`` are false, all else is true."""
    return text is not None and text.lower() not in ("false", "0")


def _seconds(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        raise bad_request(f"timeoutSeconds must be a whole number, not {text!r}") from None
