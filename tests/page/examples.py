"""Runs to draw: a small hostile one, and one as large as the matrix may grow."""

from __future__ import annotations

from itertools import cycle, islice

from watcher.model import (
    CellResult,
    Control,
    RepeatResult,
    Results,
    RunResult,
    ScenarioResult,
    Settings,
    SettingsResult,
    StackResult,
    Verdict,
)
from watcher.report.page import Program, Surroundings, page
from watcher.timeline import Connection, Idle, Look, Said, Step, Timeline, What

MARKUP = "<img src=x onerror=\"document.title='taken'\"></script><script>document.title='taken'</script><!--"
"""What a program, a library or a nonce may hold, and must be shown as."""

PATHS = {"control": "direct", "idle": "cloud", "cut": "direct"}


def large_run(stacks: int = 20, profiles: int = 10, scenarios: int = 10) -> Results:
    """As many cells as the numbers say, every verdict among them, each with evidence."""
    stack_names = [f"stack-{number}" for number in range(stacks)]
    profile_names = ["default", *(f"profile-{number}" for number in range(1, profiles))]
    scenario_names = ["control", *(f"scenario-{number}" for number in range(1, scenarios))]
    verdicts = cycle([Verdict.OK] * 6 + [*Verdict])
    cells = [
        a_cell(stack, profile, scenario, next(verdicts))
        for stack in stack_names
        for profile in profile_names
        for scenario in scenario_names
    ]
    return a_run(cells, scenario_names, {name: f"library-{name[-1]}" for name in stack_names})


def a_cell(stack: str, profile: str, scenario: str, verdict: Verdict, reason: str = "") -> CellResult:
    delay = {Verdict.OK: 0.012, Verdict.LATE: 31.2}.get(verdict)
    repeats = (Verdict.OK, Verdict.STUCK) if verdict is Verdict.FLAKY else (verdict, verdict)
    folder = f"cells/{stack}/{profile}/{scenario}"
    return CellResult(
        stack=stack,
        profile=profile,
        scenario=scenario,
        verdict=verdict,
        delay_seconds=delay,
        reason=reason or f"what the judge says of {stack}, {profile} and {scenario}; its connection was still open",
        proof="happened",
        settings=SettingsResult(asked=Settings(), effective=Settings(retry_seconds=1, bookmarks=profile.endswith("2"))),
        repeats=tuple(RepeatResult(verdict=each, delay_seconds=delay, reason="") for each in repeats),
        evidence={
            "folder": folder,
            "touch": {"sent": 630.004},
            "window_closed": 750.1,
            "flows": [{"port": 40_000}],
            "expired": [{"port": 40_000, "silent_since": 0.0, "at": 600.0}],
            "resets": [],
            "recovery": {"detected": None, "died": 240.1},
            "program": {"status": 1},
            "proofs": {name: {"holds": True, "seen": f"{name} at {folder}"} for name in ("idle-expired", "works")},
        },
    )


def a_run(cells: list[CellResult], scenarios: list[str], libraries: dict[str, str], name: str = "large") -> Results:
    controls = [
        a_cell(str(role), "control", scenario, verdict).model_copy(update={"control": role})
        for role, verdict in ((Control.PERFECT, Verdict.OK), (Control.DEAF, Verdict.STUCK))
        for scenario in scenarios
    ]
    return Results(
        run=RunResult(
            id=name,
            started_at="2026-11-21T08:00:00+00:00",
            scale=1,
            deadline_seconds=10,
            control_plane="kubernetes 1.36.3",
            trusted=True,
        ),
        stacks={
            stack: StackResult(protocol="watch", language="Python", library=library, version="1.0", runtime="CPython")
            for stack, library in libraries.items()
        },
        scenarios={
            scenario: ScenarioResult(
                description=f"what happens in {scenario}",
                path="direct" if scenario == "control" else f"path-{number % 5}",
                fault="none" if scenario == "control" else "blackhole" if scenario.endswith("9") else "idle-expiry",
                source="https://example.org/timeouts",
                threads=("https://example.org/issues/1",),
            )
            for number, scenario in enumerate(scenarios)
        },
        cells=tuple(cells),
        controls=tuple(controls),
    )


def a_timeline(seed: int = 0, text: str = "the stream ended") -> Timeline:
    """As long as that of a real cell: a connection that is forgotten, a change that is sent in vain, some reconnects.

    The numbers differ from seed to seed, as those of real cells do, so that compression finds no more than it would.
    """

    def at(seconds: float) -> float:
        return round(seconds + (seed * 7919 % 997) / 1000, 3)

    port = 32_768 + seed * 31 % 20_000
    step = Step(what=What.LOST, at=at(630.01), until=at(640.2), port=port, packets=7, sender="server")
    lost = [
        step.model_copy(
            update={"at": at(630 + 3.1 * number), "direction": "to-client", "arrived": False, "octets": 497}
        )
        for number in range(6)
    ]
    return Timeline(
        begins=at(-1.3),
        ends=at(750.1),
        touch=at(630.004),
        deadline=at(640.004),
        steps=(
            Step(what=What.OPENED, at=at(-1.2), until=at(-0.7), port=port, packets=14, sender="client"),
            Step(what=What.CONTROL_TOUCH, at=at(-0.6), until=at(-0.6)),
            Step(what=What.SILENCE, at=0.0, until=600.0),
            Step(what=What.FORGOTTEN, at=600.0, until=600.0, port=port, every_seconds=600.0),
            Step(what=What.TOUCH, at=at(630.004), until=at(630.004)),
            *lost,
            Step(what=What.DEADLINE, at=at(640.004), until=at(640.004), every_seconds=10),
            Step(what=What.EXITED, at=at(700), until=at(700), text=text),
            Step(what=What.WINDOW_CLOSED, at=at(750.1), until=at(750.1)),
        ),
        said=(
            Said(at=at(-0.5), event="watching"),
            Said(at=at(0.002), event="observed", text=text),
            *(Said(at=at(45.0 * number), event="error", text=text) for number in range(1, 14)),
        ),
        connections=tuple(
            Connection(
                port=port + number, begins=at(46.0 * number), ends=at(46.0 * number + 45), ended_by="client", flag="FIN"
            )
            for number in range(8)
        ),
        looks=(
            Look(at=at(0.3), of="client", text=f"port {port} ESTABLISHED, keepalive off"),
            Look(at=at(629.9), of="server", text=f"port {port} ESTABLISHED"),
            Look(at=at(629.8), of="path", text="no entry: the connection is unknown"),
        ),
        idle=(Idle(port=port, since=0.0, until=600.0),),
        packets=tuple((round(at(2.31 * number) * 1000), number * seed % 64) for number in range(120)),
    )


def large_page() -> str:
    """2,000 cells, each with a timeline of its own."""
    results = large_run()
    folders = [str(cell.evidence["folder"]) for cell in (*results.cells, *results.controls)]
    return page(results, "large", {folder: a_timeline(number) for number, folder in enumerate(folders)})


def hostile_page() -> str:
    """Markup wherever a program, a library, the network or a person's own file can put text."""
    cells = [
        a_cell("a", "default", "idle", verdict, MARKUP)
        if scenario == "idle"
        else a_cell("a", "default", scenario, verdict)
        for scenario, verdict in zip(("control", "idle"), islice(cycle([Verdict.OK, Verdict.DIED]), 2), strict=True)
    ]
    results = a_run(cells, ["control", "idle"], {"a": MARKUP}, MARKUP)
    stack = StackResult(protocol="watch", language=MARKUP, library=MARKUP, version=MARKUP, runtime=MARKUP)
    scenario = ScenarioResult(
        description=MARKUP,
        path="direct",
        fault="idle-expiry",
        source=f"javascript:alert(1) {MARKUP}",
        threads=("javascript:document.title='taken'", f"https://example.org/{MARKUP}", "https://example.org/1"),
    )
    results = results.model_copy(update={"stacks": {"a": stack}, "scenarios": {**results.scenarios, "idle": scenario}})
    around = Surroundings(
        programs={"a": Program(MARKUP, (MARKUP,), f"javascript:alert(1) {MARKUP}")},
        sources={MARKUP: MARKUP},
        profiles={"default": MARKUP},
        variables={"a/default/idle": MARKUP},
        paths={"direct": MARKUP},
    )
    return page(results, MARKUP, {"cells/a/default/idle": a_timeline(1, MARKUP)}, around)
