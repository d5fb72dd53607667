"""etcd for one lab: on a unix socket, in memory, gone with the lab."""

from __future__ import annotations

from pathlib import Path

# etcd wants a port even here; it becomes a part of the file's name.
_SOCKET = "etcd.sock:0"
_PEERS = "peers.sock:0"
# A single member waits for the others' votes before it elects itself: with the released values for up to a second.
_HEARTBEAT_MILLISECONDS = 20
_ELECTION_MILLISECONDS = 100


def arguments(binary: Path, private: Path, *, quota_octets: int | None = None) -> list[str]:
    """To be run in ``private``, since etcd takes the name of a unix socket but no path.

    On a socket in a private folder it has no port that could be in use or reached by a client under test, and every
    API server finds it from whatever network namespace it is in: paths belong to the mount namespace.
    ``quota_octets`` is how much it keeps before it takes no more; None is etcd's own 2 GiB.
    """
    quota = [] if quota_octets is None else [f"--quota-backend-bytes={quota_octets}"]
    return [
        str(binary),
        f"--data-dir={private / 'etcd'}",
        f"--listen-client-urls=unix://{_SOCKET}",
        f"--advertise-client-urls=unix://{_SOCKET}",
        f"--listen-peer-urls=unix://{_PEERS}",
        f"--initial-advertise-peer-urls=unix://{_PEERS}",
        f"--initial-cluster=default=unix://{_PEERS}",
        f"--heartbeat-interval={_HEARTBEAT_MILLISECONDS}",
        f"--election-timeout={_ELECTION_MILLISECONDS}",
        "--log-level=warn",
        *quota,
    ]


def listens(private: Path) -> bool:
    """Whether it can be connected to; before that, kube-apiserver would wait a second before each further attempt."""
    return socket_file(private).is_socket()


def socket_file(private: Path) -> Path:
    return private / _SOCKET


def endpoint(private: Path) -> str:
    """What kube-apiserver's ``--etcd-servers`` takes."""
    return f"unix://{socket_file(private)}"
