"""Run inside a fresh sandbox, by path, with nothing but the standard library: tries what the lab needs of the kernel.

Arguments: the outer network namespace, so that nothing is ever tried there; the paths of nft and ip. Prints one JSON
object: feature to null where it works, else to the error.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_TABLE = """\
table inet doctor {
    chain route {
        type filter hook forward priority filter; policy accept;
        ct state established counter accept
        ct state invalid counter drop
    }
    chain translate {
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr 192.0.2.1 tcp dport 443 dnat ip to 192.0.2.2
    }
}
"""


def _run(*command: str, stdin: str = "") -> None:
    if not command[0]:
        raise OSError("the tool is missing")
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode:
        raise OSError((done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0])


def _proc() -> None:
    if Path("/proc/self").readlink().name != str(os.getpid()):
        raise OSError("/proc is another PID namespace's")


def _conntrack() -> None:
    # Written, not only read: a container may show them read-only.
    for name in ("nf_conntrack_tcp_timeout_established", "nf_conntrack_tcp_loose"):
        place = Path("/proc/sys/net/netfilter", name)
        place.write_text(place.read_text())


def _packets() -> None:
    every_protocol = 0x0300  # ETH_P_ALL in network byte order
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, every_protocol).close()


def _tried(action: Callable[[], None]) -> str | None:
    try:
        action()
    except OSError as error:
        return str(error)
    return None


def main(outside: str, nft: str, ip: str) -> None:
    """Tries everything; refuses to touch the network of the machine itself."""
    if str(Path("/proc/self/ns/net").readlink()) == outside:
        sys.exit("not in a network namespace of its own")
    features = {
        "proc": _tried(_proc),
        "veth": _tried(lambda: _run(ip, "link", "add", "doctor0", "type", "veth", "peer", "name", "doctor1")),
        # Before conntrack: loading the rules is what makes the kernel bring conntrack's settings in.
        "nftables": _tried(lambda: _run(nft, "-f", "-", stdin=_TABLE)),
        "conntrack": _tried(_conntrack),
        "packets": _tried(_packets),
    }
    sys.stdout.write(json.dumps(features))


if __name__ == "__main__":
    main(*sys.argv[1:])
