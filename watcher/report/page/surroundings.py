"""What a page shows beside the results: it is read from the catalog and the run's folder by whoever makes the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from watcher.model import Introduction


@dataclass(frozen=True)
class Program:
    """A stack's client program, as it stands where the page is made."""

    description: str
    files: tuple[str, ...]
    """Names of its source files, from the top of the repository; most telling first. Empty where it has moved on."""
    default_source: str
    """The upstream page whose example the ``default`` profile is."""


@dataclass(frozen=True)
class Surroundings:
    introduction: Introduction = field(default_factory=Introduction)
    """How the run is introduced to a reader."""
    programs: Mapping[str, Program] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    """Content of the programs' files, by name: stacks of one library share some."""
    profiles: Mapping[str, str] = field(default_factory=dict)
    """Name to one line of explanation."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """``stack/profile/scenario`` to the environment of the program, one assignment a line."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Name to one line of explanation."""
    evidence: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """``stack/profile/scenario`` to links, relative to the page, of the files kept of the cell."""
    repository: str | None = None
    """Link, relative to the page, of the repository's top; None where the page is not in one."""
