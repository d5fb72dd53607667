"""In which order the files of tests begin where several processes share them (``make test``).

A file stays whole, since what its tests share is a run of the lab or a browser; whatever begins last is waited for by
all. So the long ones begin first. Only what takes some 20 s has a place here; a wrong place costs time, nothing else.
``make test TEST_OPTIONS=--durations=40`` tells what is long today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

LONGEST_FIRST = (
    "tests/deploy/test_image.py",
    "tests/lab/test_rehearsal_faults.py",
    "tests/contract/test_programs.py",
    "tests/lab/test_own_servers.py",
    "tests/lab/test_own_cells.py",
    "tests/lab/test_line_servers.py",
    "tests/lab/test_run.py",
    "tests/lab/test_faults_off.py",
    "tests/lab/test_negative_controls.py",
    "tests/lab/test_proxies.py",
    "tests/lab/test_conntrack_invalid.py",
    "tests/lab/test_message_cells.py",
    "tests/lab/test_stand_ins.py",
    "tests/lab/test_rehearsal_soak.py",
    "tests/conformance/test_conformance.py",
    "tests/lab/test_kube_proxy.py",
    "tests/lab/test_kubernetes.py",
    "tests/soak/test_process.py",
    "tests/lab/test_idle.py",
    "tests/conformance/test_mutants.py",
    "tests/lab/test_rehearsal.py",
    "tests/lab/test_healing.py",
    "tests/lab/test_history.py",
    "tests/contract/test_asking_programs.py",
    "tests/contract/test_line_programs.py",
    "tests/contract/test_message_programs.py",
    "tests/contract/test_class_data.py",
    "tests/page/test_matrix_page.py",
    "tests/page/test_cell.py",
    "tests/deploy/test_admission.py",
    "tests/unit/probe/test_probe.py",
    "tests/lab/test_killed.py",
    "tests/page/test_accessible.py",
    "tests/unit/soak/test_supervisor.py",
    "tests/page/test_first_screen.py",
)


def longest_first(items: Iterable[Item], file_of: Callable[[Item], str]) -> list[Item]:
    """All others follow as they were, and so do the tests of each file."""
    place = {file: number for number, file in enumerate(LONGEST_FIRST)}
    return sorted(items, key=lambda item: place.get(file_of(item), len(place)))
