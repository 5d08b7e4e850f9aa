"""Costs: what each attempt cost, line by line. No commands: a cost is recorded where its attempt is settled."""

from datetime import UTC, date
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from domain.kernel import Aggregate, Created, event
from domain.pricing import RateId, Usage
from domain.values import ZERO, Amount, Code, Day, ModelName, Name, Slug, Value


class CostLine(Value):
    """One line of a bill: quantity × rate ÷ per, rounded half up to one pico-dollar."""

    model: ModelName
    bucket: Code
    quantity: Annotated[int, Field(ge=0)]
    rate: Amount
    per: Annotated[int, Field(gt=0)]
    rate_id: RateId
    amount: Amount


class Paid(Value):
    """A budget that paid for an attempt, and what the attempt counts as there: by the number it knows the window."""

    budget_id: UUID
    number: Annotated[int, Field(ge=1)]
    input_tokens: Annotated[int, Field(ge=0)]
    output_tokens: Annotated[int, Field(ge=0)]


class Cost(Aggregate):
    """What one attempt cost; an estimate is what was held for it, until its real usage is known."""

    TOPIC = "cost"
    FOLD = 3
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    key_id: UUID | None
    job_id: UUID
    attempt_id: UUID
    provider: str
    model: str
    tier: str | None
    usage: Usage | None
    lines: list[CostLine]
    amount: Amount
    estimated: bool
    problem: str | None
    priced_on: date | None
    paid_by: list[Paid]

    class Recorded(Created, type="cost.recorded"):
        """What an attempt cost was recorded: the sum of its lines, or, estimated, all that was held for it."""

        project_id: UUID | None
        phase: Slug | None
        agent_id: UUID | None
        key_id: UUID | None
        """The access key of whoever asked, or started the agent's project; None for what nobody's key asked for."""
        job_id: UUID
        attempt_id: UUID
        provider: Slug
        model: ModelName
        tier: Code | None
        """The tier that the answer was served at, and billed by; None while nobody has counted."""
        usage: Usage | None
        lines: list[CostLine]
        amount: Amount
        estimated: bool
        problem: Name | None
        """Why it is an estimate: what its provider did not count, or what has no price."""
        priced_on: Day | None = None
        """The day whose prices hold: that of the request. None where only the day of the record is known."""
        paid_by: list[Paid] = Field(default_factory=list[Paid])

    class Corrected(Aggregate.Event, type="cost.corrected"):
        """The real usage of an attempt arrived late and replaced the estimate."""

        agent_id: UUID | None
        job_id: UUID
        attempt_id: UUID
        tier: Code | None
        usage: Usage | None
        lines: list[CostLine]
        amount: Amount
        previous: Amount
        booked_on: Day
        """Where the difference counts: the day of the record, or a later one where that day's month is closed."""

    class ReRated(Aggregate.Event, type="cost.re_rated"):
        """Another price holds for what an attempt used: the card was wrong, or came later."""

        agent_id: UUID | None
        job_id: UUID
        attempt_id: UUID
        card: Name
        reason: Code
        by: Name
        tier: Code | None
        usage: Usage | None
        lines: list[CostLine]
        amount: Amount
        previous: Amount
        was_estimated: bool
        recorded_on: Day
        booked_on: Day

    @event(Recorded)
    def __init__(  # noqa: PLR0913 -- as many facts as the event has
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        *,
        project_id: UUID | None,
        phase: str | None,
        agent_id: UUID | None,
        key_id: UUID | None,
        job_id: UUID,
        attempt_id: UUID,
        provider: str,
        model: str,
        tier: str | None,
        usage: Usage | None,
        lines: list[CostLine],
        amount: Decimal,
        estimated: bool,
        problem: str | None,
        priced_on: date | None,
        paid_by: list[Paid],
    ) -> None:
        self.project_id, self.phase, self.agent_id = project_id, phase, agent_id
        self.job_id, self.attempt_id, self.provider, self.model = job_id, attempt_id, provider, model
        self.key_id, self.tier = key_id, tier
        self.usage, self.lines, self.amount = usage, lines, amount
        self.estimated, self.problem = estimated, problem
        self.priced_on, self.paid_by = priced_on, paid_by

    @property
    def recorded_on(self) -> date:
        """The day that it counts in, in UTC."""
        return self.created_on.astimezone(UTC).date()

    @property
    def price_day(self) -> date:
        """The day whose prices hold for it."""
        return self.priced_on or self.recorded_on

    def correct(
        self, *, usage: Usage | None, lines: list[CostLine], amount: Decimal, booked_on: date | None = None
    ) -> None:
        """Replace an estimate by what the provider counted, or by nothing, when nothing was sent."""
        self.trigger_event(
            Cost.Corrected,
            agent_id=self.agent_id,
            job_id=self.job_id,
            attempt_id=self.attempt_id,
            tier=usage.tier if usage else None,
            usage=usage,
            lines=lines,
            amount=amount,
            previous=self.amount,
            booked_on=booked_on or self.recorded_on,
        )

    def is_rated(self, lines: list[CostLine]) -> bool:
        """Whether these lines are what it says already."""
        return not self.estimated and lines == self.lines

    def re_rate(self, *, card: str, lines: list[CostLine], booked_on: date, reason: str, by: str) -> None:
        """Price what was used anew; what is priced so already stays as it is."""
        if self.is_rated(lines):
            return
        self.trigger_event(
            Cost.ReRated,
            agent_id=self.agent_id,
            job_id=self.job_id,
            attempt_id=self.attempt_id,
            card=card,
            reason=reason,
            by=by,
            tier=self.tier,
            usage=self.usage,
            lines=lines,
            amount=sum((line.amount for line in lines), ZERO),
            previous=self.amount,
            was_estimated=self.estimated,
            recorded_on=self.recorded_on,
            booked_on=booked_on,
        )

    @event(Corrected)
    def _corrected(self, tier: str | None, usage: Usage | None, lines: list[CostLine], amount: Decimal) -> None:
        self.tier = tier
        self.usage, self.lines, self.amount = usage, lines, amount
        self.estimated, self.problem = False, None

    @event(ReRated)
    def _re_rated(self, lines: list[CostLine], amount: Decimal) -> None:
        self.lines, self.amount = lines, amount
        self.estimated, self.problem = False, None
