"""Makes an example of an event from its model alone, the same at every run."""

import types
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from domain.kernel import AGGREGATE_OF, ENVELOPE, Created, Event
from domain.values import derived_id

MOMENT = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
TEXTS = (
    "release-notes",
    "output_limit",
    "s1.0123456789abcdef0123456789abcdef.bm9uY2UtYW5kLWNpcGhlcnRleHQ",
    "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
    "text/markdown",
    "https://models.example.org/v1",
    "EXAMPLE_API_KEY",
    "tbx_Ab12Cd",
    "projects.read",
    "notes.md",
    "abcd",
    "aB3x",
    "2026-10",
    "0.5",
)
"""Tried in this order until one fits what the field allows."""
NUMBERS = (1, 2, 10, 60, 80, 100, 1000, 0)
BY_NAME = {"above_input_tokens": 0}
"""Fields that what stands beside them leaves one value."""
AMOUNTS = ("1.25", "0.5", "1", "0")


class NoExample(Exception):
    """Nothing that is known here fits: record an example by hand."""


def example(kind: type[Event]) -> dict[str, Any]:
    """A payload with every field filled, as the log would hold it."""
    values = _fields(kind, kind.TYPE, ENVELOPE)
    envelope: dict[str, Any] = {
        "originator_id": derived_id("golden", kind.TYPE),
        "originator_version": 1,
        "timestamp": MOMENT,
    }
    if issubclass(kind, Created):
        envelope["originator_topic"] = AGGREGATE_OF[kind.TYPE].TOPIC
    try:
        return kind.model_validate({**values, **envelope}, strict=False).payload()
    except ValidationError as error:
        raise NoExample(f"{kind.TYPE}: record an example of version {kind.VERSION} by hand: {error}") from error


def _fields(model: type[BaseModel], path: str, left_out: Iterable[str] = ()) -> dict[str, Any]:
    return {
        name: _value(_annotated(field), f"{path}.{name}")
        for name, field in model.model_fields.items()
        if name not in left_out
    }


def _annotated(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _value(kind: Any, path: str) -> Any:  # noqa: PLR0911 -- one for each kind of type
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    origin, arguments = get_origin(bare), get_args(bare)
    if origin in (Union, types.UnionType):
        return _value(next(each for each in arguments if each is not types.NoneType), path)
    if origin is Literal:
        return arguments[0]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {_value(arguments[0], path): _value(arguments[1], path)}
    if origin in (list, tuple, set, frozenset):
        return [_value(arguments[0], path)]
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return _fields(bare, path)
    if isinstance(bare, type) and issubclass(bare, Enum):
        return next(iter(bare)).value
    return _leaf(kind, bare, path)


def _leaf(kind: Any, bare: Any, path: str) -> Any:
    if (name := path.rpartition(".")[2]) in BY_NAME:
        return BY_NAME[name]
    by_type: dict[Any, tuple[Any, ...]] = {
        bool: (True,),
        int: NUMBERS,
        Decimal: AMOUNTS,
        UUID: (str(derived_id("golden", path)),),
        datetime: (MOMENT.isoformat(),),
        date: (MOMENT.date().isoformat(),),
        str: TEXTS,
    }
    adapter = TypeAdapter[Any](kind)
    for candidate in by_type.get(bare, ()):
        try:
            adapter.validate_python(candidate, strict=False)
        except ValidationError:
            continue
        return candidate
    raise NoExample(f"{path}: no example of {kind} is known; add one to tests/golden/examples.py")
