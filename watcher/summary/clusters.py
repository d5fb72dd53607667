"""The ConfigMaps of a cluster, by a context of the kubeconfig. For a command that ends: the official client is large.

Whatever the context needs to log in (a token, a certificate, a program that is asked for one) is that client's affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from watcher.errors import UsageError, WatcherError
from watcher.summary.reading import concerns, read, strictly
from watcher.totals import Export

PAGE = 100
MOST_PAGES = 500
MOST_PAGE_OCTETS = 160 << 20
"""A hundred ConfigMaps of 1 MiB, and what JSON makes of their quotes."""
TIMEOUTS_SECONDS = (10, 60)


class ClusterUnreadable(WatcherError):
    """One cluster could not be read; the others may be."""


def export(context: str, column: str, namespace: str | None, kubeconfig: Path | None = None) -> Export:
    """Raises UsageError for a kubeconfig that cannot be used, ClusterUnreadable for an answer that is none."""
    api, own = _client(context, kubeconfig)
    where = namespace or own
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        return read(column, _config_maps(api, where), now)
    finally:
        api.close()


def _client(context: str, kubeconfig: Path | None) -> tuple[Any, str]:
    from kubernetes import client
    from kubernetes.config import kube_config

    from watcher.idle import kubeconfig as files

    load: Any = kube_config.new_client_from_config  # the package carries types for some of its functions only
    configuration: Any = client.Configuration()
    configuration.retries = False
    try:
        namespace = files.namespace_of(context, kubeconfig)
        api = load(config_file=files.location(kubeconfig), context=context, client_configuration=configuration)
    except files.UNUSABLE as error:
        raise UsageError(
            f"the kubeconfig cannot be used: {error}", advice="`kubectl config get-contexts` lists what there is"
        ) from error
    return api, namespace


def _config_maps(api: Any, namespace: str) -> Iterator[object]:
    """Those of a soak, page by page, so that a namespace full of others does no harm."""
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    core: Any = client.CoreV1Api(api)  # with _preload_content=False it gives what its types do not say
    following: str | None = None
    for _ in range(MOST_PAGES):
        try:
            response = core.list_namespaced_config_map(
                namespace,
                limit=PAGE,
                _preload_content=False,
                _request_timeout=TIMEOUTS_SECONDS,
                **({"_continue": following} if following else {}),
            )
            content = response.read(MOST_PAGE_OCTETS + 1)
            response.release_conn()
        except ApiException as error:
            raise ClusterUnreadable(
                f"the ConfigMaps of namespace {namespace} cannot be listed: {error.status} {error.reason}",
                advice="it takes the right to list configmaps there; --namespace names another",
            ) from error
        except (HTTPError, OSError) as error:
            raise ClusterUnreadable(f"the API server does not answer: {error}") from error
        if len(content) > MOST_PAGE_OCTETS:
            raise ClusterUnreadable(f"{PAGE} ConfigMaps of namespace {namespace} are more than can be read")
        try:
            page = strictly(content.decode())
        except ValueError as error:
            raise ClusterUnreadable(f"what the API server answers is not JSON: {error}") from error
        items = page.get("items") if isinstance(page, dict) else None
        for item in items if isinstance(items, list) else ():
            if concerns(item):
                yield item
        metadata = page.get("metadata") if isinstance(page, dict) else None
        following = metadata.get("continue") if isinstance(metadata, dict) else None
        if not following:
            return
    raise ClusterUnreadable(
        f"namespace {namespace} holds more than {MOST_PAGES * PAGE} ConfigMaps", advice="give a soak one of its own"
    )
