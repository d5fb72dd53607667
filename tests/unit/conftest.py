"""What holds for all unit tests: how long an example of a property takes is no property of the code."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# As Hypothesis itself has it where CI is set: a machine that runs other tests besides stops an example where it likes.
settings.register_profile("busy-machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy-machine")
