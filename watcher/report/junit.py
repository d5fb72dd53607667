"""The matrix as JUnit XML, for whatever shows tests. A verdict that says nothing of the client is skipped, not failed.

One suite for each stack, a case for each profile and scenario. ``died`` is not a failure (the reading is PASS with
restarts) and says so in its output. The suite ``lab`` fails where the run itself cannot be trusted.
"""

from __future__ import annotations

from xml.etree import ElementTree

from watcher.model import CellResult, Control, Results, Verdict
from watcher.report.words import DECIDED, MARKS, Reading, printable

NAME = "junit.xml"
_EXPECTED = {Control.PERFECT: Verdict.OK, Control.DEAF: Verdict.STUCK}


def render(results: Results) -> str:
    """A whole document; ends with a newline. Equal results give equal text."""
    suites = ElementTree.Element("testsuites", {"name": _text(f"watcher {results.run.id}")})
    for stack in dict.fromkeys(cell.stack for cell in results.cells):
        suite = _suite(suites, stack, results)
        for cell in results.cells:
            if cell.stack == stack:
                _case(suite, cell)
        _count(suite)
    lab = _suite(suites, "lab", results)
    trusted = ElementTree.SubElement(lab, "testcase", {"classname": "lab", "name": "the run can be trusted"})
    if not results.run.trusted:
        reasons = "; ".join(results.run.distrust)
        ElementTree.SubElement(trusted, "failure", {"type": "distrust", "message": _text(reasons)})
    for cell in results.controls:
        _control(lab, cell)
    _count(lab)
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(suites: ElementTree.Element, name: str, results: Results) -> ElementTree.Element:
    attributes = {"name": _text(name), "timestamp": _text(results.run.started_at)}
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    known = results.stacks.get(name)
    if known is not None:
        properties = ElementTree.SubElement(suite, "properties")
        for key, value in (("library", known.library), ("version", known.version), ("runtime", known.runtime)):
            if value:
                ElementTree.SubElement(properties, "property", {"name": key, "value": _text(value)})
    return suite


def _case(suite: ElementTree.Element, cell: CellResult) -> None:
    case = ElementTree.SubElement(suite, "testcase", _named(cell.stack, f"{cell.profile}/{cell.scenario}", cell))
    said = _text(f"{cell.verdict}: {cell.reason}" if cell.reason else cell.verdict.value)
    if cell.verdict not in DECIDED:
        ElementTree.SubElement(case, "skipped", {"message": said})
    elif MARKS[cell.verdict].reading is Reading.FAIL:
        ElementTree.SubElement(case, "failure", {"type": cell.verdict.value, "message": said})
    elif cell.verdict is not Verdict.OK:
        ElementTree.SubElement(case, "system-out").text = f"{MARKS[cell.verdict].reading}: {said}"


def _control(suite: ElementTree.Element, cell: CellResult) -> None:
    """A control that is not as it must be has made its scenario's cells invalid; this is where that is red."""
    name = f"control {cell.control}/{cell.scenario}"
    case = ElementTree.SubElement(suite, "testcase", _named("lab", name, cell))
    expected = _EXPECTED.get(cell.control) if cell.control is not None else None
    if cell.verdict in (Verdict.NOT_RUN, Verdict.INVALID):
        ElementTree.SubElement(case, "skipped", {"message": _text(f"{cell.verdict}: {cell.reason}")})
    elif expected is not None and cell.verdict is not expected:
        message = _text(f"must be {expected}, is {cell.verdict}: {cell.reason}")
        ElementTree.SubElement(case, "failure", {"type": "control", "message": message})


def _named(group: str, name: str, cell: CellResult) -> dict[str, str]:
    delay = cell.delay_seconds
    taken = {} if delay is None else {"time": f"{delay:.3f}"}
    return {"classname": _text(group), "name": _text(name), **taken}


def _count(suite: ElementTree.Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", "0")
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))


def _text(text: str) -> str:
    """``printable`` leaves nothing that XML cannot say: control characters, surrogates and the like are escapes."""
    return printable(text)
