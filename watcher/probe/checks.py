"""The contract's sentences as checks. Pure: what was seen of a program goes in, a finding comes out."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from watcher.model import Profile, Settings, Stack, Timer
from watcher.probe.findings import Finding
from watcher.programs.contract import UNSUPPORTED_STATUS
from watcher.records import Program, Socket

OWN_KEEPALIVE = "TCP keepalive"
"""The name in a manifest of a keepalive that the library sets by itself."""
MEMORY_SLACK = 1.25
"""A manifest's memory may be as much too small before it is worth a note."""
SYSTEM = "system"
"""A manifest's version where the library is the machine's own."""


def asked(stack: Stack, profile: Profile) -> dict[str, object]:
    """What ``started`` must claim: all that the profile asks for; no pause where the library retries by itself."""
    settings = profile.settings.model_dump(exclude_defaults=True)
    if "retry" not in stack.profiles:
        settings.pop("retry_seconds", None)
    return settings


def armed(stack: Stack, profile: str) -> tuple[Timer, ...]:
    """The library's own timers in this profile."""
    return tuple(t for t in stack.timers if any(fnmatchcase(profile, pattern) for pattern in t.profiles))


def unsupported(status: int | None, printed: Iterable[Program], violation: str | None, how: str) -> Finding:
    check = "exit 127 where it cannot do the profile"
    if status is None:
        return Finding(check=check, ok=False, said="it goes on as if it knew the profile")
    if status != UNSUPPORTED_STATUS:
        return Finding(check=check, ok=False, said=f"{how}; the contract says {UNSUPPORTED_STATUS}")
    if violation is not None or list(printed):
        return Finding(check=check, ok=False, said="it printed something before; nothing may be on standard output")
    return Finding(check=check, ok=True, said="it does")


def claims(stack: Stack, profile: Profile, started: Program) -> Finding:
    """The settings in ``started``, library and version."""
    check = "started says what runs and what was set"
    wrong: list[str] = []
    near: list[str] = []
    if started.library != stack.library:
        wrong.append(f"library {started.library!r}, the manifest says {stack.library!r}")
    if stack.version != SYSTEM and started.version != stack.version:
        wrong.append(f"version {started.version!r}, the manifest says {stack.version!r}")
    claimed, wanted = dict(started.settings or {}), asked(stack, profile)
    if claimed != wanted:
        wrong += [f"it lacks {name} = {wanted[name]!r}" for name in wanted if name not in claimed]
        wrong += [f"{name} = {claimed[name]!r} is not of this profile" for name in claimed if name not in wanted]
        for name in claimed:
            if name in wanted and claimed[name] != wanted[name]:
                # Where a library has one number for both, or whole seconds, it says what it set.
                said = f"{name} = {claimed[name]!r}, the profile asks for {wanted[name]!r}"
                (near if name.startswith("ping_") and isinstance(claimed[name], int | float) else wrong).append(said)
    if wrong:
        return Finding(check=check, ok=False, said="; ".join(wrong))
    if near:
        return Finding(check=check, ok=True, said="; ".join(near), note=True)
    return Finding(check=check, ok=True, said=f"{started.library} {started.version}, {claimed or 'nothing set'}")


def sockets(stack: Stack, profile: str, settings: Settings, found: tuple[Socket, ...]) -> Finding:
    """The kernel's word on what was claimed, and on what the manifest says the library does by itself."""
    check = "its sockets have what it claims"
    if not found:
        return Finding(check=check, ok=False, said="it has no established connection")
    own = next((timer for timer in armed(stack, profile) if timer.name == OWN_KEEPALIVE), None)
    wrong: dict[str, None] = {}
    for one in found:
        numbers = (one.keepalive_idle_seconds, one.keepalive_interval_seconds, one.keepalive_count)
        wanted = (settings.keepalive_idle_seconds, settings.keepalive_interval_seconds, settings.keepalive_count)
        if one.keepalive != (settings.keepalive or own is not None):
            wrong[f"SO_KEEPALIVE is {'on' if one.keepalive else 'off'}"] = None
        elif settings.keepalive_idle_seconds is not None and numbers != wanted:
            wrong[f"keepalive is {_numbers(numbers)}, not {_numbers(wanted)}"] = None
        elif own is not None and one.keepalive_idle_seconds != own.seconds:
            wrong[f"the library's own keepalive comes after {one.keepalive_idle_seconds} s, not {own.seconds:g}"] = None
        if one.user_timeout_seconds != (settings.user_timeout_seconds or 0):
            wrong[f"TCP_USER_TIMEOUT is {one.user_timeout_seconds or 0:g} s"] = None
    if wrong:
        advice = f" (a library's own keepalive is a timer named {OWN_KEEPALIVE!r} in the manifest)"
        return Finding(check=check, ok=False, said="; ".join(wrong) + ("" if settings.keepalive else advice))
    first = found[0]
    numbers = (first.keepalive_idle_seconds, first.keepalive_interval_seconds, first.keepalive_count)
    return Finding(check=check, ok=True, said=f"keepalive {_numbers(numbers)}" if first.keepalive else "keepalive off")


def quiet(stack: Stack, profile: str, quiet_seconds: float, survived: bool, seconds: float, how: str) -> Finding:
    """``seconds`` is how long it lived in the quiet, ``how`` its end or what was wrong after the quiet."""
    check = f"a quiet {quiet_seconds:g} s is survived"
    if survived:
        return Finding(check=check, ok=True, said="it is, and the touch after it was observed")
    known = [timer for timer in armed(stack, profile) if timer.seconds <= quiet_seconds]
    if known and seconds < quiet_seconds:
        timers = ", ".join(f"{timer.name} of {timer.seconds:g} s ({timer.source})" for timer in known)
        said = f"as its manifest says it does not: {timers}. After {seconds:.1f} s {how}"
        return Finding(check=check, ok=True, said=said, note=True)
    return Finding(
        check=check,
        ok=False,
        said=f"after {seconds:.1f} s {how}. Where the library itself does so, its manifest names the timer",
    )


def memory(stack: Stack, mib: float) -> Finding:
    """Runs are filled by what manifests say: more than that, and a machine swaps."""
    said = f"{mib:.0f} MiB, the manifest says {stack.memory_mib}"
    return Finding(check="its memory", ok=True, said=said, note=mib > MEMORY_SLACK * stack.memory_mib)


def end(seconds: float | None, status: int | None, left: list[str], how: str, *, when: str) -> Finding:
    check = f"SIGTERM ends it {when}"
    if seconds is None:
        there = ", ".join(left) or "it"
        return Finding(check=check, ok=False, said=f"{there} was still there 3 s later, and had to be killed")
    if status != 0:
        return Finding(check=check, ok=False, said=f"{how}; the contract says status 0")
    if left:
        return Finding(check=check, ok=False, said=f"it left behind: {', '.join(left)}")
    return Finding(check=check, ok=True, said=f"in {seconds:.2f} s")


def _numbers(numbers: tuple[object, object, object]) -> str:
    return "/".join(f"{number:g}" if isinstance(number, int | float) else "-" for number in numbers)
