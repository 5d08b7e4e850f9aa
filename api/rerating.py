"""Works out what costs would be at the prices of their day: one page of attempts, compared with what stands."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from commands.rerating import Rating
from domain.costs import Cost, CostLine
from domain.kernel import evolve
from domain.log import LogReader, StoredEvent
from domain.pricing import Catalogue, PriceUnknown, lines_of
from domain.values import ZERO, Money

Found = Literal["changed", "unchanged", "not_of_this_card", "no_usage", "charged_by_provider", "price_unknown"]
REPORTED = "reported"
"""The bucket of a line that the provider itself wrote: no card prices it."""


class Difference(BaseModel):
    """What a project's use of a model costs before and after."""

    project_id: UUID | None
    provider: str
    model: str
    attempts: int
    before: Money
    after: Money
    delta: Money


class Rerated(BaseModel):
    """What re-rating one page of attempts changes, or would change."""

    card: str
    dry_run: bool
    from_day: date
    to_day: date
    examined: int
    changed: int
    unchanged: Annotated[int, Field(description="At this card's prices already, for instance by a run before")]
    not_of_this_card: Annotated[int, Field(description="Priced by another card, before and after")]
    no_usage: Annotated[int, Field(description="Estimates that nobody has counted: left alone")]
    charged_by_provider: Annotated[int, Field(description="Billed by what the provider says it charges: left alone")]
    price_unknown: Annotated[int, Field(description="Left alone: no card in force has all of their prices")]
    before: Money
    after: Money
    delta: Money
    items: list[Difference]
    next: Annotated[str | None, Field(description="The cursor of the next page; null after the last")]


@dataclass(slots=True)
class Comparison:
    """Attempts at the prices of their days, beside what they stand at."""

    catalogue: Catalogue
    card: str
    found: Counter[Found] = field(default_factory=Counter[Found])
    ratings: list[Rating] = field(default_factory=list[Rating])
    groups: dict[tuple[UUID | None, str, str], tuple[int, Decimal, Decimal]] = field(
        default_factory=dict[tuple[UUID | None, str, str], tuple[int, Decimal, Decimal]]
    )

    def look(self, cost: Cost) -> None:
        """Compare one."""
        what, lines = self._judged(cost)
        self.found[what] += 1
        if what == "changed":
            self.ratings.append(Rating(cost_id=cost.id, lines=lines))
            place = (cost.project_id, cost.provider, cost.model)
            attempts, before, after = self.groups.get(place, (0, ZERO, ZERO))
            amount = sum((line.amount for line in lines), ZERO)
            self.groups[place] = (attempts + 1, before + cost.amount, after + amount)

    def _judged(self, cost: Cost) -> tuple[Found, list[CostLine]]:
        if cost.usage is None:
            return "no_usage", []
        if any(line.bucket == REPORTED for line in cost.lines):
            return "charged_by_provider", []
        try:
            made = lines_of(cost.usage, lambda model: self.catalogue.quote(cost.provider, model, cost.price_day))
        except PriceUnknown:
            return "price_unknown", []
        lines = [CostLine(**asdict(line)) for line in made]
        if not any(line.rate_id.startswith(f"{self.card}/") for line in (*lines, *cost.lines)):
            return "not_of_this_card", []
        return ("unchanged" if cost.is_rated(lines) else "changed"), lines

    def shown(self, *, dry_run: bool, days: tuple[date, date], cursor: str | None) -> Rerated:
        """As it is answered, the largest difference first."""
        items = [
            Difference(
                project_id=project, provider=provider, model=model,
                attempts=attempts, before=before, after=after, delta=after - before,
            )
            for (project, provider, model), (attempts, before, after) in self.groups.items()
        ]  # fmt: skip
        before, after = sum((each.before for each in items), ZERO), sum((each.after for each in items), ZERO)
        kinds: tuple[Found, ...] = (
            "changed", "unchanged", "not_of_this_card", "no_usage", "charged_by_provider", "price_unknown",
        )  # fmt: skip
        return Rerated.model_validate(
            {
                "card": self.card,
                "dry_run": dry_run,
                "from_day": days[0],
                "to_day": days[1],
                "examined": self.found.total(),
                **{kind: self.found[kind] for kind in kinds},
                "before": before,
                "after": after,
                "delta": after - before,
                "items": sorted(items, key=lambda each: abs(each.delta), reverse=True),
                "next": cursor,
            }
        )


async def costs_of(reader: LogReader, ids: Sequence[UUID]) -> list[Cost]:
    """Costs as the log has them, in the order of their ids."""
    histories = await reader.read_streams(ids)
    return [cost for each in ids if (cost := folded(histories[each]))]


def folded(history: Sequence[StoredEvent]) -> Cost | None:
    """The cost that this history tells."""
    cost: Cost | None = None
    for stored in history:
        cost = evolve(cost, stored)
    return cost
