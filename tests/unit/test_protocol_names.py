"""A protocol is one module: judge, runner and report know none of them by name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import watcher
from watcher import protocols

PACKAGE = Path(watcher.__file__).parent
FOLDERS = ("judge", "runner", "report")
FIRST = "watch"
"""The word for what a client does, too, so that only a text which is nothing else is the protocol's name."""
NAMES = sorted(set(protocols.names()) - {FIRST})
"""These are names of nothing else."""
HOMONYMS = {"socket.timer"}
"""A field of ``records.Socket``: the kernel's own timer that runs on it."""
MODULES = sorted(file for folder in FOLDERS for file in (PACKAGE / folder).rglob("*.py"))
ASSETS = sorted(
    file for folder in FOLDERS for ending in ("css", "j2", "js") for file in (PACKAGE / folder).rglob(f"*.{ending}")
)


def named(source: str) -> list[str]:
    """Where a protocol is named by a literal, an identifier or an import; comments and docstrings are prose."""
    tree = ast.parse(source)
    prose = {
        id(body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (body := node.body)
        and isinstance(body[0], ast.Expr)
    }
    prose |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if id(node) in prose or (isinstance(node, ast.Attribute) and ast.unparse(node) in HOMONYMS):
            continue
        line = f"line {getattr(node, 'lineno', '?')}"
        found += [f"{line}: {name} in {text!r}" for text in _texts(node) for name in NAMES if _names(text, name)]
        if isinstance(node, ast.Constant) and node.value == FIRST:
            found.append(f"{line}: {FIRST!r}")
    return found


def named_in_asset(source: str) -> list[str]:
    """The same of a page's script, style or template, whose words readers see: comments, too, since it has few."""
    quoted = re.compile(rf"""(["'`]){FIRST}\1""")
    return [
        f"line {number}: {line.strip()}"
        for number, line in enumerate(source.splitlines(), 1)
        if set(NAMES) & set(_words(line)) or quoted.search(line)
    ]


def _texts(node: ast.AST) -> list[str]:
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.keyword(arg=str(text)):
            return [text]
        case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text) | ast.ClassDef(name=text):
            return [text]
        case ast.alias(name=text):
            return [text]
        case ast.ImportFrom(module=str(text)):
            return [text]
    return []


def _names(text: str, name: str) -> bool:
    """The whole text, or one of its words as they are written in names: ``timer-5s``, ``_echo``, ``protocols.nats``."""
    return name in _words(text) and not _is_prose(text)


def _words(text: str) -> list[str]:
    """``isTimer_5s`` is three."""
    return re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())


def _is_prose(text: str) -> bool:
    """A sentence for people may speak of a timer; names one after the other are no sentence."""
    words = _words(text)
    return " " in text.strip() and not (len(words) > 1 and set(words) <= {*NAMES, FIRST})


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_module_names_a_protocol(file: Path) -> None:
    """Else the next protocol is a change in three packages, and its verdicts are another judge's."""
    assert named(file.read_text()) == []


@pytest.mark.parametrize("file", ASSETS, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_asset_names_a_protocol(file: Path) -> None:
    """Else a page shows the next protocol's cells by the rules of another's."""
    assert named_in_asset(file.read_text()) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "mutant",
    [
        'if plan.protocol == "{}": pass',
        "from watcher.protocols import {}",
        "import watcher.protocols.{}",
        "def {}_only(cell): ...",
        'SPECIAL = {{"{}-5s"}}',
        "cell.{} = 1",
        'if plan.protocol in "{} watch".split(): pass',
        'if plan.protocol in "{}, watch".split(", "): pass',
        "def is{}(cell): ...",
    ],
)
def test_a_module_that_does_is_found(name: str, mutant: str) -> None:
    """The mutants of the test above."""
    assert named(mutant.format(name.title() if "is{}" in mutant else name))


def test_a_module_that_names_the_first_is_found() -> None:
    """The word is in every second sentence: a comparison with it passed for one of them."""
    assert named('{stack.protocol for stack in results.stacks.values()} <= {"watch"}')
    assert named('match protocol:\n    case "watch": pass')
    assert named('told = "drops a healthy watch" + ", timer keepalive"') == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "mutant", ['if (stack.protocol === "{}") return;', "{{% if protocol == '{}' %}}", ".{}-5s {{}}"]
)
def test_an_asset_that_does_is_found(name: str, mutant: str) -> None:
    """The mutants of the test of assets."""
    assert named_in_asset(mutant.format(name))


def test_an_asset_that_names_the_first_is_found() -> None:
    """As above."""
    assert named_in_asset('if (stack.protocol === "watch") return;')
    assert named_in_asset("// a client that drops a healthy watch") == []


def test_there_is_something_to_look_for() -> None:
    """A test over nothing would be green for ever."""
    assert {"poll", "timer", "echo"} <= set(NAMES)
    assert len(MODULES) > 30
    assert {file.suffix for file in ASSETS} == {".css", ".j2", ".js"}
