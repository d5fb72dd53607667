"""Plans: this run's numbers, what a scale can and cannot decide, waves."""

from __future__ import annotations

import pytest

from watcher import plan
from watcher.catalog import Catalog
from watcher.lab.addresses import MOST_OWN_SERVERS
from watcher.model import Backend, Balancer, CellPlan, Control, Evidence, Scenario, Settings, Stack, Timer, Verdict

CATALOG = Catalog.load()


def stack(**fields: object) -> Stack:
    base: dict[str, object] = {
        "name": "a-stack",
        "description": "a stack",
        "language": "Python",
        "library": "a",
        "version": "1",
        "command": ("a",),
        "profiles": ("default", "tcp-keepalive", "watch-timeout"),
        "default_source": "its README",
        "memory_mib": 50,
    }
    return Stack.model_validate(base | fields)


def choice(**fields: object) -> plan.Choice:
    base: dict[str, object] = {
        "stacks": [stack()],
        "profiles": list(CATALOG.profiles.values()),
        "scenarios": [CATALOG.scenarios[name] for name in ("azure-slb", "gcp-vpc", "control")],
        "paths": CATALOG.paths,
        "not_built": {},
    }
    return plan.Choice(**(base | fields))  # type: ignore[arg-type]


def test_true_time_changes_no_number() -> None:
    """A run without --scale is what gets published: it must use the documented values."""
    for cell in plan.make(choice()):
        assert cell.effective == cell.asked
        assert cell.timing.deadline_seconds == 10
        assert cell.skip is None or cell.skip.verdict is Verdict.UNSUPPORTED
    azure = next(cell for cell in plan.make(choice()) if cell.id.scenario == "azure-slb")
    assert azure.timing.idle_timeout_seconds == 240
    assert azure.timing.touch_after_seconds == 270
    assert azure.timing.length_seconds == 390


def test_every_scenario_brings_its_controls_in_every_repeat() -> None:
    """Without them a verdict could come from a lab that is broken for everybody."""
    cells = plan.make(choice(repeat=2))
    controls = {(cell.id.scenario, cell.id.repeat, cell.control) for cell in cells if cell.control}
    assert controls == {
        (scenario, repeat, control)
        for scenario in ("azure-slb", "gcp-vpc", "control")
        for repeat in (1, 2)
        for control in Control
    }


def test_scale_12_keeps_what_keepalive_does() -> None:
    """The README's run is scaled by 12; its verdicts must be those of true time."""
    settings = plan.effective(CATALOG.profiles["tcp-keepalive"].settings, 12)
    assert (settings.keepalive_idle_seconds, settings.keepalive_interval_seconds, settings.keepalive_count) == (2, 1, 3)
    assert plan.detection_seconds(settings) == 5
    assert plan.detection_seconds(CATALOG.profiles["tcp-keepalive"].settings) == 5 * 12


@pytest.mark.parametrize(("scale", "scalable"), [(1, True), (10, True), (12, True), (30, False), (60, False)])
def test_a_scale_that_whole_seconds_would_falsify_is_refused(scale: float, scalable: bool) -> None:
    """At scale 30 keepalive would take twice as long as it truly does, and could turn ok into late."""
    cells = plan.make(choice(scale=scale))
    cell = next(cell for cell in cells if cell.id.profile == "tcp-keepalive" and cell.id.scenario == "azure-slb")
    assert (cell.skip is None) is scalable
    if not scalable:
        assert cell.skip is not None
        assert cell.skip.verdict is Verdict.INVALID
        assert cell.skip.reason.startswith("not scalable: ")


def test_a_built_in_timer_that_true_time_would_reach_cannot_be_scaled() -> None:
    """A library's own 300 s timeout decides a true cell of 390 s, and never fires in one of 33 s."""
    timed = stack(timers=(Timer(name="total timeout", seconds=300, profiles=("def*",), source="its source"),))
    cells = {
        (cell.id.profile, cell.id.scenario): cell
        for cell in plan.make(choice(stacks=[timed], scale=12))
        if not cell.control
    }
    assert cells["default", "azure-slb"].skip is not None
    assert "total timeout" in cells["default", "azure-slb"].skip.reason
    assert cells["tcp-keepalive", "azure-slb"].skip is None
    assert cells["default", "control"].skip is None, "a true control cell is over after 270 s"
    true_time = plan.make(choice(stacks=[timed]))
    assert all(cell.skip is None for cell in true_time if cell.id.profile == "default")


def test_user_timeout_gives_up_at_the_first_probe_due_after_it() -> None:
    """With TCP_USER_TIMEOUT the kernel no longer counts probes (tcp_timer.c): 30 + 10 s here, not 60."""
    settings = Settings(
        keepalive=True,
        keepalive_idle_seconds=30,
        keepalive_interval_seconds=10,
        keepalive_count=3,
        user_timeout_seconds=20,
    )
    assert plan.detection_seconds(settings) == 40
    assert plan.detection_seconds(settings.model_copy(update={"user_timeout_seconds": 45.0})) == 50
    assert plan.detection_seconds(settings.model_copy(update={"user_timeout_seconds": None})) == 60


def test_what_the_kernels_slack_decides_is_left_to_true_time() -> None:
    """tcp-user-timeout finds a cut flow some 9 s after the touch, or 11: scaled, it would always look like ok."""
    able = stack(profiles=("tcp-user-timeout", "tcp-keepalive"))
    blackhole = [CATALOG.scenarios["blackhole"], CATALOG.scenarios["azure-slb"]]
    cells = {
        (cell.id.profile, cell.id.scenario): cell.skip
        for cell in plan.make(choice(stacks=[able], scenarios=blackhole, scale=12))
    }
    skip = cells["tcp-user-timeout", "blackhole"]
    assert skip is not None
    assert skip.reason.startswith("not scalable: in true time keepalive finds the dead flow 9 to 14 s after the touch")
    assert cells["tcp-keepalive", "blackhole"] is None
    assert cells["tcp-user-timeout", "azure-slb"] is None
    true_time = plan.make(choice(stacks=[able], scenarios=blackhole))
    assert all(cell.skip is None for cell in true_time if cell.id.profile == "tcp-user-timeout")


def test_unsupported_and_not_built_are_shown_not_dropped() -> None:
    """A user looks for their row; a missing one would read as a gap in the software."""
    cells = plan.make(choice(not_built={"a-stack": "no environment"}))
    verdicts = {cell.id.profile: cell.skip.verdict for cell in cells if cell.skip and cell.id.scenario == "control"}
    assert verdicts["http2-ping"] is Verdict.UNSUPPORTED
    assert verdicts["default"] is Verdict.NOT_BUILT


def test_waves_hold_memory_jobs_and_repeats_and_start_with_the_longest() -> None:
    """A run must never swap: load would turn verdicts."""
    cells = plan.make(choice(repeat=2))
    runnable = [cell for cell in cells if cell.skip is None]
    waves = plan.waves(cells, memory_mib=300, jobs=None)
    assert sorted(str(cell.id) for wave in waves for cell in wave) == sorted(str(cell.id) for cell in runnable)
    assert all(sum(cell.memory_mib for cell in wave) <= 300 * plan.MEMORY_SHARE for wave in waves)
    assert all(len({cell.id.repeat for cell in wave}) == 1 for wave in waves)
    assert waves[0][0].id.scenario == "gcp-vpc"
    assert all(len(wave) <= 2 for wave in plan.waves(cells, memory_mib=10**6, jobs=2))
    assert len(plan.waves(cells, memory_mib=10**6, jobs=None)) == 2


def test_cells_can_be_chosen_one_by_one() -> None:
    """One row more on one scenario must not cost a run of everything."""
    cells = plan.make(choice(cells=["*/default/azure-slb", "a-stack/tcp-keepalive/*"]))
    real = {(cell.id.profile, cell.id.scenario) for cell in cells if cell.control is None}
    assert real == {
        ("default", "azure-slb"),
        *(("tcp-keepalive", name) for name in ("azure-slb", "gcp-vpc", "control")),
    }
    one = plan.make(choice(cells=["*/default/azure-slb"]))
    assert {cell.id.scenario for cell in one} == {"azure-slb"}, "no control for a scenario that is not run"


def test_cells_whose_repeats_disagree_are_run_once_more_with_their_controls() -> None:
    """A third word decides how a flaky cell is to be read, and it needs controls of its own."""
    cells = plan.make(choice(repeat=2))
    again = plan.once_more(cells, {"a-stack/default/azure-slb"})
    assert {str(cell.id) for cell in again} == {
        "perfect/control/azure-slb#3",
        "deaf/control/azure-slb#3",
        "a-stack/default/azure-slb#3",
    }


def test_what_the_real_servers_timers_decide_is_not_scaled() -> None:
    """Bookmarks come 61 s apart from the real API server at any scale: too late to keep a scaled flow alive."""
    able = stack(profiles=("default", "bookmarks"))
    server = [CATALOG.scenarios["azure-slb"], CATALOG.scenarios["azure-slb-server-180s"]]
    for scales, profile, scenario, runs in (
        (False, "bookmarks", "azure-slb", False),
        (False, "default", "azure-slb-server-180s", False),
        (False, "default", "azure-slb", True),
        (True, "bookmarks", "azure-slb", True),
        (True, "default", "azure-slb-server-180s", True),
    ):
        made = plan.make(choice(stacks=[able], scenarios=server, scale=12, server_scales=scales))
        skips = {(cell.id.profile, cell.id.scenario): cell.skip for cell in made if cell.control is None}
        assert (skips[profile, scenario] is None) is runs, (scales, profile, scenario)


@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize("speaks", ["http2", "websocket"])
def test_http2_and_websocket_need_a_server_that_speaks_them(speaks: str, server: bool) -> None:
    """A client of HTTP/2 that was measured over HTTP/1.1 would get a verdict on what its users do not run."""
    stacks = [stack(**{speaks: True}), stack(name="plain")]
    skips = {
        cell.id.stack: cell.skip
        for cell in plan.make(choice(stacks=stacks, real_server=server))
        if cell.control is None and cell.id.profile == "default"
    }
    assert skips["plain"] is None
    if server:
        assert skips["a-stack"] is None
    else:
        assert skips["a-stack"] is not None
        assert skips["a-stack"].verdict is Verdict.INVALID
        assert skips["a-stack"].reason.startswith("needs the real control plane")


KUBE_PROXY = [CATALOG.scenarios[f"{name}-kube-proxy-nftables"] for name in ("control", "blackhole")]


def test_where_no_flow_is_forgotten_the_servers_keepalive_decides_nothing() -> None:
    """Its 180 s do not scale, but without an idle timeout no cell is decided by them, and none is lost to them."""
    for cell in plan.make(choice(scenarios=KUBE_PROXY, scale=12, server_scales=False)):
        assert cell.skip is None or cell.skip.verdict is Verdict.UNSUPPORTED
        assert cell.balancer == "kube-proxy-nftables"


def test_without_kube_proxy_its_cells_are_left_out_and_say_why() -> None:
    """They must not count against any client, nor stop the cells of other paths."""
    scenarios = [*KUBE_PROXY, CATALOG.scenarios["control"]]
    made = plan.make(choice(scenarios=scenarios, missing_balancers={Balancer.KUBE_PROXY_NFTABLES: "none here"}))
    for cell in made:
        if cell.balancer is Balancer.LAB:
            assert cell.skip is None or cell.skip.verdict is Verdict.UNSUPPORTED
        else:
            assert cell.control is None, "a control for a scenario of which nothing runs"
            assert cell.skip is not None
            assert cell.skip.verdict is Verdict.UNSUPPORTED or cell.skip.reason == "none here"


def test_a_cell_takes_the_memory_of_its_kube_proxy() -> None:
    """Otherwise a wave of such cells is more than the machine has."""
    inside = {cell.memory_mib for cell in plan.make(choice(scenarios=KUBE_PROXY)) if cell.control is None}
    assert inside == {stack().memory_mib + plan.KUBE_PROXY_MEMORY_MIB}


def test_without_haproxy_the_cells_behind_a_proxy_are_left_out_and_say_why() -> None:
    """They must not count against any client, nor stop the cells of other paths."""
    scenarios = [CATALOG.scenarios[name] for name in ("haproxy-20s", "proxy-closed", "control")]
    for cell in plan.make(choice(scenarios=scenarios, missing_proxy="none here")):
        if not cell.proxy:
            assert cell.skip is None or cell.skip.verdict is Verdict.UNSUPPORTED
        else:
            assert cell.control is None, "a control for a scenario of which nothing runs"
            assert cell.skip is not None
            assert cell.skip.verdict is Verdict.UNSUPPORTED or cell.skip.reason == "none here"
    assert any(cell.proxy and cell.skip is None for cell in plan.make(choice(scenarios=scenarios)))


OUTAGE = Scenario(
    name="an-outage",
    description="dark for a minute",
    path="direct",
    fault="outage",
    fault_seconds=60,
    gap_seconds=5,
    proof=Evidence(),
)
EVERYTHING = stack(profiles=tuple(CATALOG.profiles))
OWN = Scenario(
    name="own",
    description="a server of its own",
    path="direct",
    fault="server-killed",
    backend=Backend.OWN,
    proof=Evidence(),
)
BUSY = CATALOG.scenarios["control-busy"]


def skips(scenario: Scenario, scale: float, **fields: object) -> dict[str, str | None]:
    """Why each profile's cell is not run; None where it is."""
    made = plan.make(choice(stacks=[EVERYTHING], scenarios=[scenario], scale=scale, **fields))
    return {
        cell.id.profile: cell.skip.reason if cell.skip is not None else None for cell in made if cell.control is None
    }


def test_a_fault_that_is_healed_puts_the_touch_off() -> None:
    """The gap is what a client has to come back in: counted from the fault it would end before the network works."""
    cell = plan.make(choice(scenarios=[OUTAGE]))[-1]
    assert cell.timing.fault_seconds == 60
    assert cell.timing.touch_after_seconds == plan.FAULT_AFTER_SECONDS + 60 + 5
    assert cell.timing.length_seconds == plan.FAULT_AFTER_SECONDS + 60 + 5 + 120
    scaled = plan.timing(OUTAGE, CATALOG.paths["direct"], 10, plan.DEADLINE_SECONDS)
    assert scaled.fault_seconds == 6
    assert scaled.touch_after_seconds == pytest.approx(6.7)
    frozen = CATALOG.scenarios["frozen-azure-slb"]
    idle = plan.timing(frozen, CATALOG.paths[frozen.path], 1, plan.DEADLINE_SECONDS)
    assert idle.touch_after_seconds == 332, "not the path's idle timeout and gap: the client wakes later"


def test_what_is_tried_in_the_dark_is_left_to_true_time() -> None:
    """The kernel repeats a lost SYN after 1, 3, 7, 15 s at any scale: scaled, clients would seem to come back late."""
    blocking = {"outage"}
    acts = {"tcp-keepalive", "tcp-user-timeout", "read-timeout", "http2-ping", "ping", "bookmarks"}
    found = skips(OUTAGE, 10, blocking_faults=blocking)
    assert {profile for profile, reason in found.items() if reason} == acts, found
    assert all("a clock of its own" in str(found[profile]) for profile in acts)
    assert "keepalive gives up after 60 s" in str(found["tcp-keepalive"])

    longer = OUTAGE.model_copy(update={"fault_seconds": 100.0})
    assert "end the watch after 100 s" in str(skips(longer, 10, blocking_faults=blocking)["watch-timeout"])
    shorter = OUTAGE.model_copy(update={"fault_seconds": 30.0})
    assert {p for p, reason in skips(shorter, 10, blocking_faults=blocking).items() if reason} == {
        "http2-ping",
        "ping",
        "bookmarks",
    }, "keepalive and timeouts strike when the network is well again"
    endless = OUTAGE.model_copy(update={"fault_seconds": None})
    assert acts | {"watch-timeout"} <= {
        p for p, reason in skips(endless, 10, blocking_faults=blocking).items() if reason
    }

    assert not any(skips(OUTAGE, 1, blocking_faults=blocking).values()), "true time decides everything"
    assert not any(skips(OUTAGE, 10, blocking_faults={"another"}).values()), "connections work: nothing is repeated"


def test_what_rounding_brings_into_the_dark_counts() -> None:
    """At scale 9 keepalive's 60 s become 54: a client that would have been spared in true time tries to connect."""
    almost = OUTAGE.model_copy(update={"fault_seconds": 55.0})
    assert skips(almost, 9, blocking_faults={"outage"})["tcp-keepalive"]
    assert not skips(almost, 10, blocking_faults={"outage"})["tcp-keepalive"]


def test_the_catalog_knows_which_faults_block_connections() -> None:
    """The rule above is applied to nothing."""
    assert "outage" in CATALOG.blocking_faults
    assert not {"none", "blackhole", "proxy-ended"} & CATALOG.blocking_faults, "there new connections are answered"
    reason = skips(CATALOG.scenarios["outage-5min"], 10, blocking_faults=CATALOG.blocking_faults)
    assert reason["tcp-keepalive"]
    assert not reason["retry"], "a client that does nothing of itself has nothing to repeat"


def test_a_healed_flow_is_not_dead_and_no_slack_decides() -> None:
    """tcp-user-timeout would be lost in every scenario with a gap of 30 s, whatever happened to the flow."""
    mended = Scenario(
        name="mended",
        description="cut, then mended",
        path="direct",
        fault="blackhole",
        fault_seconds=1,
        gap_seconds=29,
        proof=Evidence(),
    )
    assert skips(mended, 10)["tcp-user-timeout"] is None
    assert skips(CATALOG.scenarios["blackhole"], 10)["tcp-user-timeout"]


def test_where_probes_are_answered_keepalives_end_decides_nothing() -> None:
    """A killed server's kernel says so at once: what keepalive would find, and when, is no reason to leave it out."""
    assert CATALOG.answering_faults
    assert not {"blackhole", "blackhole-to-client", "blackhole-to-server", "outage"} & CATALOG.answering_faults
    assert not CATALOG.answering_faults & CATALOG.blocking_faults
    for fault, leaves_out in (("server-killed", False), ("node-gone", True)):
        scenario = OWN.model_copy(update={"fault": fault})
        reason = skips(scenario, 10, answering_faults=CATALOG.answering_faults)["tcp-user-timeout"]
        assert bool(reason) is leaves_out, (fault, reason)


@pytest.mark.parametrize(("scale", "runs"), [(1, True), (10, True), (12, True), (20, True), (100, False)])
def test_a_busy_scenario_is_not_run_faster_than_touches_can_be_made(scale: float, runs: bool) -> None:
    """At scale 100 they would queue, and the queue would count as the clients' delay."""
    found = skips(BUSY, scale)["default"]
    assert (found is None) is runs, found
    made = plan.make(choice(scenarios=[BUSY], scale=scale))
    assert all(cell.control is None for cell in made) is not runs
    if runs:
        timing = made[-1].timing
        assert timing.busy_interval_seconds == 2 / scale
        assert timing.touch_after_seconds == 180 / scale
        assert timing.deadline_seconds == max(1, 10 / scale)
        assert timing.deadline_seconds > timing.busy_interval_seconds, "a touch is missed by its own deadline only"


def test_busy_cells_of_one_wave_do_not_keep_each_other_waiting() -> None:
    """A hundred cells at scale 10 are 500 touches a second: what is measured then is the lab."""
    many = [stack(name=f"stack-{number}") for number in range(40)]
    made = plan.make(choice(stacks=many, scenarios=[BUSY, CATALOG.scenarios["azure-slb"]], scale=10))
    waves = plan.waves(made, memory_mib=10**6, jobs=None)
    assert len(waves) > 1
    for wave in waves:
        often = sum(1 / cell.timing.busy_interval_seconds for cell in wave if cell.timing.busy_interval_seconds)
        assert often <= plan.MOST_TOUCHES_PER_SECOND
    true_time = plan.make(choice(stacks=many, scenarios=[BUSY], scale=1))
    assert len(plan.waves(true_time, memory_mib=10**6, jobs=None)) == 1
    quiet = plan.make(choice(stacks=many, scenarios=[CATALOG.scenarios["azure-slb"]], scale=10))
    assert len(plan.waves(quiet, memory_mib=10**6, jobs=None)) == 1


def members(wave: list[CellPlan]) -> set[str]:
    return {str(cell.id) for cell in wave if cell.group is not None}


@pytest.mark.parametrize(("memory", "jobs"), [(10**6, None), (10**6, 1), (10**6, 3), (100, None), (900, None)])
def test_waves_never_part_cells_that_share_a_backend(memory: float, jobs: int | None) -> None:
    """Its server fails once: the cells of a second wave would find it dead, or wait for the others for ever."""
    other = OWN.model_copy(update={"name": "other"})
    scenarios = [OWN, other, CATALOG.scenarios["azure-slb"], CATALOG.scenarios["control"]]
    made = plan.make(choice(scenarios=scenarios, repeat=2))
    waves = plan.waves(made, memory_mib=memory, jobs=jobs)
    for group in {cell.group for cell in made if cell.group is not None}:
        inside = [wave for wave in waves if any(cell.group == group for cell in wave)]
        assert len(inside) == 1, group
        assert {str(c.id) for c in inside[0] if c.group == group} == {
            str(c.id) for c in made if c.group == group and c.skip is None
        }
    assert {cell.group for cell in made} == {None, "own#1/watch", "own#2/watch", "other#1/watch", "other#2/watch"}
    assert sorted(str(c.id) for wave in waves for c in wave) == sorted(str(c.id) for c in made if c.skip is None)


def test_a_server_of_their_own_takes_memory_once_for_all_of_its_cells() -> None:
    """Two more API servers than there is memory for: the machine swaps, and every verdict with it."""
    scenarios = [OWN, OWN.model_copy(update={"name": "other"})]
    made = plan.make(choice(scenarios=scenarios))
    cells = sum(cell.memory_mib for cell in made if cell.skip is None)
    enough = (cells + 2 * plan.OWN_SERVER_MEMORY_MIB) / plan.MEMORY_SHARE
    assert len(plan.waves(made, memory_mib=enough + 1, jobs=None)) == 1
    assert len(plan.waves(made, memory_mib=enough - 1, jobs=None)) == 2


def test_without_a_second_server_its_cells_are_left_out_and_say_why() -> None:
    """The embedded control plane has none: such cells must not fail, nor count against any client."""
    made = plan.make(choice(scenarios=[OWN, CATALOG.scenarios["control"]], missing_backend="none here"))
    own = [cell for cell in made if cell.id.scenario == "own"]
    assert own
    assert all(cell.control is None for cell in own), "a control for a scenario of which nothing runs"
    assert {cell.skip.reason for cell in own if cell.skip and cell.skip.verdict is Verdict.INVALID} == {"none here"}
    assert all(cell.skip is not None for cell in own)
    assert any(cell.skip is None for cell in made if cell.id.scenario == "control")
    with_one = plan.make(choice(scenarios=[OWN]))
    assert [cell.backend for cell in with_one if cell.control] == [Backend.OWN, Backend.OWN], "the controls share it"


def test_without_a_protocols_server_its_cells_are_left_out_and_say_why() -> None:
    """They must not count against any client, nor stop those that watch."""
    stacks = [stack(protocol="spoken"), stack(name="watches")]
    made = plan.make(
        choice(
            stacks=stacks,
            profiles=[CATALOG.profiles["default"]],
            scenarios=[CATALOG.scenarios["control"]],
            missing_protocols={"spoken": "none here"},
        )
    )
    reasons = {cell.id.stack: cell.skip.reason if cell.skip else None for cell in made if cell.control is None}
    assert reasons == {"a-stack": "none here", "watches": None}


IN_FLIGHT = ("blackhole", "node-gone", "endpoint-moved", "pod-deleted-kube-proxy-iptables")
ANSWERING = CATALOG.answering_faults


def in_flight(scale: float, scenario: str, profile: str = "default", *, how: str | None = None) -> CellPlan:
    able = stack(profiles=tuple(CATALOG.profiles), **({how: True} if how else {}))
    asked = choice(stacks=[able], scenarios=[CATALOG.scenarios[scenario]], scale=scale, answering_faults=ANSWERING)
    return next(cell for cell in plan.make(asked) if cell.id.profile == profile and not cell.control)


@pytest.mark.parametrize(
    ("how", "scenario", "seconds"),
    [
        *(("sends", scenario, 1000) for scenario in IN_FLIGHT),
        *(("asks", scenario, 1000) for scenario in (*IN_FLIGHT, "azure-slb-silent", "azure-slb-reset-lost")),
        *((None, scenario, 120) for scenario in IN_FLIGHT),
        *(("sends", scenario, 120) for scenario in ("control", "server-killed", "azure-slb-silent")),
        *(("asks", scenario, 120) for scenario in ("control", "server-stopped", "azure-slb", "outage-30s")),
        ("sends", "outage-30s", 1000),
        ("sends", "frozen-azure-slb-silent", 1000),
    ],
)
def test_the_window_outlasts_what_the_kernel_repeats(how: str | None, scenario: str, seconds: float) -> None:
    """With 120 s a client whose kernel tells it after 924 s would be called silent for ever."""
    assert in_flight(1, scenario, how=how).timing.window_seconds == seconds
    assert in_flight(10, scenario, how=how).timing.window_seconds == seconds / 10


@pytest.mark.parametrize(("place", "decided"), [("headless", False), ("same-node", True)])
def test_on_the_same_node_nothing_that_is_sent_meets_silence(place: str, decided: bool) -> None:
    """The one control that takes milliseconds would take a quarter of an hour, or be left out at every scale."""
    cell = in_flight(10, f"pod-deleted-{place}", how="sends")
    assert (cell.skip is None) is decided
    assert in_flight(1, f"pod-deleted-{place}", how="sends").timing.window_seconds == (120 if decided else 1000)
    assert (cell.headless, cell.same_node) == (not decided, decided)


@pytest.mark.parametrize("how", ["sends", "asks"])
@pytest.mark.parametrize(
    ("profile", "bounds"),
    [("default", False), ("retry", False), ("tcp-keepalive", False), ("read-timeout", True), ("ping", True)],
)
def test_no_scale_divides_what_the_kernel_repeats(how: str, profile: str, bounds: bool) -> None:
    """Keepalive bounds nothing there: its probes are not sent while data is in flight."""
    skip = in_flight(10, "node-gone", profile, how=how).skip
    assert (skip is None) is bounds, skip
    if not bounds:
        assert "not scalable: what the client sends meets silence" in str(skip)
    assert in_flight(1, "node-gone", profile, how=how).skip is None
    assert in_flight(10, "server-killed", profile, how=how).skip is None


def test_a_wave_has_no_more_own_servers_than_there_are_addresses() -> None:
    """One more would have no certificate and no Service: its whole group would fail."""
    many = MOST_OWN_SERVERS + 1
    scenarios = [OWN.model_copy(update={"name": f"own-{number}"}) for number in range(many)]
    waves = plan.waves(plan.make(choice(scenarios=scenarios)), memory_mib=1e9, jobs=None)
    assert [len({cell.group for cell in wave}) for wave in waves] == [MOST_OWN_SERVERS, 1]
