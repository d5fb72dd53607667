"""The path's memory of flows, as its kernel lists it, and the power to make it forget one."""

from __future__ import annotations

import errno
from collections.abc import Collection

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


def flows(namespace: Namespace, client_address: str, fronts: Collection[str]) -> tuple[FlowKey, ...]:
    """The client's flows to these addresses that the path still knows, by client port."""

    def read() -> tuple[FlowKey, ...]:
        with NFCTSocket() as table:
            return tuple(
                sorted(
                    (flow for entry in table.dump() if (flow := _flow(entry, client_address, fronts))),
                    key=lambda flow: flow.port,
                )
            )

    return namespace.enter(read)


def forget(namespace: Namespace, client_address: str, port: int, virtual_address: str) -> None:
    """Deletes the flow's entry; harmless where it has expired already."""

    def delete() -> None:
        with NFCTSocket() as table:
            _delete(table, client_address, port, virtual_address, VIRTUAL_PORT)

    namespace.enter(delete)


def _delete(table: NFCTSocket, client: str, port: int, front: str, front_port: int) -> bool:
    """Whether there was one."""
    key = NFCTAttrTuple(saddr=client, daddr=front, proto=_TCP, sport=port, dport=front_port)
    try:
        table.entry("del", tuple_orig=key)
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
        return False
    return True


def forget_server(namespace: Namespace, server_address: str) -> int:
    """Deletes every entry whose answers come from this address, whatever address it was asked by; returns how many.

    As Calico's agent does when a pod of its node is deleted (projectcalico/felix#623, #1500).
    """

    def delete() -> int:
        deleted = 0
        with NFCTSocket() as table:
            for entry in tuple(table.dump()):  # read to its end before the socket is used for more
                original = entry.get_attr("CTA_TUPLE_ORIG")
                if original is None or (_source(entry.get_attr("CTA_TUPLE_REPLY")) or "").partition(":")[0] != (
                    server_address
                ):
                    continue
                addresses, ports = original.get_attr("CTA_TUPLE_IP"), original.get_attr("CTA_TUPLE_PROTO")
                if ports.get_attr("CTA_PROTO_NUM") != _TCP:
                    continue
                client, front = addresses.get_attr("CTA_IP_V4_SRC"), addresses.get_attr("CTA_IP_V4_DST")
                at = ports.get_attr("CTA_PROTO_SRC_PORT"), ports.get_attr("CTA_PROTO_DST_PORT")
                deleted += _delete(table, client, at[0], front, at[1])
        return deleted

    return namespace.enter(delete)


def _flow(entry: object, client_address: str, fronts: Collection[str]) -> FlowKey | None:
    get = entry.get_attr  # type: ignore[attr-defined]  # pyroute2's messages are untyped
    original = get("CTA_TUPLE_ORIG")
    if original is None:
        return None
    addresses, ports = original.get_attr("CTA_TUPLE_IP"), original.get_attr("CTA_TUPLE_PROTO")
    if (
        ports.get_attr("CTA_PROTO_NUM") != _TCP
        or addresses.get_attr("CTA_IP_V4_SRC") != client_address
        or addresses.get_attr("CTA_IP_V4_DST") not in fronts
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
