"""Errors in the form that Kubernetes clients understand: an HTTP status and a ``Status`` object that says why.

Codes, reasons and wording are kube-apiserver's wherever it has them, since clients decide by them.
"""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A request that fails; ``body`` is what the client gets."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    @property
    def body(self) -> dict[str, Any]:
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status |= {"message": self.message}
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


class NotServed(ApiError):
    """Something that only a real kube-apiserver answers; ``what`` names it in the event that makes a cell invalid."""

    def __init__(self, what: str) -> None:
        super().__init__(
            501,
            "NotImplemented",
            f"the embedded control plane does not serve {what}: this needs the real control plane",
        )
        self.what = what


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unexpected(message: str) -> ApiError:
    """A client's mistake that kube-apiserver answers like one of its own: 500 and no reason."""
    return ApiError(500, "", message)


def unsupported(media: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", f"the body of the request was in an unknown format - {media}")


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def not_found(plural: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{plural} "{name}" not found', {"name": name, "kind": plural})


def already_exists(plural: str, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{plural} "{name}" already exists', {"name": name, "kind": plural})


def conflict(plural: str, name: str, why: str) -> ApiError:
    """An update or a delete that was made for another version of the object than the present one."""
    message = f'Operation cannot be fulfilled on {plural} "{name}": {why}'
    return ApiError(409, "Conflict", message, {"name": name, "kind": plural})


def invalid(kind: str, name: str, field: str, reason: str, problem: str) -> ApiError:
    """Well-formed but not allowed; ``reason`` is one of Kubernetes' field errors such as ``FieldValueInvalid``."""
    cause = {"reason": reason, "message": problem, "field": field}
    details: dict[str, Any] = {"name": name} if name else {}
    details |= {"kind": kind, "causes": [cause]}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {field}: {problem}', details)


def expired(revision: int, oldest: int) -> ApiError:
    """The changes after ``revision`` are no longer all in the history, which knows those after ``oldest``."""
    return ApiError(410, "Expired", f"too old resource version: {revision} ({oldest})")


def from_the_future(revision: int, current: int) -> ApiError:
    """A list or a get that wants at least a version that does not exist yet. Clients take it for a short outage."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    return ApiError(504, "Timeout", f"Too large resource version: {revision}, current: {current}", details)


def too_large(limit_octets: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit_octets}")
