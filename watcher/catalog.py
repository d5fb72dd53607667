"""The catalog: every stack, profile, path, fault and scenario that a run can name, found by walking folders.

There is no list to keep. A stack is a table in a client folder's ``client.toml``, a fault is a module of
``watcher/faults``, and each of the others is one TOML file whose name is its name. What is found is checked as a
whole, so that a wrong file is reported before anything runs: all problems are ``FileError`` with file and key.
"""

from __future__ import annotations

import ast
import pathlib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from watcher.errors import FileError, UnknownName, UsageError
from watcher.model import Backend, Balancer, Build, Client, Coming, Path, Profile, Scenario, Stack, Value
from watcher.programs.environments import kinds

PACKAGE = pathlib.Path(__file__).parent
MANIFEST = "client.toml"
TO_COME = "to-come.toml"

V = TypeVar("V", bound=Value)
N = TypeVar("N", Profile, Path, Scenario)


@dataclass(frozen=True)
class FoundStack:
    """A stack with the place it was found in."""

    stack: Stack
    build: Build
    folder: pathlib.Path
    """The client's folder: manifest, programs, lock file."""


@dataclass(frozen=True)
class Catalog:
    """Everything that can be named, by name, each kind in the order in which a matrix shows it."""

    stacks: Mapping[str, FoundStack]
    profiles: Mapping[str, Profile]
    paths: Mapping[str, Path]
    faults: Mapping[str, str]
    """Name to one line of explanation."""
    scenarios: Mapping[str, Scenario]
    blocking_faults: frozenset[str] = frozenset()
    """Those in which new connections get no answer at all."""
    answering_faults: frozenset[str] = frozenset()
    """Those that leave no flow on which a probe gets no answer."""
    coming: tuple[Coming, ...] = ()
    """What tables keep a place for; no run can name it."""

    @classmethod
    def load(
        cls,
        clients: Iterable[pathlib.Path] = (),
        scenarios: Iterable[pathlib.Path] = (),
        paths: Iterable[pathlib.Path] = (),
    ) -> Catalog:
        """Read the catalog that comes with the package, then the user's own.

        ``clients`` are client folders, ``scenarios`` scenario files, ``paths`` path files; a name that exists already
        is an error.
        """
        profiles = _read_all(Profile, sorted((PACKAGE / "profiles").glob("*.toml")))
        read_paths = _read_all(Path, [*sorted((PACKAGE / "paths").glob("*.toml")), *paths])
        faults = read_faults(PACKAGE / "faults")
        files = [*sorted((PACKAGE / "scenarios").glob("*.toml")), *scenarios]
        read_scenarios = _read_all(Scenario, files)
        for file, scenario in read_scenarios:
            _check_reference(file, "path", "path", scenario.path, [path.name for _, path in read_paths])
            _check_reference(file, "fault", "fault", scenario.fault, faults)
            _check_server_side(file, scenario, next(path for _, path in read_paths if path.name == scenario.path))
        shipped = sorted(file.parent for file in clients_folder().glob(f"*/{MANIFEST}"))
        stacks = _read_clients([*shipped, *clients], [profile.name for _, profile in profiles])
        return cls(
            stacks=MappingProxyType(stacks),
            profiles=_by_name(profiles, lambda p: (len(p.settings.model_fields_set), p.name)),
            paths=_by_name(read_paths, lambda p: (p.idle_timeout_seconds or 0, p.name)),
            faults=MappingProxyType({name: found.explanation for name, found in faults.items()}),
            scenarios=_by_name(read_scenarios, lambda s: (s.quiet_seconds is None, s.name)),
            blocking_faults=frozenset(name for name, found in faults.items() if found.blocks_connections),
            answering_faults=frozenset(name for name, found in faults.items() if found.answers_probes),
            coming=read_coming(clients_folder()),
        )

    def select_stacks(self, patterns: str | None) -> tuple[str, ...]:
        return select("stack", patterns, self.stacks)

    def select_profiles(self, patterns: str | None) -> tuple[str, ...]:
        return select("profile", patterns, self.profiles)

    def select_scenarios(self, patterns: str | None) -> tuple[str, ...]:
        return select("scenario", patterns, self.scenarios)


def select(kind: str, patterns: str | None, names: Iterable[str]) -> tuple[str, ...]:
    """The names that a comma list of names and globs asks for, in the order asked for; ``None`` asks for all.

    A part that matches nothing is ``UnknownName``: a typing error must not make a run smaller in silence.
    """
    names = tuple(names)
    if not names:
        raise UsageError(f"there is no {kind} at all", advice="the installation is not whole: install watcher again")
    if patterns is None:
        return names
    parts = [part.strip() for part in patterns.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"the list of {kind}s is empty", advice=f"`watcher list {kind}s` shows all")
    chosen: dict[str, None] = {}
    for part in parts:
        matched = [name for name in names if fnmatchcase(name, part)]
        if not matched:
            raise UnknownName(kind, part, names)
        chosen.update(dict.fromkeys(matched))
    return tuple(chosen)


def clients_folder() -> pathlib.Path:
    """Where the client folders are: inside the package in a wheel, beside it in a checkout."""
    inside = PACKAGE / "clients"
    return inside if inside.is_dir() else PACKAGE.parent / "clients"


def read_coming(clients: pathlib.Path) -> tuple[Coming, ...]:
    """Of the folders that hold no program yet. Raises FileError where one holds both: the place is taken by then."""
    found = []
    for file in sorted(clients.glob(f"*/{TO_COME}")):
        if (file.parent / MANIFEST).exists():
            raise FileError(
                str(file), None, f"{MANIFEST} is there already", advice="remove this one: it is no more to come"
            )
        found.append(_validate(Coming, _read_toml(file), file))
    return tuple(found)


@dataclass(frozen=True)
class FoundFault:
    """What a fault's module says of it."""

    explanation: str
    """The first line of its docstring."""
    blocks_connections: bool
    """Its ``BLOCKS_CONNECTIONS``; False where it says nothing."""
    answers_probes: bool
    """Its ``ANSWERS_PROBES``, likewise."""


def read_faults(folder: pathlib.Path) -> dict[str, FoundFault]:
    """Each fault by its name.

    The source is parsed, not imported: a fault may need Linux, what it says of itself does not.
    """
    faults = {}
    for file in sorted(folder.glob("[!_]*.py")):
        try:
            module = ast.parse(file.read_bytes(), str(file))
        except SyntaxError as error:
            raise FileError(str(file), None, f"is not Python: {error}") from error
        docstring = ast.get_docstring(module)
        if not docstring:
            advice = "its first line is what `watcher list faults` says"
            raise FileError(str(file), None, "has no docstring", advice=advice)
        name = file.stem.replace("_", "-")
        faults[name] = FoundFault(
            explanation=docstring.splitlines()[0],
            blocks_connections=_says(file, module, "BLOCKS_CONNECTIONS"),
            answers_probes=_says(file, module, "ANSWERS_PROBES"),
        )
    return faults


def _says(file: pathlib.Path, module: ast.Module, constant: str) -> bool:
    """The value of a module's constant; False where there is none. Raises FileError unless it is True or False."""
    value: Any = False
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=given) if name == constant:
                value = given
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as given) if name == constant:
                value = given
    if isinstance(value, ast.expr):
        value = value.value if isinstance(value, ast.Constant) else None
    if not isinstance(value, bool):
        raise FileError(str(file), constant, "must be True or False", advice="it is read, never run: write the word")
    return value


def read_file(model: type[V], file: pathlib.Path) -> V:
    """One profile, path or scenario; its name is the file's."""
    content = _read_toml(file)
    if "name" in content:
        raise FileError(str(file), "name", "must not be given", advice="the file's own name is the name")
    return _validate(model, content | {"name": file.stem}, file)


def _read_toml(file: pathlib.Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise FileError(str(file), None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(str(file), None, f"is not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise FileError(str(file), None, f"is not TOML: {error}") from error


def _read_all(model: type[N], files: Iterable[pathlib.Path]) -> list[tuple[pathlib.Path, N]]:
    found: dict[str, pathlib.Path] = {}
    values = []
    for file in files:
        value = read_file(model, file)
        _check_unique(found, model.__name__.lower(), file.stem, file, None)
        values.append((file, value))
    return values


def _read_clients(folders: Iterable[pathlib.Path], profiles: Iterable[str]) -> dict[str, FoundStack]:
    found: dict[str, pathlib.Path] = {}
    stacks = {}
    for folder in folders:
        file = folder / MANIFEST
        if not file.is_file():
            advice = "name the client's folder, not a file in it"
            raise FileError(str(folder), None, f"holds no {MANIFEST}", advice=advice)
        client = _validate(Client, _read_toml(file), file)
        if client.build.kind not in kinds.names():
            problem = f"unknown kind {client.build.kind!r}"
            raise FileError(str(file), "build.kind", problem, advice=f"there are {', '.join(kinds.names())}")
        for number, stack in enumerate(client.stack):
            for profile in stack.profiles:
                _check_reference(file, f"stack[{number}].profiles", "profile", profile, profiles)
            _check_unique(found, "stack", stack.name, file, f"stack[{number}].name")
            stacks[stack.name] = FoundStack(stack=stack, build=client.build_of(stack), folder=folder.resolve())
    return stacks


def _by_name(found: Iterable[tuple[pathlib.Path, N]], order: Callable[[N], Any]) -> Mapping[str, N]:
    values = sorted((value for _, value in found), key=order)
    return MappingProxyType({value.name: value for value in values})


def _check_unique(found: dict[str, pathlib.Path], kind: str, name: str, file: pathlib.Path, key: str | None) -> None:
    if name in found:
        problem = f"there is a {kind} {name!r} already, in {found[name]}"
        raise FileError(str(file), key, problem, advice="rename one of them")
    found[name] = file


def _check_reference(file: pathlib.Path, key: str, kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        unknown = UnknownName(kind, name, known)
        raise FileError(str(file), key, unknown.message, advice=unknown.advice)


def _check_server_side(file: pathlib.Path, scenario: Scenario, path: Path) -> None:
    """kube-proxy leads where its Service does, whatever a scenario says."""
    if path.balancer is not Balancer.LAB and scenario.server_keepalive not in (None, path.server_keepalive):
        raise FileError(
            str(file),
            "server_keepalive",
            f"path {path.name} leads to the API server itself, whose keepalive is its own",
        )
    if (path.headless or path.same_node) and scenario.backend is not Backend.OWN:
        raise FileError(
            str(file), "backend", f"path {path.name} leads to one pod of the scenario's own", advice='backend = "own"'
        )


def _validate(model: type[V], content: dict[str, Any], file: pathlib.Path) -> V:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # A table that is wrong leaves its list too short: that is the same mistake, said again.
        details = [detail for detail in details if detail["type"] != "too_short"] or details
        problems = [_problem(model, detail) for detail in details]
        key, problem, advice = problems[0]
        more = [f"{key}: {problem}" for key, problem, _ in problems[1:]]
        raise FileError(str(file), key, problem, advice="; ".join([*filter(None, [advice]), *more]) or None) from error


def _problem(model: type[BaseModel], detail: Any) -> tuple[str | None, str, str | None]:
    """Key, problem and advice of one error of pydantic, in words for somebody who has never heard of it."""
    location: tuple[str | int, ...] = detail["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or None
    if location == ("name",):
        return None, "the file's name is not a name", "use lower-case letters, digits and hyphens, 50 at most"
    if detail["type"] == "missing":
        return key, "is missing", None
    if detail["type"] == "extra_forbidden":
        given_by_file = {"name"} if len(location) == 1 else set()
        known = sorted(set(_keys(model, location[:-1])) - given_by_file)
        nearest = get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        return key, "unknown key", f"{hint}known here: {', '.join(known)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return key, f"{message} (found {detail['input']!r})" if location else message, None


def _keys(model: type[BaseModel], location: tuple[str | int, ...]) -> Iterator[str]:
    """The keys that the table at ``location`` may have."""
    for part in location:
        if isinstance(part, str):
            inner = _table(model.model_fields[part].annotation)
            if inner is None:
                return
            model = inner
    yield from model.model_fields


def _table(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``Model``, ``Model | None`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table, get_args(annotation))), None)
