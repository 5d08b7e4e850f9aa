"""What an attempt cost, line by line; or why nobody knows, so that what was held for it counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_FLOOR, Decimal
from typing import Final, TypedDict

import structlog

from commands.models import Prices
from domain.costs import CostLine
from domain.llm_jobs import LlmJob
from domain.pricing import PriceUnknown, Usage, lines_of, reported_line, total
from domain.values import MONEY_DIGITS, ZERO

MOST_WARNINGS: Final = 1_000
"""Of this many different ones each is told once; whoever sends new ones all the time is not listened to for ever."""
log = structlog.get_logger("toybox.billing")


class Bill(TypedDict):
    """What an attempt used and what that costs. Without an amount, `problem` says why nobody knows."""

    usage: Usage | None
    lines: list[CostLine]
    amount: Decimal | None
    problem: str | None
    priced_on: date


@dataclass(frozen=True, slots=True)
class Billing:
    """Makes the bills of one provider's answers."""

    prices: Prices
    provider: str
    on: date
    """When the request is made: a provider charges by the prices of that day, however long the job has waited."""
    told: set[str]
    """What this process has warned of already."""

    def bill(self, usage: Usage | None, problem: str | None = None, remarks: Sequence[str] = ()) -> Bill:
        """What the provider says that it charges, or else its counts at the prices of what answered."""
        if usage is None:
            return {"usage": None, "lines": [], "amount": None, "problem": problem, "priced_on": self.on}
        for each in usage.unknown_fields:
            self._warn(f"unknown usage field {each}")
        for each in remarks:
            self._warn(each)
        lines = reported_line(usage, self.provider)
        try:
            priced = lines_of(usage, lambda model: self.prices.quote(self.provider, model, self.on))
        except PriceUnknown as unknown:
            if not lines:
                self._warn(str(unknown))
                return {"usage": usage, "lines": [], "amount": None, "problem": str(unknown), "priced_on": self.on}
        else:
            if lines and total(lines) != total(priced):
                self._warn(f"{usage.passes[0].model}: the provider charges something else than its price card says")
            lines = lines or priced
        kept = [
            CostLine(
                model=line.model,
                bucket=line.bucket,
                quantity=line.quantity,
                rate=line.rate,
                per=line.per,
                rate_id=line.rate_id,
                amount=line.amount,
            )
            for line in lines
        ]
        return {"usage": usage, "lines": kept, "amount": total(lines), "problem": None, "priced_on": self.on}

    def _warn(self, what: str) -> None:
        """Once in the life of this process: the same is true of every answer to come."""
        told = f"{self.provider}: {what}"
        if told not in self.told and len(self.told) < MOST_WARNINGS:
            self.told.add(told)
            log.warning("look at this provider's prices", provider=self.provider, because=what)


def output_price(job: LlmJob, bound: Decimal, least: Decimal) -> Decimal | None:
    """What one output token less certainly takes off the bound, known from the bound with one token only.

    Nobody asks it of a job that may not be cut down.
    """
    output = job.max_output_tokens
    if output == 1 or job.min_output_tokens is None:
        return None
    smallest = Decimal(1).scaleb(-MONEY_DIGITS)
    return max(((bound - least - smallest) / (output - 1)).quantize(smallest, ROUND_FLOOR), ZERO)
