"""How an event becomes a line: its type's wording, filled with plain fields; never with sealed text."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, cast, get_args
from uuid import UUID

from pydantic import BaseModel

from domain.kernel import AGGREGATE_OF, EVENT_TYPES, Event
from domain.values import Instant, Sealed, instant_text, money_text
from projections.views import View

Level = Literal["info", "warning", "error"]
LONGEST: Final = 500
"""Characters of a line."""
SEALED: Final = re.compile(r"s1\.[0-9a-f]{32}\.")
"""How sealed text begins, wherever it turns up."""
_SEALED_PATTERN: Final = get_args(Sealed)[1].pattern
_PLACE: Final = re.compile(r"\{(\w+)\}")
_PART: Final = re.compile(r"\[([^\]]*)\]")


class LogLine(View):
    """One event in words."""

    position: int
    recorded_at: Instant
    project_id: UUID | None
    stream_id: UUID
    type: str
    actor: str
    level: Level
    line: str


@dataclass(frozen=True)
class Wording:
    """What an event says. `{field}` is a field of it; a part in `[...]` is left out when a field in it is empty."""

    text: str
    level: Level = "info"


WORDINGS: dict[str, Wording] = {}
"""By event type. A type without one says its name and its plain fields."""


def says(kind: type[Event], text: str, level: Level = "info") -> None:
    """Give an event type its line. Refused where the line names a field that the event lacks, or one that is sealed."""
    for field in _PLACE.findall(text):
        known = kind.model_fields.get(field)
        if known is None:
            raise TypeError(f"{kind.TYPE} has no field {field}")
        if holds_text([known.annotation, *known.metadata]):
            raise TypeError(f"{kind.TYPE}: {field} holds sealed text, which no line may show")
    WORDINGS[kind.TYPE] = Wording(text, level)


def holds_text(annotations: Iterable[Any]) -> bool:
    """Whether a field's type is, or contains, text that people or models wrote."""
    return any(
        getattr(each, "pattern", None) == _SEALED_PATTERN or holds_text(get_args(each)) or holds_text(_fields_of(each))
        for each in annotations
    )


def _fields_of(annotation: Any) -> Iterable[Any]:
    """What the fields of a value are annotated with; nothing for what is no value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for field in annotation.model_fields.values():
            yield from (field.annotation, *field.metadata)


def line_of(event: Event, name: str | None) -> tuple[Level, str]:
    """How loud, and what: `budget of project Notes: 0.5 USD held`."""
    wording = WORDINGS.get(event.TYPE)
    noun = AGGREGATE_OF[event.TYPE].TOPIC.replace("_", " ")
    said = _worded(wording.text, event) if wording else _plain_fields(event)
    line = f"{noun} {name}: {said}" if name else f"{noun}: {said}"
    return wording.level if wording else "info", line[:LONGEST]


def _worded(text: str, event: Event) -> str:
    def part(found: re.Match[str]) -> str:
        values = [getattr(event, field) for field in _PLACE.findall(found[1])]
        return "" if any(value is None or value == [] for value in values) else found[1]

    def place(found: re.Match[str]) -> str:
        return shown(getattr(event, found[1]))

    return _PLACE.sub(place, _PART.sub(part, text))


def _plain_fields(event: Event) -> str:
    told = [
        f"{field}={text}"
        for field in EVENT_TYPES[event.TYPE].model_fields
        if field not in Event.model_fields and field != "originator_topic" and (text := shown(getattr(event, field)))
    ]
    return " ".join([event.TYPE.partition(".")[2].replace("_", " "), *told])


def shown(value: object) -> str:
    """A plain value in words; nothing for sealed text and for whatever is not plain."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, (shown(each) for each in cast("Sequence[object]", value))))
    for kind, spelled in _SPELLINGS:
        if isinstance(value, kind):
            return spelled(value)
    return " ".join(filter(None, (shown(getattr(value, field, None)) for field in ("kind", "name"))))


def _plain(text: str) -> str:
    return "" if SEALED.match(text) else text


_SPELLINGS: Final[Sequence[tuple[Any, Callable[[Any], str]]]] = (
    (bool, lambda yes: "yes" if yes else "no"),
    (str, _plain),
    (Decimal, money_text),
    (datetime, instant_text),
    ((int, UUID), str),
)
