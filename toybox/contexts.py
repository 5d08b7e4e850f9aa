"""What belongs to each context: its events, commands, read models and routes, found in the code that declares them."""

import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from domain.kernel import EVENT_TYPES, Event
from toybox.inventory import Module, folder, load, modules, under

TOPIC = "toybox.events"
"""The one ordered Kafka topic of every public event."""
_TABLE = re.compile(
    r"^\s*CREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class EventFact:
    """One event type, as declared and as used."""

    type: str
    version: int
    sentence: str
    fields: dict[str, str]
    declared_in: str
    topic: str | None
    """Kafka topic; None for a private event."""
    answered_by: list[str]
    """Reactions that name it."""
    shown_in: list[str]
    """Read models that name it."""


@dataclass(frozen=True, slots=True)
class CommandFact:
    """One command and the permission it takes."""

    name: str
    permission: str
    sentence: str


@dataclass(frozen=True, slots=True)
class ReadModel:
    """One projection with its tables."""

    name: str
    sentence: str
    tables: list[str]


@dataclass(frozen=True, slots=True)
class Context:
    """A context through all layers."""

    name: str
    sentence: str
    files: list[str]
    events: list[EventFact]
    commands: list[CommandFact]
    read_models: list[ReadModel]
    routes: list[str]
    reactions: list[str]


def first_sentence(text: str | None) -> str:
    """The first line of a docstring."""
    return (text or "").strip().partition("\n")[0]


@cache
def context_names() -> tuple[str, ...]:
    """Contexts are the names under `domain/` that declare events."""
    load()
    declaring = {
        kind.__module__.split(".")[1] for kind in EVENT_TYPES.values() if kind.__module__.startswith("domain.")
    }
    return tuple(sorted(declaring))


def events_of(context: str) -> list[EventFact]:
    """Its event types, by name."""
    return [event_fact(kind) for _, kind in sorted(EVENT_TYPES.items()) if _belongs(kind.__module__, context)]


def _belongs(module: str, context: str) -> bool:
    return module == f"domain.{context}" or module.startswith(f"domain.{context}.")


def _names(module: Module, kind: type[Event]) -> bool:
    return kind.TYPE in module.mentions or kind.__qualname__ in _ends(module)


@cache
def _ends(module: Module) -> frozenset[str]:
    """The last words of every dotted name: how a class of events is called wherever it was imported from."""
    return frozenset(".".join(said.rsplit(".", words)[-words:]) for said in module.mentions for words in (1, 2))


def event_fact(kind: type[Event]) -> EventFact:
    """What one event class says of itself, and which files name it."""
    inherited = Event.model_fields.keys() | {"originator_topic"}
    return EventFact(
        type=kind.TYPE,
        version=kind.VERSION,
        sentence=first_sentence(kind.__doc__),
        fields={name: _spelled(field.annotation) for name, field in kind.model_fields.items() if name not in inherited},
        declared_in=kind.__module__.replace(".", "/") + ".py",
        topic=None if kind.PRIVATE else TOPIC,
        answered_by=[each.path for each in modules() if each.inside("streams.reactions") and _names(each, kind)],
        shown_in=[each.path for each in modules() if each.inside("projections") and _names(each, kind)],
    )


def _spelled(annotation: Any) -> str:
    """A type as people read it; what narrows it further is in the JSON Schema."""
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None:
            return "None" if annotation is NoneType else getattr(annotation, "__name__", str(annotation))
        case origin if origin is Annotated:
            return _spelled(arguments[0])
        case origin if origin is Literal:
            return " | ".join(str(each) for each in arguments)
        case origin if origin in (Union, UnionType):
            return " | ".join(_spelled(each) for each in arguments)
        case origin:
            return f"{origin.__name__}[{', '.join(_spelled(each) for each in arguments)}]"


def commands_of(context: str) -> list[CommandFact]:
    """Its commands, by name."""
    commands: dict[str, type[Any]] = importlib.import_module("commands.handling").COMMANDS
    home = f"commands.{context}"
    return [
        CommandFact(name, kind.PERMISSION, first_sentence(kind.__doc__))
        for name, kind in sorted(commands.items())
        if kind.__module__ == home or kind.__module__.startswith(home + ".")
    ]


def read_models_of(context: str) -> list[ReadModel]:
    """Projections named after it, and those that are fed by its events alone."""
    return [
        _read_model(name, files)
        for name, files in under("projections").items()
        if name == context or _owners(files) == {context}
    ]


def _owners(files: Iterable[Module]) -> set[str]:
    return {context for each in files for context in contexts_of(each)}


def contexts_of(module: Module) -> set[str]:
    """Contexts whose domain or commands this module imports."""
    parts = {name.split(".")[1] for name in module.imports if name.startswith(("domain.", "commands."))}
    return parts & set(context_names())


def _read_model(name: str, files: Sequence[Module]) -> ReadModel:
    root = folder("projections")
    sql = [root / f"{name}.sql", *sorted((root / name).glob("*.sql"))]
    tables = [table for file in sql if file.is_file() for table in _TABLE.findall(file.read_text("utf-8"))]
    return ReadModel(name, files[0].summary, tables)


def routes_of(context: str) -> list[str]:
    """Method and path of its routes."""
    found: list[str] = []
    for module in under("api.routes").get(context, []):
        router = getattr(importlib.import_module(module.name), "router", None)
        for route in getattr(router, "routes", ()):
            methods: Iterable[str] = getattr(route, "methods", None) or ()
            found += [f"{method} {route.path}" for method in sorted(set(methods) - {"HEAD", "OPTIONS"})]
    return found


def reactions_of(context: str) -> list[Module]:
    """Reactions that hear its events or send its commands."""
    return [each for files in under("streams.reactions").values() for each in files if context in contexts_of(each)]


def adapters_of(context: str) -> list[Module]:
    """Adapters made for it: those that import it, or carry its name."""
    return [
        each
        for name, files in under("adapters").items()
        for each in files
        if name == context or context in contexts_of(each)
    ]


def tests_of(context: str, root: Path) -> list[str]:
    """Its test files, where this is a checkout."""
    return sorted(file.relative_to(root).as_posix() for file in (root / "tests").rglob(f"test_{context}*.py"))


def context(name: str) -> Context:
    """Everything that belongs to one context."""
    load()
    layers = [under(package).get(name, []) for package in ("domain", "commands", "projections", "api.routes")]
    reactions = reactions_of(name)
    adapters = adapters_of(name)
    return Context(
        name=name,
        sentence=layers[0][0].summary,
        files=[each.path for layer in (*layers, reactions, adapters) for each in layer]
        + tests_of(name, folder("domain").parent),
        events=events_of(name),
        commands=commands_of(name),
        read_models=read_models_of(name),
        routes=routes_of(name),
        reactions=[each.path for each in reactions],
    )
