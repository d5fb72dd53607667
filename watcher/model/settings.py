"""Keepalive settings and their names."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from watcher.model.values import Name, PositiveSeconds, Value


class Settings(Value):
    """One keepalive setting. ``None`` means: not set, the library's or the kernel's own value applies."""

    retry_seconds: PositiveSeconds | None = None
    keepalive: bool = False
    keepalive_idle_seconds: PositiveSeconds | None = None
    keepalive_interval_seconds: PositiveSeconds | None = None
    keepalive_count: Annotated[int, Field(ge=1, le=127)] | None = None
    user_timeout_seconds: PositiveSeconds | None = None
    read_timeout_seconds: PositiveSeconds | None = None
    watch_timeout_seconds: PositiveSeconds | None = None
    bookmarks: bool = False
    ping_idle_seconds: PositiveSeconds | None = None
    ping_timeout_seconds: PositiveSeconds | None = None

    @model_validator(mode="after")
    def _keepalive_is_whole(self) -> Settings:
        numbers = (self.keepalive_idle_seconds, self.keepalive_interval_seconds, self.keepalive_count)
        if any(number is not None for number in numbers) and not all(number is not None for number in numbers):
            raise ValueError(
                "keepalive needs all of keepalive_idle_seconds, keepalive_interval_seconds, keepalive_count"
            )
        if numbers[0] is not None and not self.keepalive:
            raise ValueError("keepalive numbers need keepalive = true")
        return self

    @property
    def ends_its_own_watch(self) -> bool:
        """True where the profile itself asks that a healthy, quiet watch be ended now and then."""
        return self.read_timeout_seconds is not None or self.watch_timeout_seconds is not None


class Profile(Value):
    """A named keepalive setting; one file in ``profiles/``."""

    name: Name
    description: str
    settings: Settings = Settings()
