"""Every TCP sysctl that could decide a cell, pinned. What the host happens to use must not reach a verdict."""

from __future__ import annotations

from watcher.lab.namespace import Namespace

KERNEL_KEEPALIVE_SECONDS = (7200.0, 75.0, 9)
"""Linux's own idle, interval (seconds) and count, in force where a program asks for keepalive without numbers."""

_TCP: dict[str, int | str] = {
    # The one algorithm that every kernel lets any namespace choose; cubic is refused where the host does not allow it.
    "net.ipv4.tcp_congestion_control": "reno",
    "net.ipv4.tcp_retries1": 3,
    "net.ipv4.tcp_retries2": 15,
    "net.ipv4.tcp_syn_retries": 6,
    "net.ipv4.tcp_synack_retries": 5,
    "net.ipv4.tcp_orphan_retries": 0,
    "net.ipv4.tcp_fin_timeout": 60,
    "net.ipv4.tcp_timestamps": 1,
    "net.ipv4.tcp_sack": 1,
    "net.ipv4.tcp_window_scaling": 1,
    "net.ipv4.tcp_mtu_probing": 0,
    "net.ipv4.tcp_fastopen": 0,
    "net.ipv4.tcp_early_retrans": 3,
    "net.ipv4.tcp_ecn": 0,
}


def kernel_keepalive(scale: float) -> tuple[int, int, int]:
    """The kernel's keepalive divided by the scale, in the whole seconds that it keeps."""
    idle, interval, count = KERNEL_KEEPALIVE_SECONDS
    return max(1, round(idle / scale)), max(1, round(interval / scale)), count


def endpoint(scale: float) -> dict[str, int | str]:
    """Sysctls of a client's or the cluster's namespace."""
    idle, interval, count = kernel_keepalive(scale)
    return {
        **_TCP,
        "net.ipv4.tcp_keepalive_time": idle,
        "net.ipv4.tcp_keepalive_intvl": interval,
        "net.ipv4.tcp_keepalive_probes": count,
    }


def path(established_seconds: int | None, *, loose: bool = False, liberal: bool = False) -> dict[str, int | str]:
    """Sysctls of a path's namespace. A flow once forgotten stays forgotten, unless ``loose`` lets conntrack pick flows
    up in mid-stream; ``liberal``: a packet outside the window is not INVALID.
    """
    return {
        "net.netfilter.nf_conntrack_tcp_timeout_established": established_seconds or 432_000,
        "net.netfilter.nf_conntrack_tcp_loose": int(loose),
        "net.netfilter.nf_conntrack_tcp_be_liberal": int(liberal),
        "net.netfilter.nf_conntrack_tcp_max_retrans": 100,
        "net.netfilter.nf_conntrack_tcp_timeout_unacknowledged": 432_000,
        "net.netfilter.nf_conntrack_tcp_timeout_max_retrans": 432_000,
    }


def wrong(namespace: Namespace, pinned: dict[str, int | str]) -> dict[str, str]:
    """Those that read back differently from what was pinned: name to what the kernel says now."""
    now = namespace.read_sysctls(pinned)
    return {name: now[name] for name, value in pinned.items() if now[name] != str(value)}
