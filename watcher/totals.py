"""What a soak has counted and what it reports of a miss: the data that goes into a cluster's ConfigMaps and out again.

Written by the soak, read by ``watcher summarize`` on another machine, perhaps by another version: what is read is
untrusted, so that every number and every text has a bound. Wall-clock times are ISO 8601 in UTC; durations are seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from watcher.model import Name, Settings, Value

TOTALS_VERSION = 1
MOST_WATCHERS = 200
MOST_SESSIONS = 32
MOST_VERSIONS = 8

Count = Annotated[int, Field(ge=0, le=10**15)]
Text = Annotated[str, Field(max_length=200)]
LongText = Annotated[str, Field(max_length=4000)]
Duration = Annotated[float, Field(ge=0, le=10**10, allow_inf_nan=False)]
Instant = Annotated[str, Field(max_length=40)]


class Update(StrEnum):
    """What became of one touch as an update. Only ``ok`` says anything about watchers."""

    OK = "ok"
    AWAY = "away"
    """No answer: refused, unreachable, timed out, TLS."""
    DENIED = "denied"
    """401 or 403."""
    CONFLICT = "conflict"
    """409."""
    REFUSED = "refused"
    """Any other answer than 2xx: quota, etcd full, 5xx."""
    SLOW = "slow"
    """It took so long that its own slowness decides."""
    NOT_VISIBLE = "not-visible"
    """Answered, but a GET on a fresh connection did not see it within the deadline."""
    OVERWRITTEN = "overwritten"
    """Somebody else's touch replaced it before the deadline, and at least one watcher had not seen it."""
    INTERRUPTED = "interrupted"
    """The supervisor ended before it could be decided."""


class Tried(StrEnum):
    """What a connection that was idle since the last touch answered when it was tried."""

    ALIVE = "alive"
    CLOSED = "closed"
    """FIN before or at the try."""
    RESET = "reset"
    """RST came by itself, before the try."""
    RESET_ON_NEXT_PACKET = "reset-on-next-packet"
    SILENT = "silent"
    """Nothing came back: no acknowledgement, no reset."""


class Keepalive(Value):
    """What was measured on a watcher's quiet connection between two touches, from its kernel's counters."""

    by: Literal["none", "client", "server", "both", "unknown"]
    """Who sends on a quiet connection; ``unknown`` where it was never quiet for long enough, or cannot be read."""
    interval_seconds: Duration | None = None
    """Mean time between two signs of life."""
    quiet_seconds: Duration = 0
    """How long was looked at in all."""
    option: Text = ""
    """What the socket's own options say, in words: ``off``, ``on 30/10/3``."""


class WatcherTotals(Value):
    """One stack with one profile, in one instance of the soak."""

    stack: Name
    profile: Name
    library: Text = ""
    version: Text = ""
    runtime: Text = ""
    language: Text = ""
    settings: Settings = Settings()
    observed: Count = 0
    missed: Count = 0
    late: Count = 0
    """Of the missed: observed after the deadline. The others were never seen."""
    after_restart: Count = 0
    """Of the observed: only because the supervisor had started the program again since the touch before."""
    restarts: Count = 0
    """Ends of the program that the supervisor had not asked for."""
    reconnects: Count = 0
    """``watching`` said again by the same process."""
    delay_sum_seconds: Duration = 0
    worst_delay_seconds: Duration = 0
    """Of all observations, late ones included."""
    keepalive: Keepalive | None = None

    @property
    def touches(self) -> int:
        """How many touches were judged for this watcher."""
        return self.observed + self.missed


class Totals(Value):
    """``data["totals.json"]`` of the ConfigMap ``totals-<instance>``. Counts only ever grow."""

    totals_version: Literal[1] = 1
    instance: Name
    cluster: Text = ""
    """The user's own words for it (``WATCHER_CLUSTER``): ``aks public westeurope``."""
    interval: Text
    """``CHANGE_INTERVAL_SECONDS`` as given: seconds or cron."""
    deadline_seconds: Duration
    scale: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """1 outside the lab."""
    began_at: Instant
    last_at: Instant
    running_seconds: Duration = 0
    """Sum over all sessions; gaps in which no supervisor ran are not in it."""
    updates: dict[Update, Count] = Field(default_factory=dict)
    reused: dict[Tried, Count] = Field(default_factory=dict)
    """Tries of the connection that nobody used since the touch before."""
    new_failed: Count = 0
    """Probes on a new connection, at a touch, that failed."""
    failures_dropped: Count = 0
    """Misses whose ConfigMap could not be kept: too many, too old."""
    versions: dict[Text, tuple[Text, ...]] = Field(default_factory=dict)
    """``watcher``, ``kubernetes``, ``node``, ``python`` …: the values seen, newest last, ``MOST_VERSIONS`` at most."""
    watchers: Annotated[tuple[WatcherTotals, ...], Field(max_length=MOST_WATCHERS)] = ()
    sessions: dict[Text, Count] = Field(default_factory=dict)
    """Of each spool, by its id, the number of the last portion merged in; so that none is merged twice."""
    sessions_ever: Count = 0
    """How many spools there were: one for each pod; a container that is started again goes on with its own."""


class Failure(Value):
    """``data`` of a ``failure-<ts>`` ConfigMap: one watcher missed one touch. All values are strings there."""

    instance: Text = ""
    cluster: Text = ""
    node: Text = ""
    stack: Text
    profile: Text
    nonce: Text
    resource_version: Text = ""
    touched_at: Instant
    answered_at: Instant = ""
    visible_at: Instant = ""
    """When a GET on a fresh connection saw the nonce."""
    missed_at: Instant
    deadline_seconds: Duration
    reused: Text = ""
    """What the idle connection said at this touch (``Tried``)."""
    new: Text = ""
    """What the fresh one said: ``ok`` or the error."""
    process: Text = ""
    """``running since …``, ``restarting``: the watcher's program at the touch."""
    sockets: LongText = ""
    """The program's TCP sockets as the kernel lists them, one a line."""
    packets: LongText = ""
    """Where a capture of this time is, when there is one."""
    versions: LongText = ""
    observed_at: Instant = ""
    """Added later, when the watcher saw it after all."""
    delay_seconds: Annotated[float, Field(ge=0, le=10**10)] | None = None
    reason: Text = ""


class Export(Value):
    """All that ``watcher summarize`` reads of one cluster; ``watcher summarize --export FILE`` saves it."""

    export_version: Literal[1] = 1
    cluster: Text
    """The name given on the command line."""
    exported_at: Instant
    totals: tuple[Totals, ...] = ()
    failures: tuple[Failure, ...] = ()
    failures_read: Count = 0
    """How many ``failure-*`` (and ``faliure-*``) there were; ``failures`` holds the newest of them."""
    problems: tuple[Text, ...] = ()
    """What was in the cluster and could not be read, in words."""
