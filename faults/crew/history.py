"""A busy town's public history, told again into the log of a campaign, so that shipped views have what they show."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from adapters.postgres.event_store import PostgresStore
from bench.faust import log_of
from domain.kernel import EVENT_TYPES
from domain.log import StoredEvent
from projections.budgets import BudgetStates
from projections.costs import Costs
from projections.llm_jobs import LlmJobs
from projections.projector import Projection

SHIPPED: Final[Sequence[Projection]] = (Costs(), LlmJobs(), BudgetStates())
"""Of the product: money, jobs and budgets, as tables and as documents."""


async def public_history(count: int) -> list[StoredEvent]:
    """So many events of towns, without those that never reach Kafka: they have streams of their own."""
    return [each for each in await log_of(count) if not EVENT_TYPES[each.type].PRIVATE] if count else []


async def tell(store: PostgresStore, events: Sequence[StoredEvent]) -> None:
    """Append these as one batch, behind whatever others have appended meanwhile."""
    async with store.batch() as batch:
        opened = await batch.open([], {}, most=1)
        head = opened.head
        moved = [replace(each, position=head + number, recorded_at=opened.now) for number, each in enumerate(events, 1)]
        await batch.commit(moved, [])
    await store.announce(head + len(moved))
