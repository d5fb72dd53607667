"""The path's memory of flows, as its kernel lists it, and the power to make it forget one."""

from __future__ import annotations

import errno

from pyroute2 import NFCTSocket
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

from watcher.lab.addresses import VIRTUAL_PORT
from watcher.lab.namespace import Namespace
from watcher.records import FlowKey

_TCP = 6
# enum tcp_conntrack in linux/netfilter/nf_conntrack_tcp.h
_STATES = (
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
)


def flows(namespace: Namespace, client_address: str, virtual_address: str) -> tuple[FlowKey, ...]:
    """The client's flows to the virtual address that the path still knows, by client port."""

    def read() -> tuple[FlowKey, ...]:
        with NFCTSocket() as table:
            return tuple(
                sorted(
                    (flow for entry in table.dump() if (flow := _flow(entry, client_address, virtual_address))),
                    key=lambda flow: flow.port,
                )
            )

    return namespace.enter(read)


def forget(namespace: Namespace, client_address: str, port: int, virtual_address: str) -> None:
    """Deletes the flow's entry; harmless where it has expired already."""

    def delete() -> None:
        with NFCTSocket() as table:
            try:
                table.entry(
                    "del",
                    tuple_orig=NFCTAttrTuple(
                        saddr=client_address, daddr=virtual_address, proto=_TCP, sport=port, dport=VIRTUAL_PORT
                    ),
                )
            except NetlinkError as error:
                if error.code != errno.ENOENT:
                    raise

    namespace.enter(delete)


def _flow(entry: object, client_address: str, virtual_address: str) -> FlowKey | None:
    get = entry.get_attr  # type: ignore[attr-defined]  # pyroute2's messages are untyped
    original = get("CTA_TUPLE_ORIG")
    if original is None:
        return None
    addresses, ports = original.get_attr("CTA_TUPLE_IP"), original.get_attr("CTA_TUPLE_PROTO")
    if (
        ports.get_attr("CTA_PROTO_NUM") != _TCP
        or addresses.get_attr("CTA_IP_V4_SRC") != client_address
        or addresses.get_attr("CTA_IP_V4_DST") != virtual_address
    ):
        return None
    protocol = get("CTA_PROTOINFO")
    tcp = protocol.get_attr("CTA_PROTOINFO_TCP") if protocol is not None else None
    state = tcp.get_attr("CTA_PROTOINFO_TCP_STATE") if tcp is not None else None
    return FlowKey(
        port=ports.get_attr("CTA_PROTO_SRC_PORT"),
        state=_STATES[state] if state is not None and state < len(_STATES) else f"unknown ({state})",
        expires_seconds=get("CTA_TIMEOUT"),
        server=_source(get("CTA_TUPLE_REPLY")),
    )


def _source(reply: object) -> str | None:
    """Address and port that answers come from, that is: where the balancer sends the flow."""
    if reply is None:
        return None
    get = reply.get_attr  # type: ignore[attr-defined]  # pyroute2's messages are untyped
    return f"{get('CTA_TUPLE_IP').get_attr('CTA_IP_V4_SRC')}:{get('CTA_TUPLE_PROTO').get_attr('CTA_PROTO_SRC_PORT')}"
