"""Paths, and what goes wrong on them: scenarios."""

from __future__ import annotations

from enum import StrEnum

from pydantic import model_validator

from watcher.model.values import Name, PositiveSeconds, Seconds, Value


class Ending(StrEnum):
    """How a path treats a flow that it has forgotten."""

    NEVER = "never"
    SILENT = "silent"
    RESET_ON_NEXT_PACKET = "reset-on-next-packet"
    RESET_CLIENT_ON_NEXT_PACKET = "reset-client-on-next-packet"
    """Only who is inside is told, when it speaks; what comes from outside is dropped."""
    BLOCKED_UNTIL_OUTBOUND = "blocked-until-outbound"
    """Nothing comes in until the client sends again; then the flow is known as before."""
    CLOSE = "close"
    """A proxy that counts data, not packets, closes both of its sides with FIN."""
    RESET_BOTH = "reset-both"
    RESET_SERVER = "reset-server"


class ServerKeepalive(StrEnum):
    """Whether the server side of a path sends TCP keepalive probes of its own."""

    OFF = "off"
    THREE_MINUTES = "180s"


class Balancer(StrEnum):
    """Who sends a client's connection on to the API server."""

    LAB = "lab"
    """A DNAT rule of the lab's own."""
    KUBE_PROXY_IPTABLES = "kube-proxy-iptables"
    KUBE_PROXY_NFTABLES = "kube-proxy-nftables"


class InvalidPackets(StrEnum):
    """What becomes of a packet that conntrack calls INVALID although its flow exists."""

    DROP = "drop"
    """Whoever balances drops it, or does not: kube-proxy's own rules, or the lab's."""
    FORWARD = "forward"
    """No rule of the lab's drops it: it goes on with the address that it came with."""
    LIBERAL = "liberal"
    """conntrack is told to be liberal, and does not call it so."""


class Backend(StrEnum):
    """Which API server a scenario's clients are connected to."""

    SHARED = "shared"
    """The one of all cells."""
    OWN = "own"
    """One of the scenario's own, to do harm to; the shared one takes over from it."""


class Path(Value):
    """What stands between client and API server; one file in ``paths/``."""

    name: Name
    description: str
    idle_timeout_seconds: PositiveSeconds | None = None
    ending: Ending = Ending.NEVER
    end_delay_seconds: Seconds = 0
    server_keepalive: ServerKeepalive = ServerKeepalive.OFF
    balancer: Balancer = Balancer.LAB
    proxy: bool = False
    """A layer-4 proxy stands between the path and the API server: two connections for each of the client's."""
    invalid_packets: InvalidPackets = InvalidPackets.DROP
    headless: bool = False
    """Clients connect by a name that stands for the server's own address, as a headless Service's does: nothing is
    translated on the way."""
    same_node: bool = False
    """The server's pod is on the client's own node, whose kernel is then the one that it is taken from."""
    source: str

    @model_validator(mode="after")
    def _ending_fits(self) -> Path:
        if self.ending is Ending.CLOSE and not self.proxy:
            raise ValueError("only a proxy closes: ending 'close' needs proxy = true")
        if self.proxy and self.ending not in (Ending.NEVER, Ending.CLOSE):
            raise ValueError(f"a proxy does not end connections by {self.ending.value!r}: 'close', or no idle timeout")
        if self.proxy and (self.balancer is not Balancer.LAB or self.server_keepalive is not ServerKeepalive.OFF):
            raise ValueError("a proxy sends no probes and needs no balancer: leave balancer and server_keepalive out")
        if (self.idle_timeout_seconds is None) != (self.ending is Ending.NEVER):
            raise ValueError(
                "a path with idle_timeout_seconds needs an ending other than 'never', and the other way round"
            )
        if self.balancer is not Balancer.LAB and self.idle_timeout_seconds is not None:
            raise ValueError(f"{self.balancer.value} forgets no flow: leave idle_timeout_seconds and ending out")
        if self.balancer is not Balancer.LAB and self.server_keepalive is ServerKeepalive.OFF:
            raise ValueError(
                f"{self.balancer.value} leads to the API server itself: server_keepalive is"
                f" {ServerKeepalive.THREE_MINUTES.value!r}"
            )
        if (self.headless or self.same_node) and self.balancer is Balancer.LAB:
            raise ValueError("headless and same_node are of a cluster's pods: balancer must be a kube-proxy")
        return self


class Evidence(Value):
    """Names of the proofs (``judge/proofs.py``) that must hold before and after the touch."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Scenario(Value):
    """Path + fault + gap + the evidence that proves it; one file in ``scenarios/``."""

    name: Name
    description: str
    path: Name
    fault: Name
    gap_seconds: Seconds = 30
    quiet_seconds: PositiveSeconds | None = None
    """Only where no fault is applied: how long after the control touch the touch comes."""
    window_seconds: PositiveSeconds = 120
    server_keepalive: ServerKeepalive | None = None
    """Overrides the path's, for scenarios that differ in nothing else."""
    fault_seconds: PositiveSeconds | None = None
    """How long the fault is in force before it is healed; the gap is counted from then. None: until the cell closes."""
    busy_interval_seconds: PositiveSeconds | None = None
    """Only where no fault is applied: the trigger is touched this often while ``quiet_seconds`` last."""
    backend: Backend = Backend.SHARED
    proof: Evidence
    threads: tuple[str, ...] = ()
    """Bug reports that this scenario reproduces."""

    @model_validator(mode="after")
    def _touches_fit(self) -> Scenario:
        if self.busy_interval_seconds is not None and self.quiet_seconds is None:
            raise ValueError("busy_interval_seconds needs quiet_seconds: for how long")
        return self
