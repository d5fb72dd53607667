"""A protocol is one module: judge, runner and report know none of them by name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import watcher
from watcher import protocols

PACKAGE = Path(watcher.__file__).parent
FOLDERS = ("judge", "runner", "report")
FIRST = "watch"
"""The word for what a client does, too; every sentence here is about it. All others are names of nothing else."""
NAMES = sorted(set(protocols.names()) - {FIRST})
HOMONYMS = {"socket.timer"}
"""A field of ``records.Socket``: the kernel's own timer that runs on it."""
MODULES = sorted(file for folder in FOLDERS for file in (PACKAGE / folder).rglob("*.py"))


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
        for text in _texts(node):
            found += [
                f"line {getattr(node, 'lineno', '?')}: {name} in {text!r}" for name in NAMES if _names(text, name)
            ]
    return found


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
    words = text.lower().replace(".", " ").replace("_", " ").replace("-", " ").replace("/", " ").split()
    return name in words if not _is_prose(text) else False


def _is_prose(text: str) -> bool:
    """A sentence for people may speak of a timer; what is compared with a protocol's name is no sentence."""
    return " " in text.strip()


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_module_names_a_protocol(file: Path) -> None:
    """Else the next protocol is a change in three packages, and its verdicts are another judge's."""
    assert named(file.read_text()) == []


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
    ],
)
def test_a_module_that_does_is_found(name: str, mutant: str) -> None:
    """The mutants of the test above."""
    assert named(mutant.format(name))


def test_there_is_something_to_look_for() -> None:
    """A test over nothing would be green for ever."""
    assert {"poll", "timer", "echo"} <= set(NAMES)
    assert len(MODULES) > 30
