"""The proofs that a scenario names, each a predicate over packets, conntrack, counters, probes and process states.

None asks whether a fault's own code ran. Adding one is adding a function under ``@proof("its-name")`` to a module of
this package, or a module with it: all of them are found by walking the package, and the function by its name in
``scenarios/*.toml``.
"""

from __future__ import annotations

import importlib
import pkgutil

from watcher.judge.proofs.registry import IDLE, PROOFS, STANDING, Finding, Proof, check, proof

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["IDLE", "PROOFS", "STANDING", "Finding", "Proof", "check", "proof"]
