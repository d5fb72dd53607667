"""What ``watcher rehearse`` is asked, in true seconds, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.catalog import Catalog
from watcher.errors import UnknownName, UsageError
from watcher.rehearsal.options import RehearsalOptions, chosen_paths, clusters_of, path_order
from watcher.rehearsal.run import soak_environment

PATHS = Catalog.load().paths


def options(**named: object) -> RehearsalOptions:
    return RehearsalOptions(clusters={"public": "azure-slb"}, **named)  # type: ignore[arg-type]  # a test's own choice


def test_clusters_have_names_and_paths() -> None:
    """Otherwise the table's columns cannot be named."""
    assert clusters_of(["public=azure-slb", "private-2=azure-private-link"]) == {
        "public": "azure-slb",
        "private-2": "azure-private-link",
    }


@pytest.mark.parametrize("given", [[], ["public"], ["=azure-slb"], ["public="], ["Public=a"], ["-a=b"], ["a=b", "a=c"]])
def test_what_is_no_cluster_is_refused(given: list[str]) -> None:
    """Otherwise a typing error becomes a folder, or a cluster too few."""
    with pytest.raises(UsageError):
        clusters_of(given)


def test_an_unknown_path_is_named() -> None:
    """Otherwise the user is left to guess what there is."""
    with pytest.raises(UnknownName, match="azure-sbl"):
        chosen_paths({"public": "azure-sbl"}, PATHS)


def test_every_duration_is_divided() -> None:
    """Otherwise a scaled rehearsal tells of another network than the true one."""
    order = path_order("private", PATHS["azure-private-link"], options(scale=12))
    assert order.timing.idle_timeout_seconds == 25
    variables = soak_environment(options(scale=12, interval_seconds=360), "public", "azure-slb", Path("/out"))
    assert variables["CHANGE_INTERVAL_SECONDS"] == "30"
    assert variables["DEADLINE_SECONDS"] == "1"
    assert variables["WATCHER_SCALE"] == "12"
    assert variables["WATCHER_SPOOL"] == "/out/public/spool"


def test_in_true_time_the_issues_own_numbers_hold() -> None:
    """Otherwise what is published was measured with other numbers than users have."""
    variables = soak_environment(options(), "public", "azure-slb", Path("/out"))
    assert variables["CHANGE_INTERVAL_SECONDS"] == "600"
    assert variables["DEADLINE_SECONDS"] == "10"
    assert path_order("public", PATHS["azure-slb"], options()).timing.idle_timeout_seconds == 240


@pytest.mark.parametrize(("interval", "refused"), [(240, True), (262, True), (265, False), (216, True), (215, False)])
def test_an_interval_near_the_idle_timeout_is_refused(interval: float, refused: bool) -> None:
    """Otherwise a second of slack decides every touch, and the table says what chance said."""
    asked = options(interval_seconds=interval)
    if refused:
        with pytest.raises(UsageError, match="too near"):
            path_order("public", PATHS["azure-slb"], asked)
    else:
        path_order("public", PATHS["azure-slb"], asked)


def test_a_timeout_that_rounding_would_change_is_refused() -> None:
    """Otherwise the kernel's whole seconds turn the path into another one unseen."""
    with pytest.raises(UsageError, match="whole seconds"):
        path_order("public", PATHS["azure-slb"], options(scale=170))


def test_kube_proxy_is_refused() -> None:
    """Otherwise nobody would forward the soak's connections."""
    with pytest.raises(UsageError, match="kube-proxy"):
        path_order("public", PATHS["kube-proxy-iptables"], options())


def test_the_soak_inherits_nothing_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a proxy or a kubeconfig of the user's own reaches what is measured."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("KUBECONFIG", "/home/user/.kube/config")
    variables = soak_environment(options(), "public", "azure-slb", Path("/out"))
    assert not {"HTTPS_PROXY", "KUBECONFIG"} & set(variables)
