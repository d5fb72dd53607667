"""The path's rules: the load balancer's DNAT, what becomes of forgotten flows, and room for faults to cut flows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from watcher.errors import LabFailure
from watcher.lab.addresses import API_ADDRESS, VIRTUAL_ADDRESS, VIRTUAL_PORT
from watcher.lab.namespace import Namespace
from watcher.model import Ending

TABLE = "path"
CUT_TO_SERVER = "blackhole-to-server"
CUT_TO_CLIENT = "blackhole-to-client"
FORGOTTEN_TO_SERVER = "forgotten-to-server"
FORGOTTEN_TO_CLIENT = "forgotten-to-client"


def rules(ending: Ending, api_port: int | None) -> str:
    """The path's table as ``nft`` reads it; without ``api_port`` somebody else balances, and the rules only cut.

    A packet of a forgotten flow is INVALID to conntrack. From the client it goes to the virtual address, which the
    path owns, and so meets ``input``; from the server it meets ``forward``. Without both drops the path's own kernel
    would answer with a reset and betray what ought to be silence.
    """
    refuse = "reject with tcp reset" if ending is Ending.RESET_ON_NEXT_PACKET else "drop"
    balance = "" if api_port is None else _balance(api_port, refuse)
    return f"""
table ip {TABLE} {{
  counter {CUT_TO_SERVER} {{ }}
  counter {CUT_TO_CLIENT} {{ }}
  counter {FORGOTTEN_TO_SERVER} {{ }}
  counter {FORGOTTEN_TO_CLIENT} {{ }}
  set cut-to-server {{ type ipv4_addr . inet_service; }}
  set cut-to-client {{ type ipv4_addr . inet_service; }}
  chain cut {{
    type filter hook prerouting priority raw; policy accept;
    ip saddr . tcp sport @cut-to-server counter name {CUT_TO_SERVER} drop
    ip daddr . tcp dport @cut-to-client counter name {CUT_TO_CLIENT} drop
  }}
{balance}}}
"""


def _balance(api_port: int, refuse: str) -> str:
    return f"""  chain balance {{
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr {VIRTUAL_ADDRESS} tcp dport {VIRTUAL_PORT} dnat to {API_ADDRESS}:{api_port}
  }}
  chain transit {{
    type filter hook forward priority filter; policy accept;
    ip protocol tcp ct state invalid counter name {FORGOTTEN_TO_CLIENT} {refuse}
  }}
  chain own {{
    type filter hook input priority filter; policy accept;
    ip daddr {VIRTUAL_ADDRESS} tcp dport {VIRTUAL_PORT} ct state invalid counter name {FORGOTTEN_TO_SERVER} {refuse}
  }}
"""


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


def mend(namespace: Namespace) -> None:
    """Lets every cut flow pass again; harmless where none is cut."""
    load(namespace, f"flush set ip {TABLE} cut-to-server\nflush set ip {TABLE} cut-to-client\n")


def counters(namespace: Namespace) -> dict[str, int]:
    """Packets per named counter."""
    done = namespace.enter(
        lambda: subprocess.run(["nft", "-j", "list", "counters"], text=True, capture_output=True, check=False)
    )
    if done.returncode:
        raise LabFailure(f"nft cannot list the counters of {namespace.name}: {done.stderr.strip()}")
    entries = (entry.get("counter") for entry in json.loads(done.stdout)["nftables"])
    return {entry["name"]: int(entry["packets"]) for entry in entries if entry}
