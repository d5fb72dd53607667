"""The rules of ``tests/conftest.py``, tried on a test suite of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.order import LONGEST_FIRST
from watcher import doctor

ROOT = Path(__file__).parents[2]
CONFTEST = ROOT / "tests" / "conftest.py"
MODULE_THAT_SKIPS = "import pytest\npytest.skip('this module has no time', allow_module_level=True)"
SKIPPING = (
    "import pytest\ndef test_one(): pytest.skip('no time')\n@pytest.mark.skip(reason='off')\ndef test_two(): pass"
)
FAILING_AS_EXPECTED = "import pytest\n@pytest.mark.xfail\ndef test_one(): assert False"
LAB = "import pytest\n@pytest.mark.lab\ndef test_lab(): pass\ndef test_other(): pass"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    # Its own plug-in is loaded already, and a conftest that is not at the top may not ask for it.
    pytester.makeconftest(CONFTEST.read_text().replace('pytest_plugins = ["pytester"]', ""))
    pytester.makeini("[pytest]\nmarkers = lab\nasyncio_default_fixture_loop_scope = function")
    return pytester


def test_a_skip_fails_in_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a test that silently stops running on the CI machine lets any regression reach a user."""
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(SKIPPING)
    result = suite.runpytest()
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*nothing may be skipped: *no time*"])


def test_a_module_that_skips_itself_fails_in_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, where the whole file is passed over before any test of it exists."""
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(MODULE_THAT_SKIPS)
    suite.runpytest().assert_outcomes(errors=1)


def test_an_expected_failure_is_no_skip(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a known, recorded defect would stop every release."""
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(FAILING_AS_EXPECTED)
    suite.runpytest().assert_outcomes(xfailed=1)


def test_a_user_may_skip(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contributor's laptop need not have everything."""
    monkeypatch.delenv("CI", raising=False)
    suite.makepyfile(SKIPPING)
    suite.runpytest().assert_outcomes(skipped=2)


def test_lab_tests_skip_with_the_doctors_reason(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a contributor on macOS sees fifty tracebacks instead of one reason."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(doctor, "lab_problem", lambda: "nft: not found")
    suite.makepyfile(LAB)
    result = suite.runpytest("-rs")
    result.assert_outcomes(skipped=1, passed=1)
    result.stdout.fnmatch_lines(["*the lab cannot run here: nft: not found*"])


def test_lab_tests_run_where_the_lab_can(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they would never run anywhere."""
    monkeypatch.setattr(doctor, "lab_problem", lambda: None)
    suite.makepyfile(LAB)
    suite.runpytest().assert_outcomes(passed=2)


def test_a_lab_test_that_cannot_run_fails_in_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a CI machine that lost its user namespaces would pass everything, having tried nothing."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(doctor, "lab_problem", lambda: "nft: not found")
    suite.makepyfile(LAB)
    suite.runpytest().assert_outcomes(errors=1, passed=1)


def test_what_is_long_is_there() -> None:
    """Else a file that was renamed begins last, and `make test` takes minutes more without a word."""
    assert [file for file in LONGEST_FIRST if not (ROOT / file).is_file()] == []


def test_the_longest_files_begin_first_and_stay_whole(suite: pytest.Pytester) -> None:
    """Else one process works on the longest file alone at the end, or the runs that its tests share are repeated."""
    names = (LONGEST_FIRST[1], "tests/unit/test_quick.py", LONGEST_FIRST[0])
    for name in names:
        file = suite.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("def test_one(): pass\ndef test_two(): pass\n")
    suite.makeini(
        "[pytest]\nmarkers = lab\nasyncio_default_fixture_loop_scope = function\naddopts = --import-mode=importlib"
    )
    alone = suite.runpytest_subprocess("-v", *names)
    assert names_of(alone.outlines) == [f"{name}::test_{each}" for name in names for each in ("one", "two")]
    shared = suite.runpytest_subprocess("-v", "-n1", "--dist=loadfile", "--no-loadscope-reorder", *names)
    begun = (names[2], names[0], names[1])
    assert names_of(shared.outlines) == [f"{name}::test_{each}" for name in begun for each in ("one", "two")]


def names_of(lines: list[str]) -> list[str]:
    """In the order in which they passed."""
    return [found[1] for line in lines if "PASSED" in line and (found := re.search(r"(tests/\S+::\S+)", line))]
