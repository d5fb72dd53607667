"""Do the soak's own counts agree with what the API server wrote down? Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from watcher.rehearsal.order import Touches
from watcher.totals import Totals, Update

SURE = (Update.OK, Update.NOT_VISIBLE, Update.OVERWRITTEN)
"""The API server has answered these with 200."""
PERHAPS = (Update.SLOW, Update.AWAY, Update.INTERRUPTED)
"""It may have, and the answer came too late, was lost, or nobody was there any more to read it."""


@dataclass(frozen=True)
class Updated:
    """One update of the trigger, as the API server wrote it down."""

    at: str
    """When it came in, in the API server's own words."""
    status: int
    nonce: str


def user_of(namespace: str, account: str) -> str:
    return f"system:serviceaccount:{namespace}:{account}"


def updates(lines: Iterable[str], user: str, namespace: str, trigger: str = "trigger") -> Iterator[Updated]:
    """Those of the trigger by ``user`` in an audit log; half a line at its end is passed over."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if not isinstance(event, dict):
            continue
        where = event.get("objectRef") or {}
        if (
            event.get("stage") != "ResponseComplete"
            or event.get("verb") not in ("patch", "update")
            or (event.get("user") or {}).get("username") != user
            or (where.get("resource"), where.get("namespace"), where.get("name")) != ("configmaps", namespace, trigger)
        ):
            continue
        yield Updated(
            at=str(event.get("requestReceivedTimestamp", "")),
            status=int((event.get("responseStatus") or {}).get("code", 0)),
            nonce=str(((event.get("requestObject") or {}).get("data") or {}).get("nonce", "")),
        )


def counted(found: Iterable[Updated]) -> Touches:
    found = list(found)
    statuses = Counter(each.status for each in found)
    return Touches(
        answered=statuses[200],
        others={str(status): count for status, count in sorted(statuses.items()) if status != 200},
        nonces=tuple(each.nonce for each in found if each.status == 200),
    )


def touches(lines: Iterable[str], user: str, namespace: str, trigger: str = "trigger") -> Touches:
    """How often the trigger was updated by ``user``, by an audit log."""
    return counted(updates(lines, user, namespace, trigger))


def disagreements(
    totals: Sequence[Totals], failures: Sequence[Mapping[str, str]], audit: Touches | None
) -> tuple[str, ...]:
    """Every way in which totals, failures (the data of each) and audit log contradict each other, in words."""
    found = []
    sure, perhaps = _counted(totals, SURE), _counted(totals, PERHAPS)
    if audit is not None:
        if not sure <= audit.answered <= sure + perhaps:
            most = f" to {sure + perhaps}" if perhaps else ""
            found.append(f"the totals say {sure}{most} answered touches, the audit log {audit.answered}")
        found += [
            f"failure of {_who(failure)}: no touch of nonce {failure.get('nonce')} is in the audit log"
            for failure in failures
            if failure.get("nonce") not in audit.nonces
        ]
    good = sum(each.updates.get(Update.OK, 0) for each in totals)
    for each in totals:
        for watcher in each.watchers:
            if watcher.touches > each.updates.get(Update.OK, 0):
                name = f"{watcher.stack}/{watcher.profile}"
                found.append(f"{name}: {watcher.touches} touches judged of {each.updates.get(Update.OK, 0)}")
    if good and not any(each.watchers for each in totals):
        found.append("touches were counted, but for no watcher")
    missed = sum(watcher.missed for each in totals for watcher in each.watchers)
    dropped = sum(each.failures_dropped for each in totals)
    if not missed - dropped <= len(failures) <= missed:
        found.append(f"the totals say {missed} misses ({dropped} not kept), there are {len(failures)} failures")
    twice = [key for key, count in Counter((_who(f), f.get("nonce")) for f in failures).items() if count > 1]
    found += [f"{who} is charged more than once with nonce {nonce}" for who, nonce in twice]
    return tuple(found)


def _counted(totals: Sequence[Totals], updates: Iterable[Update]) -> int:
    return sum(each.updates.get(update, 0) for each in totals for update in updates)


def _who(failure: Mapping[str, str]) -> str:
    return f"{failure.get('stack')}/{failure.get('profile')}"
