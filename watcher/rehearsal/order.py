"""What the command outside hands to a cluster's stage, one line of JSON, and what the stage says back. Values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from watcher.lab.control_plane.binaries import Binaries
from watcher.model import Balancer, Ending, InvalidPackets, Name, PositiveSeconds, ServerKeepalive, Timing, Value
from watcher.totals import Totals

NAMESPACE = "watcher"
ACCOUNT = "watcher"
"""The soak's own, as ``deploy/base`` names them."""


class PathOrder(Value):
    """The path of one cluster, in real seconds of this rehearsal (``lab.path.PathPlan``)."""

    id: str
    timing: Timing
    ending: Ending
    server_keepalive: ServerKeepalive
    balancer: Balancer
    invalid_packets: InvalidPackets = InvalidPackets.DROP
    same_node: bool = False


class ClusterOrder(Value):
    """One cluster with its soak."""

    name: Name
    path: PathOrder
    folder: str
    """Absolute; all that is kept of this cluster lies in it."""
    control_plane: Binaries | None = None
    """The real one; None is the embedded one."""
    namespace: Name = NAMESPACE
    account: Name = ACCOUNT
    manifests: str | None = None
    """What ``kubectl apply`` is given; None where the rehearsal makes namespace, account and rights by itself."""
    kubectl: str | None = None
    command: tuple[str, ...]
    """The soak, as arguments."""
    environment: dict[str, str]
    measure: tuple[str, ...] = ()
    """What measures the path beside the soak, as arguments; it writes JSON. Empty: nothing does."""
    seconds: PositiveSeconds | None = None
    """How long the soak runs."""
    touches: Annotated[int, Field(ge=1)] | None = None
    """After how many touches in its totals it is ended; whatever comes first."""
    etcd_quota_octets: int | None = None


class Ready(Value):
    """The soak has been started."""

    kind: Literal["ready"] = "ready"
    control_plane: str
    seconds: float
    """How long that took."""


class Progress(Value):
    """The totals as they stand in the cluster, when they have changed."""

    kind: Literal["progress"] = "progress"
    seconds: float
    """Since the soak was started."""
    totals: tuple[Totals, ...]


class Touches(Value):
    """The soak's updates of the trigger, as the API server's own audit log has them."""

    answered: int
    """With 200."""
    others: dict[str, int] = Field(default_factory=dict)
    """With another status, by status."""
    nonces: tuple[str, ...] = ()
    """Of those with 200, in the log's order."""


class Ended(Value):
    """The soak has ended, and all that it left in its cluster has been read."""

    kind: Literal["ended"] = "ended"
    status: int
    """Of its process; negative is the signal that ended it."""
    seconds: float
    totals: tuple[Totals, ...]
    failures: int
    audit: Touches | None = None
    """None on the embedded control plane, which keeps no such log."""
    disagreements: tuple[str, ...] = ()
    """Where totals, failures and audit log do not say the same."""
    problems: tuple[str, ...] = ()
    measured: str = ""
    """What was found of the path beside the soak, in words."""
    figures: dict[str, float] = Field(default_factory=dict)


class Broken(Value):
    """The lab failed; nothing can be known of this cluster."""

    kind: Literal["broken"] = "broken"
    message: str


Said = Annotated[Ready | Progress | Ended | Broken, Field(discriminator="kind")]
SAID: TypeAdapter[Said] = TypeAdapter(Said)
