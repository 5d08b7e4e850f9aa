"""Costs: what each attempt cost, line by line. No commands: a cost is recorded where its attempt is settled."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from domain.kernel import Aggregate, Created, event
from domain.pricing import RateId, Usage
from domain.values import Amount, Code, ModelName, Name, Slug, Value


class CostLine(Value):
    """One line of a bill: quantity × rate ÷ per, rounded half up to one pico-dollar."""

    model: ModelName
    bucket: Code
    quantity: Annotated[int, Field(ge=0)]
    rate: Amount
    per: Annotated[int, Field(gt=0)]
    rate_id: RateId
    amount: Amount


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
    ) -> None:
        self.project_id, self.phase, self.agent_id = project_id, phase, agent_id
        self.job_id, self.attempt_id, self.provider, self.model = job_id, attempt_id, provider, model
        self.key_id, self.tier = key_id, tier
        self.usage, self.lines, self.amount = usage, lines, amount
        self.estimated, self.problem = estimated, problem

    def correct(self, *, usage: Usage | None, lines: list[CostLine], amount: Decimal) -> None:
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
        )

    @event(Corrected)
    def _corrected(self, tier: str | None, usage: Usage | None, lines: list[CostLine], amount: Decimal) -> None:
        self.tier = tier
        self.usage, self.lines, self.amount = usage, lines, amount
        self.estimated, self.problem = False, None
