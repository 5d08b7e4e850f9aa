"""Prices as read models tell them: the report of a closed month stays, differences count later, what waits is there."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from commands.accounting import CloseMonth
from commands.llm_jobs import ReportUsage
from commands.rerating import Rating, RerateCosts
from domain.costs import Cost, CostLine
from domain.ids import accounting_id, attempt_id, cost_id
from domain.kernel import load_event
from domain.pricing import Usage
from projections.accounting import AccountingState, AccountingStates
from projections.costs import CostFilter, Costs, cost_facts, cost_total
from projections.prices import (
    Between,
    PricedAttempts,
    attempts_by_response,
    cost_changes,
    estimates,
    jobs_of_attempts,
    oddities,
    priced,
    used_models,
    waiting,
)
from projections.projector import Connections, reading
from streams.products.costs import fact_of
from tests.commands.staging import admit, bill, complete, queue
from tests.projections.playing import Play, follow
from tests.support.story import telling

NOVEMBER = CostFilter(first_day=date(2026, 11, 1), last_day=date(2026, 11, 30))
DECEMBER = CostFilter(first_day=date(2026, 12, 1), last_day=date(2026, 12, 31))


def rerate(play: Play, job: UUID, amount: str) -> RerateCosts:
    cost = play.all(Cost)[cost_id(attempt_id(job, 1))]
    lines: list[CostLine] = [
        cost.lines[0],
        cost.lines[1].model_copy(update={"amount": Decimal(amount), "rate_id": "acme@2026-11-01.1/x#output"}),
    ]
    return RerateCosts(card="acme@2026-11-01.1", reason="mended", costs=[Rating(cost_id=cost.id, lines=lines)])


async def test_the_report_of_a_closed_month_never_changes_again(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        jobs = [UUID(int=number) for number in range(1, 5)]
        for job, amount in zip(jobs, ("0.5", "0.5", None, "0.5"), strict=True):
            await play.do(queue(job), admit(job), complete(job, amount))
        await play.do(rerate(play, jobs[3], "0.7"))
        story.clock.advance(20 * 86_400)
        await follow(connections, play, Costs())
        async with reading(connections, Costs) as read:
            before = await cost_total(read.connection, NOVEMBER)
        assert (before.amount, before.attempts, before.estimated) == (Decimal("2.7"), 4, 1)

        await play.do(CloseMonth(month="2026-11"), rerate(play, jobs[0], "0.2"))
        await play.do(ReportUsage(job_id=jobs[2], attempt=1, **bill("0.1")))
        await follow(connections, play, Costs(), PricedAttempts())
        async with reading(connections, Costs) as read:
            assert await cost_total(read.connection, NOVEMBER) == before
            december = await cost_total(read.connection, DECEMBER)
            assert (december.amount, december.attempts) == (Decimal("-1.2"), 0)
            facts = (await cost_facts(read.connection)).items
            everything = await cost_total(read.connection)
            assert everything.amount == sum(each.amount for each in facts) == Decimal("1.5")
            assert everything.estimated == sum(each.estimated for each in facts) == 0
        async with reading(connections, PricedAttempts) as read:
            later = (await cost_changes(read.connection, month="2026-12")).items
            assert [(each.kind, each.delta, each.recorded_on) for each in later] == [
                ("corrected", Decimal("-0.9"), date(2026, 11, 21)), ("re_rated", Decimal("-0.3"), date(2026, 11, 21)),
            ]  # fmt: skip
            assert len((await cost_changes(read.connection, card="acme@2026-11-01.1")).items) == 2
        books = await play.fold(AccountingStates, accounting_id(), None)
        assert isinstance(books, AccountingState)
        assert (books.closed_through, [each.month for each in books.closings]) == ("2026-11", ["2026-11"])

        said = [fact for each in story.events if (fact := fact_of(each))]
        assert sum(each.delta for each in said) == Decimal("1.5")
        assert [(each.kind, str(each.booked_on)) for each in said[4:]] == [
            ("re_rated", "2026-11-21"), ("re_rated", "2026-12-11"), ("corrected", "2026-12-11"),
        ]  # fmt: skip
        rated = said[5]
        assert (rated.amount, rated.delta, rated.input_tokens) == (Decimal("0.2"), Decimal("-0.3"), 10)
        assert isinstance(load_event(story.events[-1]), Cost.Corrected)


async def test_what_waits_is_listed_until_it_is_known(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        silent, priceless, odd = (UUID(int=number) for number in (1, 2, 3))
        usage = Usage.simple("one", input_tokens=1, output_tokens=2)
        strange: dict[str, Any] = {
            "usage": Usage.simple("scripted-small-1", input_tokens=10, output_tokens=20).model_copy(
                update={"unknown_fields": ["input_video_tokens"]}
            )
        }
        await play.do(queue(silent), admit(silent), complete(silent, None, response_id="one"))
        await play.do(queue(priceless), admit(priceless), complete(priceless, None, usage=usage, problem="no price"))
        await play.do(queue(odd), admit(odd), complete(odd, "0.5", **strange, response_id="three"))
        await follow(connections, play, PricedAttempts())
        async with reading(connections, PricedAttempts) as read:
            found = (await estimates(read.connection, provider="scripted")).items
            assert [(each.job_id, each.counted, each.problem) for each in found] == [
                (priceless, True, "no price"), (silent, False, "the provider did not count"),
            ]  # fmt: skip
            assert (await waiting(read.connection)) == {"estimates": 2, "without_price": 1, "amount": Decimal(2)}
            assert [(each.field, each.attempts) for each in await oddities(read.connection)] == [
                ("input_video_tokens", 1)
            ]
            assert {(each.model, each.asked, each.answered) for each in await used_models(read.connection)} == {
                ("scripted-small", 3, 0), ("scripted-small-1", 0, 3),
            }  # fmt: skip
            assert (await attempts_by_response(read.connection, ["three", "four"])) == {
                "three": [(odd, attempt_id(odd, 1))]
            }
            assert await jobs_of_attempts(read.connection, [attempt_id(odd, 1)]) == {attempt_id(odd, 1): odd}
            day = date(2026, 11, 21)
            first = await priced(read.connection, Between("scripted", day, day), cursor=None, limit=2)
            rest = await priced(read.connection, Between("scripted", day, day), cursor=first.next, limit=2)
            assert [each.counted for each in (*first.items, *rest.items)] == [False, True, True]
            later = Between("scripted", date(2026, 11, 22))
            assert (await priced(read.connection, later, cursor=None, limit=2)).items == []
        await play.do(ReportUsage(job_id=silent, attempt=1, **bill("0.1")))
        await follow(connections, play, PricedAttempts())
        async with reading(connections, PricedAttempts) as read:
            assert [each.job_id for each in (await estimates(read.connection)).items] == [priceless]
