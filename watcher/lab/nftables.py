"""The path's rules: the load balancer's DNAT, what becomes of forgotten flows, and room for faults to cut flows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from watcher.errors import LabFailure
from watcher.lab.addresses import SERVER_SIDE, VIRTUAL_PORT, Server
from watcher.lab.namespace import Namespace
from watcher.model import Ending, InvalidPackets

TABLE = "path"
CUT_TO_SERVER = "blackhole-to-server"
CUT_TO_CLIENT = "blackhole-to-client"
FORGOTTEN_TO_SERVER = "forgotten-to-server"
FORGOTTEN_TO_CLIENT = "forgotten-to-client"


def rules(ending: Ending, virtual: str, server: Server | None, *, invalid: InvalidPackets = InvalidPackets.DROP) -> str:
    """The path's table as ``nft`` reads it; without ``server`` somebody else balances, and the rules only cut.

    A packet of a forgotten flow is INVALID to conntrack (or NEW, where it picks up flows in mid-stream). From the
    client it goes to the virtual address, which the path owns, and so meets ``input``; from the server it meets
    ``forward``. Without both drops the path's own kernel would answer with a reset and betray what ought to be silence.
    """
    balance = "" if server is None else _balance(ending, virtual, server, invalid)
    return f"""
table ip {TABLE} {{
  counter {CUT_TO_SERVER} {{ }}
  counter {CUT_TO_CLIENT} {{ }}
  counter {FORGOTTEN_TO_SERVER} {{ }}
  counter {FORGOTTEN_TO_CLIENT} {{ }}
  set cut-to-server {{ type ipv4_addr . inet_service; }}
  set cut-to-client {{ type ipv4_addr . inet_service; }}
  set dark {{ type ipv4_addr; }}
  chain cut {{
    type filter hook prerouting priority raw; policy accept;
    ip saddr . tcp sport @cut-to-server counter name {CUT_TO_SERVER} drop
    ip daddr . tcp dport @cut-to-client counter name {CUT_TO_CLIENT} drop
    ip saddr @dark counter name {CUT_TO_SERVER} drop
    ip daddr @dark counter name {CUT_TO_CLIENT} drop
  }}
{balance}}}
"""


def _balance(ending: Ending, virtual: str, server: Server, invalid: InvalidPackets) -> str:
    reset = "reject with tcp reset"
    to_server = reset if ending in (Ending.RESET_ON_NEXT_PACKET, Ending.RESET_CLIENT_ON_NEXT_PACKET) else "drop"
    to_client = reset if ending is Ending.RESET_ON_NEXT_PACKET else "drop"
    if invalid is InvalidPackets.FORWARD:
        to_client = "accept"
    inbound = (
        f"iifname {SERVER_SIDE} ip protocol tcp ct state new counter name {FORGOTTEN_TO_CLIENT} drop"
        if ending is Ending.BLOCKED_UNTIL_OUTBOUND
        else ""
    )
    return f"""  chain balance {{
    type nat hook prerouting priority dstnat; policy accept;
    {_lead(virtual, server)}
  }}
  chain transit {{
    type filter hook forward priority filter; policy accept;
    ip protocol tcp ct state invalid counter name {FORGOTTEN_TO_CLIENT} {to_client}
    {inbound}
  }}
  chain own {{
    type filter hook input priority filter; policy accept;
    ip daddr {virtual} tcp dport {VIRTUAL_PORT} ct state invalid counter name {FORGOTTEN_TO_SERVER} {to_server}
  }}
"""


def _lead(virtual: str, server: Server) -> str:
    return f"ip daddr {virtual} tcp dport {VIRTUAL_PORT} dnat to {server.address}:{server.port}"


def lead(namespace: Namespace, virtual: str, server: Server | None) -> None:
    """From now on sends new connections there; None: to the path's own kernel, which refuses them if nobody listens.

    Flows that exist stay where they are.
    """
    rule = "" if server is None else f"add rule ip {TABLE} balance {_lead(virtual, server)}\n"
    load(namespace, f"flush chain ip {TABLE} balance\n{rule}")


def load(namespace: Namespace, ruleset: str) -> None:
    """Loads rules into the namespace, all or nothing. Raises LabFailure with nft's own words."""
    done = namespace.enter(
        lambda: subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, capture_output=True, check=False)
    )
    if done.returncode:
        raise LabFailure(
            f"nft refuses the rules of {namespace.name}: {done.stderr.strip()}",
            advice="`watcher doctor` looks for the cause",
        )


def cut(namespace: Namespace, client_address: str, ports: Sequence[int], *, to_server: bool, to_client: bool) -> None:
    """From now on drops these flows' packets, in the directions asked for, before conntrack sees them."""
    elements = ", ".join(f"{client_address} . {port}" for port in ports)
    if elements:
        sets = [name for name, wanted in (("cut-to-server", to_server), ("cut-to-client", to_client)) if wanted]
        load(namespace, "".join(f"add element ip {TABLE} {name} {{ {elements} }}\n" for name in sets))


def darken(namespace: Namespace, client_address: str) -> None:
    """From now on drops whatever the client sends or is sent, in flows that exist and in new ones."""
    load(namespace, f"add element ip {TABLE} dark {{ {client_address} }}\n")


def mend(namespace: Namespace) -> None:
    """Lets every packet pass again; harmless where nothing is cut."""
    load(namespace, "".join(f"flush set ip {TABLE} {name}\n" for name in ("cut-to-server", "cut-to-client", "dark")))


def refuse_newcomers(namespace: Namespace, address: str) -> None:
    """From now on a router says of this address that it is unreachable to who opens a connection to it, each time.

    An unreachable route says it, too, but to each address once a second (``ip_error``): a client that repeats what is
    in flight has then used up what another connection of its address should have heard.
    """
    namespace.write_sysctls({"net.ipv4.icmp_ratelimit": 0})
    rule = f"ip daddr {address} tcp flags & (syn | ack) == syn reject with icmp host-unreachable"
    load(
        namespace,
        f"table ip {_gone(address)} {{\n  chain newcomers {{\n"
        f"    type filter hook prerouting priority filter; policy accept;\n    {rule}\n  }}\n}}\n",
    )


def admit_newcomers(namespace: Namespace, address: str) -> None:
    """Undoes that; harmless where it was not done."""
    load(namespace, f"add table ip {_gone(address)}\ndelete table ip {_gone(address)}\n")


def _gone(address: str) -> str:
    return f"gone-{address.replace('.', '-')}"


def counters(namespace: Namespace) -> dict[str, int]:
    """Packets per named counter."""
    done = namespace.enter(
        lambda: subprocess.run(["nft", "-j", "list", "counters"], text=True, capture_output=True, check=False)
    )
    if done.returncode:
        raise LabFailure(f"nft cannot list the counters of {namespace.name}: {done.stderr.strip()}")
    entries = (entry.get("counter") for entry in json.loads(done.stdout)["nftables"])
    return {entry["name"]: int(entry["packets"]) for entry in entries if entry}
