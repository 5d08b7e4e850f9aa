"""What a report is asked: which costs, grouped by what, in which periods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from typing import Any, Final, Literal, LiteralString, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.errors import Refused
from projections.costs.calendar import QUARTER, USUAL, Period, Step, after, begun, moment_of, periods, zone_of
from projections.costs.sums import CUTS, DIMENSIONS, Dimension

Group = Literal["project", "phase", "agent", "provider", "model", "key", "tier"]
GROUPS: Final[tuple[Group, ...]] = get_args(Group)
COLUMNS_OF: Final[Mapping[Group, Sequence[Dimension]]] = {
    "project": ("project_id",),
    "phase": ("project_id", "phase"),
    "agent": ("project_id", "agent_id"),
    "provider": ("provider",),
    "model": ("provider", "model"),
    "key": ("key_id",),
    "tier": ("tier",),
}
"""A phase is one of its project, a model one of its provider."""


@dataclass(frozen=True, slots=True)
class Which:
    """Which costs are asked for; what is None does not matter."""

    project_id: UUID | None = None
    phase: str | None = None
    agent_id: UUID | None = None
    provider: str | None = None
    model: str | None = None
    key_id: UUID | None = None
    tier: str | None = None

    def values(self) -> dict[Dimension, Any]:
        """Those that matter."""
        return {name: value for name in DIMENSIONS if (value := getattr(self, name)) is not None}

    @property
    def condition(self) -> LiteralString:
        """The same as a condition on `cost_series`."""
        wanted = self.values()
        return "".join(f" and s.{name} = %({name})s" for name in DIMENSIONS if name in wanted)


assert [each.name for each in fields(Which)] == list(DIMENSIONS)  # noqa: S101 -- they are read by name


@dataclass(frozen=True, slots=True)
class Asked:
    """One report: its rows are what was spent in each period by each group."""

    periods: Sequence[Period]
    by: Sequence[Group] = ()
    which: Which = Which()
    among: Mapping[Dimension, Sequence[Any]] = field(default_factory=dict[Dimension, Sequence[Any]])
    """Values that alone are looked for, of columns that rows differ in."""

    @property
    def columns(self) -> list[Dimension]:
        """The dimensions that rows differ in."""
        wanted = {column for each in self.by for column in COLUMNS_OF[each]}
        return [each for each in DIMENSIONS if each in wanted]

    @property
    def cut(self) -> Sequence[Dimension]:
        """The sums with the fewest rows that know all that this is about."""
        needed = {*self.columns, *self.which.values()}
        return next(each for each in CUTS if needed <= set(each))

    @property
    def chosen(self) -> Mapping[str, Any]:
        """What series are chosen by; all are asked for where nothing is."""
        return {**self.which.values(), **{f"among_{name}": values for name, values in self.among.items()}}

    @property
    def condition(self) -> LiteralString:
        """The same as a condition on `cost_series`."""
        among = "".join(f" and s.{name} = any(%(among_{name})s)" for name in DIMENSIONS if name in self.among)
        return self.which.condition + among

    @property
    def begins(self) -> datetime:
        """Where the first period does."""
        return self.periods[0].begins

    @property
    def ends(self) -> datetime:
        """Where the last period does."""
        return self.periods[-1].ends

    def in_all(self) -> "Asked":
        """The same without groups and periods."""
        return Asked([Period(self.begins, self.ends)], (), self.which)


def among(asked: Asked, known: Sequence[Mapping[Dimension, Any]]) -> Asked:
    """The same about no other groups than these, and perhaps some more: whose values are each one of theirs."""
    values = {name: {each[name] for each in known} for name in asked.columns}
    return replace(asked, among={name: list(found) for name, found in values.items() if found and None not in found})


def groups_of(said: Sequence[str]) -> list[Group]:
    """What to group by, each once, in the order given. Refused for what costs have not."""
    known: dict[str, Group] = {each: each for each in GROUPS}
    found = list[Group]()
    for each in (name.strip() for text in said for name in text.split(",")):
        if each not in known:
            msg = f"costs cannot be grouped by {each[:40]!r}: choose among {', '.join(GROUPS)}"
            raise Refused(msg, code="unknown_group", known=list(GROUPS))
        if known[each] not in found:
            found.append(known[each])
    return found


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody asks for, before it is known what that is today."""

    begins: date | datetime | None = None
    ends: date | datetime | None = None
    step: Step | None = None
    """None for one period, from the first moment to the last."""
    zone: str = "UTC"
    by: Sequence[Group] = ()
    which: Which = Which()

    def at(self, now: datetime, span: Period | None) -> Asked:
        """The same in periods; what is left open ends with the present one. `span` is when anything was booked."""
        zone, step = zone_of(self.zone), self.step
        closing = step or "day"
        ends = moment_of(self.ends, zone) if self.ends else after(begun(now, closing, zone), closing, zone)
        if self.begins:
            begins = moment_of(self.begins, zone)
        elif step:
            begins = after(begun(ends - QUARTER, step, zone), step, zone, 1 - USUAL[step])
        else:
            begins = min(begun(span.begins, "month", zone_of("UTC")) if span else ends, ends - QUARTER)
        if begins >= ends:
            msg = (
                f"from is {_local(begins, zone)} and to, which is not included, {_local(ends, zone)}: from comes first"
            )
            raise Refused(msg, code="invalid_range")
        found = periods(begins, ends, step, zone) if step else [Period(begins, ends)]
        return Asked(found, self.by, self.which)

    def before(self, asked: Asked) -> Asked:
        """The same for as many periods before; without a step, for as many days, or for as long."""
        zone = zone_of(self.zone)
        try:
            earlier = self._earlier(asked, zone)
        except (OverflowError, ValueError) as error:  # no calendar has days before the year 1
            msg = (
                f"there is no time as long before {_local(asked.begins, zone)} to compare this with: ask for less time"
            )
            raise Refused(msg, code="invalid_range") from error
        return Asked([Period(earlier, asked.begins)], self.by, self.which)

    def _earlier(self, asked: Asked, zone: ZoneInfo) -> datetime:
        begins = asked.begins
        if self.step and begun(begins, self.step, zone) == begins:
            return after(begins, self.step, zone, -len(asked.periods))
        if all(begun(each, "day", zone) == each for each in (begins, asked.ends)):
            days = (asked.ends.astimezone(zone).date() - begins.astimezone(zone).date()).days
            return after(begins, "day", zone, -days)
        return begins - (asked.ends - begins)


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="minutes")
