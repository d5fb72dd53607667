"""The rules of ``tests/conftest.py``, tried on a test suite of their own."""

from __future__ import annotations

import sys
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


class OneOfSeveral:
    """Plug-in: makes pytest take its own process for one that shares the tests with others, as xdist does."""

    def pytest_configure(self, config: pytest.Config) -> None:
        config.workerinput = {}  # type: ignore[attr-defined]  # xdist's, and how it is to be asked for


@pytest.mark.parametrize(
    ("plugins", "order"), [([], (0, 1, 2)), ([OneOfSeveral()], (2, 0, 1))], ids=["alone", "shared"]
)
def test_the_longest_files_begin_first(
    suite: pytest.Pytester, plugins: list[object], order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one process works on the longest file at the end while all others have nothing to do. One alone keeps the
    order that a reader expects.
    """
    names = (LONGEST_FIRST[1], "tests/unit/test_quick.py", LONGEST_FIRST[0])
    for name in names:
        file = suite.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("def test_two(): pass\ndef test_one(): pass\n")
        # This very process may have run the real one of that name.
        monkeypatch.delitem(sys.modules, name.removesuffix(".py").replace("/", "."), raising=False)
    found = suite.inline_run("--collect-only", "--import-mode=importlib", *names, plugins=plugins)
    (finished,) = found.getcalls("pytest_collection_finish")
    collected = [item.nodeid for item in finished.session.items]
    assert collected == [f"{names[each]}::test_{test}" for each in order for test in ("two", "one")]
