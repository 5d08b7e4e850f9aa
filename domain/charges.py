"""What a call may use or has used, in money and in tokens; and what a budget lacks for it, in words for everyone."""

from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from domain.values import Amount, Instant, Money, Name, Slug, Value, money_text

Unit = Literal["usd", "input_tokens", "output_tokens", "total_tokens"]
"""What a limit counts in."""
Tokens = Annotated[int, Field(ge=0, lt=10**15)]


class Charge(Value):
    """Money and tokens together: a hold, a cost or a request, so that one ledger counts in every unit."""

    usd: Amount
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0

    def of(self, unit: Unit) -> Decimal:
        """How much of a unit it is; tokens are whole numbers."""
        match unit:
            case "usd":
                return self.usd
            case "input_tokens":
                return Decimal(self.input_tokens)
            case "output_tokens":
                return Decimal(self.output_tokens)
            case "total_tokens":
                return Decimal(self.input_tokens + self.output_tokens)


def deltas_of(delta: Decimal, input_delta: int, output_delta: int) -> dict[Unit, Decimal]:
    """A correction in every unit."""
    return {
        "usd": delta,
        "input_tokens": Decimal(input_delta),
        "output_tokens": Decimal(output_delta),
        "total_tokens": Decimal(input_delta + output_delta),
    }


class Shortfall(Value):
    """The first limit that has no room for a job: what it is, how full, and when it has room by itself."""

    budget_id: UUID
    scope: Name
    name: Slug
    unit: Unit
    window: Name
    limit: Amount
    settled: Amount
    held: Amount
    requested: Amount
    retry_at: Instant | None
    """When the window ends; None where only a settlement or a higher limit helps."""

    @property
    def headroom(self) -> Money:
        """What is left; less than nothing after an overdraft."""
        return self.limit - self.settled - self.held

    @property
    def is_hopeless(self) -> bool:
        """Whether the job would not fit even if nothing else had been spent."""
        return self.requested > self.limit

    def sentence(self) -> str:
        """The refusal as people read it."""
        return (
            f"{self.scope}: {told(self.requested, self.unit)} do not fit, {told(self.headroom, self.unit)} are left; "
            "raise the limit (toybox budgets)"
        )


def unit_words(unit: str) -> str:
    """A unit as people write it behind a number: `USD`, `input tokens`."""
    return "USD" if unit == "usd" else unit.replace("_", " ")


def told(amount: Decimal, unit: Unit) -> str:
    """An amount with its unit: `2.5 USD`, `1000 input tokens`."""
    return f"{money_text(amount)} {unit_words(unit)}"
