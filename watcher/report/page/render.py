"""Fills the template; whatever a program, a library or the network said goes through its escaping."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from watcher.model import CellResult, Results
from watcher.report.index import Published
from watcher.report.matrix import figures
from watcher.report.page import plain
from watcher.report.page.cells import packed
from watcher.report.page.findings import findings, split
from watcher.report.page.settings import Setting, settings
from watcher.report.page.surroundings import Surroundings
from watcher.report.page.table import CONTROLS, table
from watcher.report.words import DECIDED, MARKS
from watcher.timeline import Timeline

MATRIX_PAGE = "page.html"
_ASSETS = files("watcher.report.page") / "assets"
SCRIPTS = ("elements.js", "address.js", "grid.js", "filters.js", "timeline.js", "ladder.js", "details.js", "start.js")


def page(
    results: Results,
    name: str,
    timelines: Mapping[str, Timeline] | None = None,
    around: Surroundings | None = None,
    others: Iterable[Published] = (),
) -> str:
    """The matrix of one run. ``name`` is what links call it; ``timelines`` are by the folder of a cell's evidence.

    ``others`` are runs whose pages lie beside this one, newest first: they are named where they know a cure that was
    not tried here.
    """
    around = around or Surroundings()
    first, folded = split(findings(results, others))
    laid_out = table(results, around)
    explained = settings(results, around)
    by_stack: dict[str, dict[str, CellResult]] = {}
    for cell in results.cells:
        by_stack.setdefault(cell.stack, {})[f"{cell.profile}/{cell.scenario}"] = cell
    by_stack[CONTROLS] = {f"{cell.control}/{cell.scenario}": cell for cell in results.controls}
    chunks = [packed(by_stack.get(block.stack, {}), results, timelines or {}, around) for block in laid_out.blocks]
    return filled(
        "page.html.j2",
        SCRIPTS,
        {
            "name": name,
            "results": results,
            "table": laid_out,
            "readings": plain.readings(results),
            "question": plain.question(around.introduction),
            "tested": plain.tested(results, around.introduction),
            "coverage": plain.coverage(results, around.introduction),
            "findings": first,
            "folded": folded,
            "described": around.profiles,
            "settings": explained,
            "explained": {each.name: each for each in explained},
            "plain": plain,
            "figures": figures(results),
            "chunks": chunks,
            "data": _data(results, name, around, explained),
            "began": results.run.started_at[:10],
        },
    )


def filled(template: str, scripts: Iterable[str], values: Mapping[str, object]) -> str:
    """A whole document with style and scripts inside, and a policy that lets nothing else in."""
    style = asset("page.css")
    script = "\n".join(asset(each) for each in scripts)
    known = {
        "style": Markup(style),  # noqa: S704  # our own files
        "script": Markup(script),  # noqa: S704
        "policy": _policy(style, script),
    }
    return _environment().get_template(template).render({**known, **values})


@cache
def asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8").strip()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["island"] = island
    environment.filters["link"] = safe_link
    return environment


def island(value: object) -> Markup:
    """JSON inside a script element: nothing in it can end the element, begin a comment, or be markup."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704  # see above


def safe_link(text: str) -> str:
    """The address at the beginning of ``text`` if it is an https one, else nothing: a ``javascript:`` is no source."""
    address = text.split(" ", 1)[0]
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return address if parts.scheme == "https" and parts.netloc else ""


def _policy(style: str, script: str) -> str:
    def digest(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    return (
        f"default-src 'none'; style-src {digest(style)}; script-src {digest(script)};"
        " base-uri 'none'; form-action 'none'"
    )


def _data(results: Results, name: str, around: Surroundings, explained: Iterable[Setting]) -> dict[str, object]:
    return {
        "page_version": 1,
        "run": name,
        "scale": results.run.scale,
        "deadline_seconds": results.run.deadline_seconds,
        "decided": sorted(verdict.value for verdict in DECIDED),
        "symbols": {verdict.value: mark.symbol for verdict, mark in MARKS.items()},
        "meanings": {verdict.value: mark.meaning for verdict, mark in MARKS.items()},
        "repository": around.repository,
        "plain": {verdict.value: words for verdict, words in plain.PLAIN.items()},
        "settings": {
            each.name: {"description": each.description, "given": each.given, "variables": each.variables}
            for each in explained
        },
        "sources": dict(around.sources),
        "paths": dict(around.paths),
        "stacks": {
            stack: {
                "library": known.library,
                "version": known.version or "",
                "runtime": known.runtime or "",
                "keepalive": known.measured_keepalive or "",
                "timers": [f"{each.name}: {each.seconds:g} s" for each in known.timers],
            }
            for stack, known in results.stacks.items()
        },
        "programs": {
            stack: {
                "description": program.description,
                "files": program.files,
                "default": program.default_source,
                "default_link": safe_link(program.default_source),
            }
            for stack, program in around.programs.items()
            if stack in results.stacks
        },
        "scenarios": {
            scenario: {
                "description": known.description,
                "path": known.path,
                "fault": known.fault,
                "source": known.source,
                "source_link": safe_link(known.source),
                "threads": [thread for thread in known.threads if safe_link(thread) == thread],
            }
            for scenario, known in results.scenarios.items()
        },
    }
