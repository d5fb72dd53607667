"""The rules of ``tests/conftest.py``, tried on a test suite of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher import doctor

CONFTEST = Path(__file__).parents[1] / "conftest.py"
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
