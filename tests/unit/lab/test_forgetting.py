"""Which requests ask for history, as Kubernetes' API conventions have it."""

from __future__ import annotations

import pytest

from watcher.lab.forgetting import resumes_from


@pytest.mark.parametrize(
    ("query", "version"),
    [
        ({"watch": "true", "resourceVersion": "17"}, 17),
        ({"watch": "1", "resourceVersion": "17", "allowWatchBookmarks": "true"}, 17),
        ({"watch": "true", "resourceVersion": "17", "sendInitialEvents": "false"}, 17),
    ],
)
def test_a_watch_from_a_version_resumes(query: dict[str, str], version: int) -> None:
    """What is not refused here would go on as if history were there."""
    assert resumes_from(query) == version


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"resourceVersion": "17"},
        {"watch": "false", "resourceVersion": "17"},
        {"watch": "0", "resourceVersion": "17"},
        {"watch": "true"},
        {"watch": "true", "resourceVersion": ""},
        {"watch": "true", "resourceVersion": "0"},
        {"watch": "true", "resourceVersion": "17", "sendInitialEvents": "true"},
        {"watch": "true", "resourceVersion": "nonsense"},
    ],
)
def test_who_wants_the_present_state_does_not_resume(query: dict[str, str]) -> None:
    """A client that begins anew, or only lists, would be refused for ever."""
    assert resumes_from(query) is None
