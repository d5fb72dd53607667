"""The state and its history, without any network."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.control_plane.conftest import config_map, make_store
from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES, merge
from watcher.lab.control_plane.statuses import ApiError, NotServed
from watcher.lab.control_plane.store import Change, History, Store

Step = tuple[str, str, str]
STEPS = st.lists(st.tuples(st.sampled_from("cpud"), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=40)


def take(store: Store, steps: list[Step]) -> list[Change]:
    """Writes, also ones that fail or change nothing; returns what a subscriber from the beginning was told."""
    told: list[Change] = []

    class Everything:
        def offer(self, change: Change) -> bool:
            told.append(change)
            return True

    store.subscribe(CONFIG_MAPS, Everything())
    for action, name, nonce in steps:
        try:
            match action:
                case "c":
                    store.create(CONFIG_MAPS, "default", config_map(name, nonce=nonce))
                case "p":
                    store.patch(CONFIG_MAPS, "default", name, {"data": {"nonce": nonce}})
                case "u":
                    store.update(CONFIG_MAPS, "default", name, config_map(name, nonce=nonce))
                case _:
                    store.delete(CONFIG_MAPS, "default", name, {})
        except ApiError as error:
            assert error.code in (404, 409)  # noqa: PT017 - some steps must fail
    return told


def check_every_revision(store: Store, told: list[Change], limit: int) -> None:
    for revision in range(store.revision + 3):
        expected = [change for change in told if change.revision > revision]
        if len(expected) <= limit:
            assert store.after(CONFIG_MAPS, revision) == expected
        else:
            with pytest.raises(ApiError, match="too old resource version") as caught:
                store.after(CONFIG_MAPS, revision)
            assert (caught.value.code, caught.value.reason) == (410, "Expired")


@given(STEPS, st.integers(1, 12))
def test_a_watch_from_any_revision_sees_exactly_the_changes_after_it(steps: list[Step], limit: int) -> None:
    """Otherwise a client that reconnects would miss a change, or see one twice, by the server's fault."""
    store = make_store(limit)
    told = take(store, steps)
    check_every_revision(store, told, limit)


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_history_that_is_one_off_is_noticed(monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    """The mutant of the property above: a history that skips or repeats one change."""
    honest = History.after
    monkeypatch.setattr(History, "after", lambda self, revision: honest(self, revision + shift))
    store = make_store()
    told = take(store, [("c", "a", "x"), ("p", "a", "y"), ("p", "a", "z")])
    with pytest.raises((AssertionError, ApiError)):
        check_every_revision(store, told, 1000)


@given(STEPS)
def test_applying_the_changes_gives_the_state(steps: list[Step]) -> None:
    """Otherwise an informer's cache would drift away from what a list shows."""
    store = make_store()
    state: dict[str, Any] = {}
    revisions = []
    for change in take(store, steps):
        revisions.append(change.revision)
        version = change.version
        assert version.value["metadata"]["resourceVersion"] == str(change.revision)
        assert (version.name in state) is (change.type != "ADDED")
        if change.type == "DELETED":
            del state[version.name]
        else:
            state[version.name] = version.value
    assert state == {version.name: version.value for version in store.versions(CONFIG_MAPS)}
    assert revisions == sorted(set(revisions))


def test_an_update_of_an_old_version_conflicts(store: Store) -> None:
    """Otherwise two writers of one totals object would overwrite each other unseen."""
    first = store.create(CONFIG_MAPS, "default", config_map(nonce="1"))
    store.patch(CONFIG_MAPS, "default", "trigger", {"data": {"nonce": "2"}})
    for write in (store.update, store.patch):
        with pytest.raises(ApiError) as caught:
            write(CONFIG_MAPS, "default", "trigger", first.value | {"data": {"nonce": "3"}})
        assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    unconditional = store.update(CONFIG_MAPS, "default", "trigger", config_map(nonce="4"))
    assert unconditional.value["data"] == {"nonce": "4"}
    assert (unconditional.uid, unconditional.value["metadata"]["creationTimestamp"]) == (
        first.uid,
        first.value["metadata"]["creationTimestamp"],
    )


def test_a_write_that_changes_nothing_is_no_change(store: Store) -> None:
    """A touch must carry a new nonce: as with the real one, the same again reaches no watcher."""
    made = store.create(CONFIG_MAPS, "default", config_map(nonce="1"))
    assert store.patch(CONFIG_MAPS, "default", "trigger", {"data": {"nonce": "1"}}) is made
    assert store.after(CONFIG_MAPS, made.revision) == []
    assert store.patch(CONFIG_MAPS, "default", "trigger", {"data": {"nonce": "2"}}).revision > made.revision


def test_a_deletion_has_its_own_revision_and_the_last_state(store: Store) -> None:
    """A watcher that resumes after a deletion would otherwise be told of it for ever, or never."""
    made = store.create(CONFIG_MAPS, "default", config_map(nonce="1"))
    store.delete(CONFIG_MAPS, "default", "trigger", {})
    [deleted] = store.after(CONFIG_MAPS, made.revision)
    assert (deleted.type, deleted.version.value["data"]) == ("DELETED", {"nonce": "1"})
    assert deleted.version.value["metadata"]["resourceVersion"] == str(deleted.revision) == str(made.revision + 1)


def test_a_namespace_takes_its_objects_along(store: Store) -> None:
    """Cells clean up by deleting their namespace; leftovers would answer the next cell's watch."""
    store.create(NAMESPACES, "", {"metadata": {"name": "cell"}})
    store.create(CONFIG_MAPS, "cell", config_map())
    kept = store.create(CONFIG_MAPS, "default", config_map())
    store.delete(NAMESPACES, "", "cell", {})
    assert list(store.versions(CONFIG_MAPS)) == [kept]
    with pytest.raises(ApiError, match='namespaces "cell" not found'):
        store.create(CONFIG_MAPS, "cell", config_map())


def test_delete_preconditions_protect_a_newer_object(store: Store) -> None:
    """A late clean-up must not delete the object of the same name that came after."""
    made = store.create(CONFIG_MAPS, "default", config_map())
    with pytest.raises(ApiError) as caught:
        store.delete(CONFIG_MAPS, "default", "trigger", {"uid": "another"})
    assert caught.value.code == 409
    store.delete(CONFIG_MAPS, "default", "trigger", {"uid": made.uid, "resourceVersion": str(made.revision)})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"metadata": {}}, 422),
        ({"metadata": {"name": "Upper"}}, 422),
        ({"metadata": {"name": "x" * 254}}, 422),
        ({"metadata": {"name": "a"}, "data": {"no spaces": ""}}, 422),
        ({"metadata": {"name": "a"}, "data": {"big": "x" * (1024 * 1024 + 1)}}, 422),
        ({"metadata": {"name": "a", "labels": {"l": "no label!"}}}, 422),
        ({"metadata": {"name": "a", "labels": {"no key!": ""}}}, 422),
        ({"metadata": {"name": "a", "annotations": {"Example.com/a": ""}}}, 422),
        ({"metadata": {"name": "a"}, "data": {"k": ""}, "binaryData": {"k": ""}}, 422),
        ({"metadata": {"name": "a"}, "binaryData": {"k": "%"}}, 400),
        ({"metadata": {"name": "a"}, "data": {"n": 1}}, 400),
        ({"metadata": {"name": "a"}, "data": []}, 400),
        ({"metadata": {"name": "a", "namespace": "other"}}, 400),
        ({"metadata": {"name": "a", "resourceVersion": "3"}}, 500),
        ({"kind": "Secret", "metadata": {"name": "a"}}, 400),
        ({"metadata": {"generateName": "a-"}}, 501),
        ({"metadata": {"name": "a", "finalizers": ["x/y"]}}, 501),
        ({"metadata": {"name": "a"}, "immutable": True}, 501),
    ],
)
def test_what_cannot_be_stored_is_refused(store: Store, body: dict[str, Any], code: int) -> None:
    """A program tried against the imitation must not pass with objects that a real cluster refuses."""
    revision = store.revision
    with pytest.raises(ApiError) as caught:
        store.create(CONFIG_MAPS, "default", body)
    assert caught.value.code == code == caught.value.body["code"]
    assert isinstance(caught.value, NotServed) is (code == 501)
    assert store.revision == revision


def test_labels_and_annotations_of_all_allowed_forms_are_kept(store: Store) -> None:
    """A client's own labels must not be refused here and accepted by a real cluster."""
    sound = {"a": "", "example.com/a": "b", "A.b_c-d": "E.f_g-h", "n" * 63: "v" * 63}
    metadata = {"name": "a", "labels": sound, "annotations": sound | {"b": "anything goes!"}}
    made = store.create(CONFIG_MAPS, "default", {"metadata": metadata}).value["metadata"]
    assert made["labels"] == sound
    assert made["annotations"] == metadata["annotations"]


@pytest.mark.parametrize("name", ["dot.ted", "x" * 64, "Upper"])
def test_a_namespace_has_a_label_for_a_name(store: Store, name: str) -> None:
    """A program that names its namespaces so fails only in a real cluster."""
    with pytest.raises(ApiError) as caught:
        store.create(NAMESPACES, "", {"metadata": {"name": name}})
    assert caught.value.code == 422


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "b"}, ["c"], ["c"]),
    ],
)
def test_merge_patches_are_those_of_rfc_7386(target: object, patch: object, merged: object) -> None:
    """The updater's touch is a merge patch: a wrong merge would drop the other keys of the trigger."""
    before = repr(target)
    assert merge(target, patch) == merged
    assert repr(target) == before
