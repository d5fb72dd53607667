"""The API server as a pod, or as a kubeconfig, knows it. For commands that end: it loads the official client package.

A pod's token is rotated under it and a kubeconfig's may come from a program that must be asked again; so what is
given is asked for anew at every use.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from watcher.api import ApiServer, Credentials
from watcher.errors import UsageError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def in_pod(folder: Path = SERVICE_ACCOUNT) -> tuple[Credentials, str]:
    """And the pod's own namespace. Raises UsageError outside a pod."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        if not host:
            raise FileNotFoundError
        namespace = (folder / "namespace").read_text().strip()
        authority = (folder / "ca.crt").read_text()
        (folder / "token").read_text()
    except OSError as error:
        raise UsageError(
            "this is no pod with a service account",
            advice="outside a cluster name a context of your kubeconfig: --context NAME",
        ) from error

    def current() -> ApiServer:
        return ApiServer(host, int(port), authority, (folder / "token").read_text().strip())

    return current, namespace


def of_kubeconfig(context: str | None, file: Path | None) -> tuple[Credentials, str]:
    """And the context's namespace; without ``context`` the current one. Raises UsageError for what cannot be used."""
    from kubernetes import client
    from kubernetes.config import kube_config

    from watcher.idle import kubeconfig

    load: Any = kube_config.load_kube_config  # the package carries types for some of its functions only
    configuration = client.Configuration()
    try:
        namespace = kubeconfig.namespace_of(context, file)
        load(config_file=kubeconfig.location(file), context=context, client_configuration=configuration)
    except kubeconfig.UNUSABLE as error:
        raise UsageError(
            f"the kubeconfig cannot be used: {error}", advice="`kubectl config get-contexts` lists what there is"
        ) from error
    _refuse(configuration)
    return lambda: _server(configuration), namespace


def _refuse(configuration: Any) -> None:
    if configuration.proxy:
        raise UsageError(
            f"the context goes through a proxy ({configuration.proxy}), whose timeout would be measured",
            advice="run this inside the cluster, or with a context that connects directly",
        )
    if not configuration.verify_ssl:
        raise UsageError("the context does not verify the API server's certificate", advice="give it a CA certificate")


def _server(configuration: Any) -> ApiServer:
    where = urlsplit(configuration.host)
    authority = Path(configuration.ssl_ca_cert).read_text() if configuration.ssl_ca_cert else ""
    # Runs an exec plugin or refreshes a token, where the user has one that ran out.
    # Its key's name has changed between releases of the package.
    token = configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    certificate = None
    if configuration.cert_file and configuration.key_file:
        certificate = (configuration.cert_file, configuration.key_file)
    return ApiServer(
        host=where.hostname or "",
        port=where.port or 443,
        ca_pem=authority,
        token=token.removeprefix("Bearer ").strip(),
        client_certificate=certificate,
        server_name=configuration.tls_server_name,
    )


__all__ = ["in_pod", "of_kubeconfig"]
