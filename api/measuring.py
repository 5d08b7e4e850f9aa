"""What is looked up for the metrics when somebody asks for them."""

from contextlib import suppress
from decimal import Decimal

from api.feed import Tail
from api.relaying import lag
from api.services import Services
from domain.errors import Unavailable
from domain.values import ZERO
from projections.budgets import BudgetState, BudgetStates, budgets
from projections.documents import Row
from projections.llm_jobs import LlmJobs, queue_depth
from projections.paging import Page
from projections.projector import parked_keys, reading
from projections.projector.connecting import unavailable_when_away


async def measure(services: Services, tail: Tail) -> None:
    """Bring the gauges up to date. What cannot be asked now keeps its last value: metrics must not fail with it."""
    metrics = services.metrics
    metrics.feed(tail.listeners, tail.position)
    head = await services.reader.head()
    metrics.log(head, services.commands.sequencer.queued)
    if services.relay is not None:
        metrics.relay(services.relay, lag(services.relay, head))
    metrics.duties(services.duties)
    if services.posted is not None:
        metrics.webhooks(services.posted, services.now())
    standings = await services.read_models.standings()
    reactions = await services.reactions.positions()
    metrics.lags(
        {each.projection: each.lag for each in standings},
        {name: max(0, head - position) for name, position in reactions.items()},
    )
    with unavailable_when_away():
        async with services.connections.connection() as connection:
            parked = [each.projection for each in await parked_keys(connection)]
    metrics.parked(parked, [each.reaction for each in await services.reactions.parked()])
    with suppress(Unavailable):  # a read model that is being built
        async with reading(services.connections, LlmJobs) as seen:
            metrics.jobs(await queue_depth(seen.connection))
        await _money(services)


async def _money(services: Services) -> None:
    sums: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
    async with reading(services.connections, BudgetStates) as seen:
        cursor: str | None = None
        while True:
            page: Page[Row[BudgetState]] = await budgets(seen.connection, status="open", cursor=cursor, limit=200)
            for row in page.items:
                own = next((each for each in row.view.limits if each.unit == "usd"), None)
                if own is not None:  # of several the first: they count the same money
                    limit, settled, held = sums.get(row.view.kind, (ZERO, ZERO, ZERO))
                    sums[row.view.kind] = (limit + own.limit, settled + own.settled, held + own.held)
            cursor = page.next
            if cursor is None:
                break
    services.metrics.money(sums)
