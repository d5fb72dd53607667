"""What a probe finds, as data: for a person, for a script, and for the exit status."""

from __future__ import annotations

from watcher.model import Value


class Finding(Value):
    """One sentence of the contract, and whether the program keeps it."""

    check: str
    ok: bool
    said: str
    """What was seen; where it is not ok, what the contract asks for."""
    note: bool = False
    """Kept, but a reader should know."""


class ProfileReport(Value):
    profile: str
    supported: bool
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)


class StackReport(Value):
    stack: str
    library: str
    version: str
    """As the program said it; the manifest's where it said none."""
    runtime: str | None = None
    profiles: tuple[ProfileReport, ...]

    @property
    def ok(self) -> bool:
        return all(profile.ok for profile in self.profiles)


class ProbeReport(Value):
    contract_version: int
    control_plane: str
    quiet_seconds: float
    stacks: tuple[StackReport, ...]

    @property
    def ok(self) -> bool:
        return all(stack.ok for stack in self.stacks)
