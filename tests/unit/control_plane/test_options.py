"""The query of a list or a watch."""

from __future__ import annotations

import pytest

from tests.unit.control_plane.conftest import config_map
from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES
from watcher.lab.control_plane.options import field_selector, parse
from watcher.lab.control_plane.statuses import ApiError
from watcher.lab.control_plane.store import Store

WATCH_LIST = {"watch": "1", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=trigger", ["trigger"]),
        ("metadata.name==trigger", ["trigger"]),
        ("metadata.name!=trigger", ["other"]),
        ("metadata.name=trigger,metadata.namespace=default", ["trigger"]),
        ("metadata.name=trigger,metadata.namespace!=default", []),
        ("", ["other", "trigger"]),
    ],
)
def test_a_field_selector_selects(store: Store, selector: str, names: list[str]) -> None:
    """Clients watch one name; with a selector that lets more through, other cells' touches keep their flows alive."""
    for name in ("trigger", "other"):
        store.create(CONFIG_MAPS, "default", config_map(name))
    asked = parse({"fieldSelector": selector}, CONFIG_MAPS, None).selector
    assert [version.name for version in store.versions(CONFIG_MAPS) if asked.matches(version)] == names


@pytest.mark.parametrize("text", ["true", "1", "True", "", "yes"])
def test_kubernetes_reads_nearly_everything_as_true(text: str) -> None:
    """``watch=1`` and ``watch=true`` are both in use; taken for a list, a watcher would end at once."""
    assert parse({"watch": text}, CONFIG_MAPS, None).watch


@pytest.mark.parametrize("query", [{"watch": "false"}, {"watch": "0"}, {}])
def test_no_watch(query: dict[str, str]) -> None:
    """A list that is taken for a watch would hang its caller."""
    assert not parse(query, CONFIG_MAPS, None).watch


@pytest.mark.parametrize(
    ("query", "with_state"),
    [
        ({"watch": "1"}, True),
        ({"watch": "1", "resourceVersion": "0"}, True),
        ({"watch": "1", "resourceVersion": "7"}, False),
        (WATCH_LIST | {"resourceVersion": "7"}, True),
        (WATCH_LIST | {"sendInitialEvents": "false"}, False),
    ],
)
def test_when_a_watch_starts_with_the_state(query: dict[str, str], with_state: bool) -> None:
    """With the state left out a client waits for a nonce that was there already; sent twice it sees old news as new."""
    assert parse(query, CONFIG_MAPS, None).starts_with_state is with_state


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"labelSelector": "a=b"}, 501),
        ({"continue": "abc"}, 400),
        ({"resourceVersion": "abc"}, 400),
        ({"resourceVersion": "-1"}, 400),
        ({"timeoutSeconds": "soon"}, 400),
        ({"fieldSelector": "spec.x=1"}, 400),
        ({"fieldSelector": "metadata.name"}, 400),
        ({"resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersionMatch": "Sometimes", "resourceVersion": "1"}, 422),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, 422),
        ({"sendInitialEvents": "true"}, 422),
        ({"watch": "1", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "1"}, 422),
        ({"watch": "1", "sendInitialEvents": "true"}, 422),
        ({"watch": "1", "resourceVersion": "abc"}, 500),
    ],
)
def test_wrong_parameters_are_refused_as_by_the_real_one(query: dict[str, str], code: int) -> None:
    """Clients fall back (from streaming lists, say) by these codes."""
    with pytest.raises(ApiError) as caught:
        parse(query, CONFIG_MAPS, "default")
    assert caught.value.code == code


def test_namespaces_have_no_namespace() -> None:
    """A selector that can match nothing must be an error, not an empty list."""
    with pytest.raises(ApiError, match="not a known field selector"):
        field_selector("metadata.namespace=default", NAMESPACES)
