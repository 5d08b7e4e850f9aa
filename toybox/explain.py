"""`toybox explain`: what a context or an event type is made of, answered from the code itself."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from difflib import get_close_matches

from domain.errors import NotFound
from domain.kernel import EVENT_TYPES
from toybox.contexts import Context, EventFact, context, context_names, event_fact
from toybox.inventory import load

Explanation = Context | EventFact


def explain(name: str) -> Explanation:
    """A context (`budgets`) or an event type (`budget.settled`)."""
    load()
    if name in EVENT_TYPES:
        return event_fact(EVENT_TYPES[name])
    if name in context_names():
        return context(name)
    known = [*context_names(), *sorted(EVENT_TYPES)]
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"contexts are {', '.join(context_names())}"
    msg = f"there is no context or event type {name!r}; {hint}"
    raise NotFound(msg)


def as_json(found: Explanation) -> dict[str, object]:
    """The same facts for `--json`."""
    return {"kind": "context" if isinstance(found, Context) else "event", **asdict(found)}


def as_lines(found: Explanation) -> list[str]:
    """The same facts as plain text."""
    return list(_event_lines(found) if isinstance(found, EventFact) else _context_lines(found))


def _section(title: str, rows: Iterable[str]) -> Iterator[str]:
    listed = list(rows)
    if listed:
        yield ""
        yield title
        yield from (f"  {row}" for row in listed)


def _event_lines(fact: EventFact) -> Iterator[str]:
    yield f"{fact.type}, version {fact.version}: {fact.sentence}"
    yield from _section("Payload", (f"{name}: {kind}" for name, kind in fact.fields.items()))
    yield from _section("Declared in", [fact.declared_in])
    yield from _section("Kafka topic", [fact.topic or "none: a private event never leaves PostgreSQL"])
    yield from _section("Answered by", fact.answered_by)
    yield from _section("Shown in", fact.shown_in)


def _context_lines(fact: Context) -> Iterator[str]:
    yield f"{fact.name}: {fact.sentence}"
    yield from _section("Events", (f"{each.type} v{each.version}  {each.sentence}" for each in fact.events))
    yield from _section("Commands", (f"{each.name} ({each.permission})  {each.sentence}" for each in fact.commands))
    yield from _section("Read models", (_read_model_line(each.name, each.tables) for each in fact.read_models))
    yield from _section("Routes", fact.routes)
    yield from _section("Reactions", fact.reactions)
    yield from _section("Files", fact.files)


def _read_model_line(name: str, tables: list[str]) -> str:
    return f"{name}  tables: {', '.join(tables)}" if tables else name
