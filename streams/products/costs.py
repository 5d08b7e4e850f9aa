"""The data product `toybox.costs`: what each attempt cost, one flat fact for each event that says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field

from domain.costs import Cost
from domain.errors import Unavailable
from domain.kernel import load_event
from domain.log import StoredEvent
from domain.pricing import Usage
from domain.relaying import Record
from domain.values import ZERO, Amount, Instant, Money
from streams.envelope import id_of, key_of, timestamp_ms
from streams.products.cloud import COST_FACT, headers
from streams.products.dead_letters import dead_letter
from streams.topics import Topics, partition_of

COST_TYPES: Final = frozenset({Cost.Recorded.TYPE, Cost.Corrected.TYPE, Cost.ReRated.TYPE})
log = structlog.get_logger("toybox.products")


class FactLine(BaseModel):
    """One line of the bill: quantity × rate ÷ per, rounded half up to one pico-dollar."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(description="The model of this part: an answer may be made by several.")
    bucket: str = Field(
        description="What was counted: input, input_cache_read, output, web_search and so on, disjoint."
    )
    quantity: Annotated[int, Field(ge=0, description="Tokens, uses or milliseconds.")]
    rate: Amount = Field(description="USD for `per` of them.")
    per: Annotated[int, Field(gt=0)]
    rate_id: str = Field(description="The figure of the dated price card that was applied.")
    amount: Amount = Field(description="USD for this line.")


class CostFact(BaseModel):
    """What one attempt at an LLM job cost, or what a late count changed about it. Add up `delta`."""

    model_config = ConfigDict(frozen=True)

    position: int = Field(ge=1, description="Place of the event in the whole log: ascending within a partition.")
    event_id: str = Field(description="The `id` of the event on toybox.events; a fact that arrives twice has the same.")
    kind: Literal["recorded", "corrected", "re_rated"] = Field(
        description="corrected: real usage arrived late and replaces the estimate of the same cost_id; re_rated: "
        "another price holds for what it used."
    )
    recorded_at: Instant = Field(description="When it was written to the log, UTC.")
    booked_on: date = Field(
        description="The day, UTC, on which `delta` counts: that of the recorded fact, or a later one when that day's "
        "month was closed before the change."
    )
    cost_id: UUID = Field(description="The same in a fact and its corrections; the last one holds.")
    project_id: UUID | None
    phase: str | None = Field(description="Null in a change: take it from the recorded fact of the cost_id.")
    agent_id: UUID | None
    key_id: UUID | None = Field(description="Access key of whoever asked. Null in a change, or where none did.")
    job_id: UUID
    attempt_id: UUID = Field(description="One attempt is paid for once.")
    provider: str | None = Field(description="Null in a change: take it from the recorded fact of the cost_id.")
    model: str | None = Field(description="Null in a change: take it from the recorded fact of the cost_id.")
    tier: str | None = Field(description="As the answer was served and billed; null while nobody has counted.")
    input_tokens: int | None = Field(description="Null while nobody has counted them.")
    output_tokens: int | None = Field(description="Null while nobody has counted them.")
    cached_tokens: int | None = Field(description="Of the input, what a cache served.")
    reasoning_tokens: int | None = Field(description="Of the output; null where the provider does not say.")
    amount: Amount = Field(description="USD that the attempt cost in all, as known with this fact.")
    delta: Money = Field(description="USD that this fact adds to the spending: the amount, less what was said before.")
    estimated: bool = Field(description="True while the amount is what was held, for want of a count or of a price.")
    lines: tuple[FactLine, ...] = Field(description="How the amount comes about; empty for an estimate.")


def fact_of(stored: StoredEvent) -> CostFact | None:
    """The fact that an event tells; None when it is about something else."""
    if stored.type not in COST_TYPES:
        return None
    own: dict[str, Any]
    match load_event(stored):
        case Cost.Recorded() as event:
            own = {
                "kind": "recorded",
                "phase": event.phase,
                "key_id": event.key_id,
                "provider": event.provider,
                "model": event.model,
                "delta": event.amount,
                "estimated": event.estimated,
                "booked_on": stored.recorded_at.astimezone(UTC).date(),
            }
        case Cost.Corrected() as event:
            unsaid = {"phase": None, "key_id": None, "provider": None, "model": None}
            own = {"kind": "corrected", **unsaid, "delta": event.amount - event.previous, "estimated": False}
            own["booked_on"] = event.booked_on
        case Cost.ReRated() as event:
            unsaid = {"phase": None, "key_id": None, "provider": None, "model": None}
            own = {"kind": "re_rated", **unsaid, "delta": event.amount - event.previous, "estimated": False}
            own["booked_on"] = event.booked_on
        case _:
            return None
    usage: Usage | None = event.usage
    return CostFact.model_validate(
        {
            **own,
            "position": stored.position,
            "event_id": id_of(stored),
            "recorded_at": stored.recorded_at,
            "cost_id": stored.stream_id,
            "project_id": stored.project_id,
            "agent_id": event.agent_id,
            "job_id": event.job_id,
            "attempt_id": event.attempt_id,
            "tier": event.tier,
            "input_tokens": usage.input_tokens if usage else None,
            "output_tokens": usage.output_tokens if usage else None,
            "cached_tokens": usage.cached_tokens if usage else None,
            "reasoning_tokens": usage.reasoning_tokens if usage else None,
            "amount": event.amount or ZERO,
            "lines": [line.model_dump() for line in event.lines],
        }
    )


@dataclass(frozen=True, slots=True)
class Chain:
    """How far the topic of cost facts is; a part of the relay's marker."""

    topic: str = ""
    """The id of the topic: one that was made anew is filled from the beginning."""
    position: int = 0
    prev: Mapping[int, int] = field(default_factory=dict[int, int])
    """The last position on each of its partitions."""


class Facts:
    """Cost facts on their way into one transaction, chained per partition like the events that they are made from."""

    def __init__(self, after: Chain, topics: Topics, source: str) -> None:
        self._after, self._topics, self._source = after, topics, source
        self._prev = dict(after.prev)
        self.records: list[Record] = []

    def make(self, stored: StoredEvent) -> Record | None:
        """The event's fact, unless it has none or it is out already. Not taken up yet."""
        if stored.type not in COST_TYPES or stored.position <= self._after.position:
            return None
        key = key_of(stored)
        partition = partition_of(key, self._topics.costs.partitions)
        try:
            fact = fact_of(stored)
        except Unavailable:
            raise
        except Exception as error:  # one event must not keep all later facts back: it is told among the dead letters
            log.exception("an event makes no cost fact", position=stored.position)
            return dead_letter(
                self._topics,
                source=self._topics.events.name,
                partition=partition_of(key, self._topics.events.partitions),
                position=stored.position,
                key=key,
                value=stored.data,
                by=self._topics.costs.name,
                code="no_cost_fact",
                reason=f"{type(error).__name__}: {error}",
                at=stored.recorded_at,
            )
        if fact is None:
            return None
        told = headers(
            COST_FACT,
            id=fact.event_id,
            source=self._source,
            subject=str(fact.cost_id),
            position=fact.position,
            time=stored.recorded_at,
        )
        told.append(("toybox-prev", b"%d" % self._prev.get(partition, 0)))
        value = fact.model_dump_json().encode()
        return Record(self._topics.costs.name, partition, key, value, told, timestamp_ms(stored))

    def take(self, made: Record, position: int) -> None:
        """Take it up: the next one on its partition follows it."""
        self.records.append(made)
        if made.topic == self._topics.costs.name:
            self._prev[made.partition] = position

    def chain(self, position: int) -> Chain:
        """Where the topic stands after these records, all events up to the position dealt with."""
        return Chain(self._after.topic, max(self._after.position, position), self._prev)
