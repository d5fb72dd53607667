"""Puts the soak together from its settings: the one place that knows all of its parts."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from apscheduler.triggers.interval import IntervalTrigger

from watcher import plan
from watcher.api import ApiServer
from watcher.catalog import Catalog
from watcher.errors import UsageError
from watcher.idle.connection import IdleConnection
from watcher.idle.quiet import LEAST_QUIET_SECONDS, QuietWatch, describe
from watcher.judge.touches import Judged, Late
from watcher.programs import contract, environments
from watcher.soak import logs
from watcher.soak.access import Access, InCluster, Kubeconfig
from watcher.soak.child import HEALTHY_SECONDS, Child, Start
from watcher.soak.counting import Identity
from watcher.soak.delivery import Delivery
from watcher.soak.failures import FailureWriter
from watcher.soak.health import Health
from watcher.soak.ledger import Ledger
from watcher.soak.metrics import Metrics
from watcher.soak.network import Network
from watcher.soak.rounds import LOOK_AGAIN_SECONDS
from watcher.soak.server import serving
from watcher.soak.settings import SoakSettings
from watcher.soak.spool import Spool
from watcher.soak.store import TotalsStore
from watcher.soak.supervisor import Session, Supervisor
from watcher.totals import Failure, Update
from watcher.updater import Trigger, Updater, Watcher, schedule_of

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")
"""Of our environment, to client programs."""
FIRES_LOOKED_AT = 500
"""Of a cron expression, for its longest gap."""


def access_of(settings: SoakSettings, variables: Mapping[str, str]) -> Access:
    """Raises UsageError where there is neither a pod nor a usable kubeconfig."""
    if settings.kubeconfig:
        return Kubeconfig(settings.kubeconfig, settings.spool_folder() / "access")
    return InCluster(variables)


def starts_of(settings: SoakSettings, access: Access, catalog: Catalog, namespace: str) -> dict[Watcher, Start]:
    """What is started for each watcher. Raises UsageError where a client's environment is not built."""
    starts = {}
    for stack_name, profile_name in settings.pairs(catalog):
        found, profile = catalog.stacks[stack_name], catalog.profiles[profile_name]
        if not environments.is_built(found.folder, found.build):
            raise UsageError(
                f"the environment of {found.folder.name} is not built", advice="`watcher build` does it, once"
            )
        places = {"environment": str(environments.environment_for(found.folder, found.build)), "folder": found.folder}
        folder = settings.spool_folder() / "programs" / f"{stack_name}--{profile_name}"
        variables = contract.environment(
            plan.effective(profile.settings, settings.scale), profile_name, namespace, settings.trigger
        )
        starts[Watcher(f"{stack_name}/{profile_name}", stack_name, profile_name)] = Start(
            arguments=tuple(argument.format(**places) for argument in found.stack.command),
            environment={
                **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
                "HOME": str(folder),
                "TMPDIR": str(folder),
                **access.environment(),
                **variables,
            },
            folder=folder,
        )
    return starts


def identity_of(settings: SoakSettings, catalog: Catalog) -> Identity:
    return Identity(
        instance=settings.instance,
        cluster=settings.cluster,
        interval=settings.interval,
        deadline_seconds=settings.deadline_seconds,
        scale=settings.scale,
        watchers={
            f"{stack}/{profile}": (
                stack,
                profile,
                catalog.stacks[stack].stack.language,
                catalog.profiles[profile].settings,
            )
            for stack, profile in settings.pairs(catalog)
        },
        capture=settings.capture,
    )


def longest_gap_seconds(expression: str) -> float:
    """Between two due times of a schedule."""
    trigger = schedule_of(expression)
    if isinstance(trigger, IntervalTrigger):
        return float(trigger.interval.total_seconds())
    longest, last = 0.0, trigger.get_next_fire_time(None, datetime.now(UTC))
    for _ in range(FIRES_LOOKED_AT):
        due = trigger.get_next_fire_time(last, last + timedelta(microseconds=1)) if last is not None else None
        if due is None or last is None:
            break
        longest, last = max(longest, (due - last).total_seconds()), due
    return longest or 86_400.0


class Soak:
    """One process's soak, whole."""

    def __init__(self, settings: SoakSettings, variables: Mapping[str, str]) -> None:
        """Raises UsageError for everything that the user has to put right first."""
        catalog = settings.catalog()
        self._settings = settings
        self._say = logs.logger().info
        self._warn = logs.logger().warning
        self.access = access = access_of(settings, variables)
        namespace = settings.namespace or access.namespace
        trigger = Trigger(namespace, settings.trigger)
        session = secrets.token_hex(8)
        user_agent = f"watcher-soak/{session}"
        starts = starts_of(settings, access, catalog, namespace)
        identity = identity_of(settings, catalog)
        gap = longest_gap_seconds(settings.interval)
        self.health = Health()
        self.metrics = Metrics(identity.watchers, version=version("watcher-resilience-matrix"), interval_seconds=gap)
        spool_folder = settings.spool_folder()
        spool_folder.mkdir(parents=True, exist_ok=True)
        self._failures = failures = FailureWriter(
            access.credentials,
            namespace,
            spool_folder / "failures",
            keep=settings.keep_failures,
            keep_days=settings.keep_failures_days,
            now=lambda: datetime.now(UTC),
            on_written=self._written,
            instance=settings.instance,
        )
        self.ledger = Ledger(identity, failures, self.metrics, complete=self._complete, on_decided=self._decided)
        disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
        spool = Spool(
            spool_folder,
            state=self.ledger.state,
            now=time.monotonic,
            run=lambda work: asyncio.get_running_loop().run_in_executor(disk, work),
        )
        store = TotalsStore(access.credentials, namespace, settings.instance)
        self.supervisor = Supervisor(
            Session(
                name=session,
                instance=settings.instance,
                started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                deadline_seconds=settings.deadline_seconds,
                longest_gap_seconds=gap,
                watchers=tuple(identity.watchers),
                look_again_seconds=LOOK_AGAIN_SECONDS / settings.scale,
            ),
            ledger=self.ledger,
            spool=spool,
            delivery=Delivery(self.ledger, spool, store, problem=partial(self.health.problem, "totals")),
            failures=failures,
            health=self.health,
            gauges=self.metrics,
            say=self._say,
            now=time.monotonic,
        )
        record = self.supervisor.record
        self.updater = Updater(
            access.credentials, record, deadline_seconds=settings.deadline_seconds, user_agent=user_agent
        )
        healthy = HEALTHY_SECONDS / settings.scale
        self.children = [
            Child(watcher, start, record, self._warn, now=time.monotonic, healthy_seconds=healthy)
            for watcher, start in starts.items()
        ]
        port = access.credentials().port
        self.network = Network(
            access,
            self.updater,
            trigger,
            emit=record,
            say=self._warn,
            problem=partial(self.health.problem, "updater"),
            version=self._version,
            idle=lambda api: _idle(api, trigger),
            quiet={
                watcher.cell: QuietWatch(port, least_quiet_seconds=LEAST_QUIET_SECONDS / settings.scale)
                for watcher in starts
            },
            children=self.children,
            user_agent=user_agent,
        )
        self._session = session

    async def run(self) -> None:
        """From recovery to orderly end on SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.supervisor.stop.set)
        recovered = self.supervisor.recover()
        self._say("soak", session=self._session, watchers=len(self.children), recovered=recovered)
        for name, value in (
            ("watcher", version("watcher-resilience-matrix")),
            ("python", sys.version.split()[0]),
            ("node", self._settings.node),
        ):
            self._version(name, value)
        with serving(self._settings.listen, self.health, self.metrics.registry) as port:
            self._say("listening", port=port)
            try:
                await self.supervisor.run(
                    children=self.children,
                    asking=self.network,
                    prepare=self.network.prepare,
                    schedule=self._schedule,
                )
            finally:
                self.updater.close()
                self.network.close()

    def _schedule(self, job: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        self.updater.start(self._settings.interval, job)
        return self.updater.pause

    def _version(self, name: str, value: str) -> None:
        self.ledger.counter.version(name, value)

    def _complete(self, failure: Failure) -> Failure:
        """What only the living supervisor knows."""
        child = next(
            (each for each in self.children if each.watcher.cell == f"{failure.stack}/{failure.profile}"), None
        )
        if child is None:
            return failure
        speaks = self.ledger.counter.state.speaks.get(child.watcher.cell)
        versions = {name: values[-1] for name, values in self.ledger.counter.state.versions.items() if values}
        if speaks is not None:
            versions |= {"library": f"{speaks.library} {speaks.version}", "runtime": speaks.runtime}
        return failure.model_copy(
            update={
                "node": self._settings.node[:200],
                "process": child.state[:200],
                "sockets": "" if child.pid is None else describe(child.pid)[:4000],
                "versions": "\n".join(f"{name} {value}" for name, value in sorted(versions.items()))[:4000],
            }
        )

    def _decided(self, decided: Judged | Late) -> None:
        if isinstance(decided, Late):
            self._warn("late", watcher=decided.watcher, nonce=decided.nonce, delay=round(decided.delay_seconds, 3))
            return
        for name in decided.missed:
            self._warn("missed", watcher=name, nonce=decided.nonce)
        if decided.update is not Update.OK:
            self._warn("not counted", update=str(decided.update), reason=decided.reason, nonce=decided.nonce)

    def _written(self, name: str, status: int | None, error: str | None) -> None:
        if error is not None:
            self._warn("a failure is not written yet", name=name, status=status, problem=error[:200])
        self.metrics.failures_pending(self._failures.pending)


def _idle(api: ApiServer, trigger: Trigger) -> IdleConnection:
    return IdleConnection(api, trigger.namespace, f"{trigger.name}-idle")


def check(settings: SoakSettings) -> dict[str, Any]:
    """The effective settings, for people and scripts. Raises UsageError as the soak would."""
    catalog = settings.catalog()
    shown = settings.model_dump(mode="json", exclude={"watcher", "stacks", "profiles", "kubeconfig"})
    return {
        **shown,
        "spool": str(settings.spool_folder()),
        "access": f"kubeconfig {settings.kubeconfig}" if settings.kubeconfig else "the pod's service account",
        "runs_here": _runs_here(settings),
        "longest_gap_seconds": longest_gap_seconds(settings.interval),
        "watchers": [f"{stack}/{profile}" for stack, profile in settings.pairs(catalog)],
    }


def _runs_here(settings: SoakSettings) -> str:
    """``yes``, or what is missing on this machine: settings may well be checked on another than the soak's."""
    if settings.kubeconfig:
        missing = [file for file in settings.kubeconfig.split(os.pathsep) if file and not Path(file).exists()]
        return f"no: there is no {', '.join(missing)}" if missing else "yes"
    try:
        InCluster(os.environ)
    except UsageError as error:
        return f"no: {error.message}"
    return "yes"


def main(settings: SoakSettings) -> None:
    """Ends the process."""
    logs.configure(sys.stderr)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # that a round outlasts an interval is no error
    if sys.version_info < (3, 12) and sys.platform == "linux":
        # The default has a thread for each program.
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    soak = Soak(settings, os.environ)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    status = 0
    try:
        loop.run_until_complete(soak.run())
    except Exception as error:
        logs.logger().error("the soak has failed", problem=f"{type(error).__name__}: {error}", exc_info=True)
        status = 3
    sys.stderr.flush()
    # Not by the interpreter: it would wait for threads that hang on an API server that is away.
    os._exit(status)
