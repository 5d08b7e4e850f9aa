"""Sealed text made readable at the edge, in one batch for an answer; only where a model says that text is sealed.

A string that merely looks sealed is left alone: somebody could have put another project's sealed text into a name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from commands.ports import Keyring
from domain.values import Sealed

PATTERN: str = get_args(Sealed)[1].pattern
READABLE = "text"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where sealed text may stand in a value of one type."""

    is_sealed: bool = False
    fields: Mapping[str, "Plan"] | None = None
    """Of a model."""
    each: "Plan | None" = None
    """Of every item of a list, or every value of a map."""
    named: str | None = None
    """What it is called once it is readable, where that differs: a field `sealed` is shown as `text`."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """One sealed text in an answer that is being made."""

    holder: Any
    at: Any
    shown_as: Any

    @property
    def sealed(self) -> str:
        return cast("str", self.holder[self.at])

    def put(self, plain: str | None) -> None:
        if self.shown_as != self.at:
            del self.holder[self.at]
        self.holder[self.shown_as] = plain


async def unseal(keyring: Keyring, items: Iterable[tuple[type[BaseModel], dict[str, Any]]]) -> None:
    """Put the plain text in the place of each sealed one; null, and `erased` beside it, where the key is destroyed."""
    spots: list[_Spot] = []
    owners: list[dict[str, Any]] = []
    for model, item in items:
        before = len(spots)
        if plan := plan_of(model):
            _collect(item, plan, spots)
        owners += [item] * (len(spots) - before)
    if not spots:
        return
    plains = await keyring.unseal([spot.sealed for spot in spots])
    for spot, owner, text in zip(spots, owners, plains, strict=True):
        spot.put(text)
        if text is None:
            owner["erased"] = True


def _collect(value: Any, plan: Plan, spots: list[_Spot]) -> None:
    if value is None:
        return
    if plan.each is not None:
        for at in list(cast("Mapping[str, Any]", value)) if isinstance(value, dict) else range(len(value)):
            _look_at(value, at, plan.each, spots)
    for name, inner in (plan.fields or {}).items():
        if name in value:
            _look_at(value, name, inner, spots)


def _look_at(holder: Any, at: Any, plan: Plan, spots: list[_Spot]) -> None:
    value = holder[at]
    if not plan.is_sealed:
        _collect(value, plan, spots)
    elif isinstance(value, str):
        spots.append(_Spot(holder, at, plan.named or at))
    elif plan.named:
        holder[plan.named] = holder.pop(at)


@cache
def plan_of(model: type[BaseModel]) -> Plan | None:
    """The plan of a model; None when nothing in it is sealed."""
    found = {name: plan for name, field in model.model_fields.items() if (plan := _of_field(field))}
    if "sealed" in found:
        found["sealed"] = Plan(is_sealed=True, named=READABLE)
    return Plan(fields=found) if found else None


def _of_field(field: FieldInfo) -> Plan | None:
    if _is_sealed(field.metadata):
        return Plan(is_sealed=True)
    return _of_annotation(field.annotation)


def _is_sealed(metadata: Sequence[Any]) -> bool:
    return any(getattr(each, "pattern", None) == PATTERN for each in metadata)


def _of_annotation(annotation: Any) -> Plan | None:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Plan(is_sealed=True) if _is_sealed(arguments[1:]) else _of_annotation(arguments[0])
    if origin in (Union, UnionType):
        return _merged([plan for each in arguments if (plan := _of_annotation(each))])
    if isinstance(origin, type) and arguments and issubclass(origin, Mapping | Sequence | frozenset):
        inner = _of_annotation(arguments[-1] if issubclass(origin, Mapping) else arguments[0])
        return Plan(each=inner) if inner else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return plan_of(annotation)
    return None


def _merged(plans: Sequence[Plan]) -> Plan | None:
    """The plan of whichever of these a value turns out to be; their fields never mean different things."""
    if len(plans) < 2:
        return plans[0] if plans else None
    fields = {name: plan for each in plans for name, plan in (each.fields or {}).items()}
    return Plan(fields=fields or None, each=next((each.each for each in plans if each.each), None))
