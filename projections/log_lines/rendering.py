"""How an event becomes a line: its type's wording, filled with plain fields; never with sealed text."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal, Self, get_args

from pydantic import BaseModel

from domain.charges import unit_words
from domain.kernel import AGGREGATE_OF, ENVELOPE, EVENT_TYPES, Event
from domain.values import Sealed

Level = Literal["info", "warning", "error"]
Payload = Mapping[str, Any]
"""An event's fields as JSON has them, where amounts and instants are already spelled as people read them."""
LONGEST: Final = 500
"""Characters of a line."""
SEALED: Final = re.compile(r"s1\.[0-9a-f]{32}\.")
"""How sealed text begins, wherever it turns up."""
_SEALED_PATTERN: Final = get_args(Sealed)[1].pattern
_PLACE: Final = re.compile(r"\{(\w+)(?: (\w+))?\}")
_PART: Final = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Part:
    """Some words of a wording, read once: a template, and for each place in it the field, and that of its unit."""

    template: str
    places: tuple[tuple[str, str | None], ...]
    optional: bool

    @classmethod
    def of(cls, text: str, *, optional: bool) -> Self:
        """Words with places in them."""
        template = _PLACE.sub("%s", text.replace("%", "%%"))
        return cls(template, tuple((name, unit or None) for name, unit in _PLACE.findall(text)), optional)

    def said(self, payload: Payload) -> str:
        """The words with their places filled; nothing where they are optional and a field in them is empty."""
        told: list[str] = []
        for name, unit in self.places:
            value = payload.get(name)
            if self.optional and (value is None or value == []):
                return ""
            told.append(f"{shown(value)} {unit_words(payload[unit])}" if unit else shown(value))
        return self.template % tuple(told)


def _parts(text: str) -> list[Part]:
    # What the pattern captures stands at the odd places.
    return [Part.of(words, optional=index % 2 == 1) for index, words in enumerate(_PART.split(text)) if words]


@dataclass(frozen=True)
class Wording:
    """What an event says. `{field}` is a field of it, `{amount unit}` one with the unit that another field names.

    A part in `[...]` is left out when a field in it is empty.
    """

    text: str
    level: Level = "info"
    parts: list[Part] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _parts(self.text))

    def said(self, payload: Payload) -> str:
        """The text with its places filled."""
        return "".join([part.said(payload) for part in self.parts])


WORDINGS: dict[str, Wording] = {}
"""By event type. A type without one says its name and its plain fields."""


def says(kind: type[Event], text: str, level: Level = "info") -> None:
    """Give an event type its line. Refused where the line names a field that the event lacks, or one that is sealed."""
    for name in (each for place in _PLACE.findall(text) for each in place if each):
        known = kind.model_fields.get(name)
        if known is None or name in ENVELOPE:
            raise TypeError(f"{kind.TYPE} has no field {name}")
        if holds_text([known.annotation, *known.metadata]):
            raise TypeError(f"{kind.TYPE}: {name} holds sealed text, which no line may show")
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
        for each in annotation.model_fields.values():
            yield from (each.annotation, *each.metadata)


def line_of(kind: str, payload: Payload, name: str | None) -> tuple[Level, str]:
    """How loud, and what: `budget of project Notes: 0.5 USD held`."""
    wording = WORDINGS.get(kind)
    said = wording.said(payload) if wording else _plain_fields(kind, payload)
    line = f"{_noun(kind)} {name}: {said}" if name else f"{_noun(kind)}: {said}"
    return wording.level if wording else "info", line[:LONGEST]


@cache
def _noun(kind: str) -> str:
    return AGGREGATE_OF[kind].TOPIC.replace("_", " ")


def _plain_fields(kind: str, payload: Payload) -> str:
    told = [
        f"{name}={text}"
        for name in EVENT_TYPES[kind].model_fields
        if name not in ENVELOPE and (text := shown(payload.get(name)))
    ]
    return " ".join([kind.partition(".")[2].replace("_", " "), *told])


def shown(value: object) -> str:
    """A plain value in words; nothing for sealed text and for whatever is not plain."""
    spelled = _SPELLINGS.get(type(value))
    return spelled(value) if spelled else ""


def _list(values: list[object]) -> str:
    return ", ".join(filter(None, map(shown, values)))


def _value(fields: dict[str, object]) -> str:
    return " ".join(filter(None, (shown(fields.get(each)) for each in ("kind", "name"))))


def _text(text: str) -> str:
    return "" if SEALED.match(text) else text


_SPELLINGS: Final[Mapping[type, Callable[[Any], str]]] = {
    str: _text,
    int: str,
    bool: lambda yes: "yes" if yes else "no",
    list: _list,
    dict: _value,
}
