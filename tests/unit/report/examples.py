"""A run's results in a few words, for the tests of the reports."""

from __future__ import annotations

from collections.abc import Callable

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

SCENARIOS = (
    "control",
    "aws-nlb",
    "azure-slb",
    "azure-slb-reset-lost",
    "azure-slb-server-180s",
    "azure-slb-silent",
    "azure-slb-silent-server-180s",
    "blackhole",
    "gcp-vpc",
)
PROFILES = ("default", "retry", "tcp-keepalive-os", "tcp-user-timeout")

Cell = Callable[..., CellResult]
Run = Callable[..., Results]


def a_cell(
    verdict: Verdict = Verdict.OK,
    delay_seconds: float | None = None,
    reason: str = "",
    *,
    stack: str = "python-kubernetes",
    profile: str = "default",
    scenario: str = "control",
    repeats: tuple[Verdict, ...] = (),
    control: Control | None = None,
) -> CellResult:
    return CellResult(
        stack=stack,
        profile=profile,
        scenario=scenario,
        verdict=verdict,
        delay_seconds=delay_seconds,
        reason=reason,
        proof="happened",
        settings=SettingsResult(asked=Settings(), effective=Settings()),
        repeats=tuple(RepeatResult(verdict=repeat, delay_seconds=None, reason="") for repeat in repeats),
        evidence={},
        control=control,
    )


def a_run(
    *cells: CellResult,
    controls: tuple[CellResult, ...] = (),
    scenarios: tuple[str, ...] | None = None,
    trusted: bool = True,
    distrust: tuple[str, ...] = (),
    figures: dict[str, float] | None = None,
    id: str = "one",  # the field's name
) -> Results:
    names = scenarios or tuple(dict.fromkeys(cell.scenario for cell in (*cells, *controls)))
    library = StackResult(
        protocol="watch", language="python", library="kubernetes", version="37.0.2", runtime="CPython 3.11.2"
    )
    return Results(
        run=RunResult(
            id=id,
            started_at="2026-11-21T08:00:00Z",
            scale=20,
            deadline_seconds=1,
            control_plane="embedded",
            trusted=trusted,
            distrust=distrust,
            figures=figures or {},
        ),
        stacks={cell.stack: library for cell in cells},
        scenarios={
            name: ScenarioResult(
                description=f"what {name} does", path="direct", fault="none", source="https://example.org/"
            )
            for name in names
        },
        cells=cells,
        controls=controls,
    )


def a_full_run() -> Results:
    """Every verdict, nine scenarios, two stacks: as large as the first matrix is wide."""
    verdicts = list(Verdict)
    cells: list[CellResult] = []
    for stack in ("python-kubernetes", "python-kubernetes-informer"):
        for profile in PROFILES:
            for scenario in SCENARIOS:
                verdict = verdicts[len(cells) % len(verdicts)]
                delay = {Verdict.OK: 0.04, Verdict.LATE: 87.6}.get(verdict)
                repeats = (
                    (Verdict.OK, Verdict.STUCK, Verdict.STUCK, Verdict.INVALID)
                    if verdict is Verdict.FLAKY
                    else (verdict,)
                )
                reason = f"reason {len(cells)} of this cell"
                cells.append(
                    a_cell(verdict, delay, reason, stack=stack, profile=profile, scenario=scenario, repeats=repeats)
                )
    controls = tuple(
        a_cell(verdict, stack=str(role), scenario=scenario, control=role)
        for role, verdict in ((Control.PERFECT, Verdict.OK), (Control.DEAF, Verdict.STUCK))
        for scenario in SCENARIOS
    )
    figures = {
        "setup_seconds": 1.42,
        "start_seconds": 16.5,
        "wall_seconds": 61.3,
        "longest_cell_seconds": 38.2,
        "wall_ratio": 1.12,
    }
    return a_run(*cells, controls=controls, figures=figures)
