"""kube-apiserver's command line and files. What a client can notice is left as a release sets it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from watcher.lab.addresses import (
    API_KEEPALIVE_PORT,
    HEADLESS_NAME,
    MOST_OWN_SERVERS,
    VIRTUAL_ADDRESS,
    own_link,
    own_virtual,
)
from watcher.lab.control_plane import etcd
from watcher.lab.control_plane.certificates import Authority
from watcher.lab.namespace import Namespace

WATCH_SECONDS = 1800
"""A watch without timeoutSeconds ends at a random time between this and twice as much; true seconds."""
SERVICE_RANGE = "10.96.0.0/12"
"""kubeadm's own; its first address, which the API server takes for its Service, is ``VIRTUAL_ADDRESS``."""
NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
_ADMIN = "watcher-lab"
_OWN = ("--endpoint-reconciler-type=none", "--shutdown-watch-termination-grace-period=1s")
"""The second, in real seconds whatever the scale: how long it takes over ending all of its watches."""

AUDIT_POLICY: dict[str, object] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        # The server talking to itself is most of the traffic and says nothing about any client.
        {"level": "None", "users": ["system:apiserver"]},
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*"]},
        # With the nonce, so that a touch in the log is the touch in the journal.
        {"level": "Request", "resources": [{"group": "", "resources": ["configmaps"]}]},
        # Never more than this for the rest: bodies of token requests are secrets.
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True)
class Place:
    """Where one API server lives. The harness and the cluster's namespace must have a route to ``address``."""

    namespace: Namespace
    address: str
    port: int = API_KEEPALIVE_PORT


@dataclass(frozen=True)
class Files:
    """What all API servers of one lab share, written to a private folder."""

    private: Path
    certificate: Path
    key: Path
    tokens: Path
    signing_key: Path
    audit_policy: Path

    @classmethod
    def write(cls, private: Path, authority: Authority, addresses: list[str], admin_token: str) -> Files:
        """``addresses``: those at which clients reach a server, for the serving certificate. Scenarios' own are added:
        one certificate serves all, since clients come by one virtual address to several servers.
        """
        files = cls(
            private,
            private / "serving.crt",
            private / "serving.key",
            private / "tokens.csv",
            private / "service-accounts.key",
            private / "audit-policy.json",
        )
        own = [name(number) for number in range(1, MOST_OWN_SERVERS + 1) for name in (own_address, own_virtual)]
        names = dict.fromkeys([*addresses, VIRTUAL_ADDRESS, *own, *NAMES, HEADLESS_NAME])
        authority.issue(list(names), files.certificate, files.key)
        _write_secret(files.tokens, f'{admin_token},{_ADMIN},{_ADMIN},"system:masters"\n'.encode())
        _write_secret(
            files.signing_key,
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            ),
        )
        files.audit_policy.write_text(json.dumps(AUDIT_POLICY))
        return files


def own_address(number: int) -> str:
    """Of the API server of a scenario's own."""
    return own_link(number).far


def _write_secret(file: Path, content: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(content)


def arguments(
    binary: Path,
    address: str,
    files: Files,
    *,
    audit_log: Path,
    scale: float,
    port: int = API_KEEPALIVE_PORT,
    own: bool = False,
) -> list[str]:
    """One server at ``address``; any number of them may share the files and the etcd.

    ``own``: it is a scenario's own, to be harmed. It stays out of the endpoints of ``default/kubernetes``, by which
    every cell's kube-proxy would lead to it; and it ends its watches when it is asked to end, as in a cluster that
    cares for its clients. A release leaves that off: watches by HTTP/1.1 then go on for 60 s after SIGTERM.

    Its TCP keepalive (180 s) and its bookmarks (a minute) are constants in its source and do not scale; how long it
    lets a watch live is a flag, and does.
    """
    return [
        str(binary),
        f"--etcd-servers={etcd.endpoint(files.private)}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={port}",
        f"--tls-cert-file={files.certificate}",
        f"--tls-private-key-file={files.key}",
        f"--token-auth-file={files.tokens}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={files.signing_key}",
        f"--service-account-signing-key-file={files.signing_key}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--min-request-timeout={max(1, round(WATCH_SECONDS / scale))}",
        f"--audit-policy-file={files.audit_policy}",
        f"--audit-log-path={audit_log}",
        "--profiling=false",
        *(_OWN if own else ()),
    ]
