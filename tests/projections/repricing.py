"""What happens to prices in a town: cards at its beginning, second thoughts about what was paid at its end."""

from commands.accounting import CloseMonth
from commands.llm_jobs import ReportUsage
from commands.prices import ApprovePriceCard, ImportPriceCard, RetirePriceCard, WithdrawPriceCard
from commands.rerating import Rating, RerateCosts
from domain.costs import Cost, CostLine
from domain.ids import attempt_id
from domain.llm_jobs import LlmJob
from domain.pricing import ModelPrices, Price, PriceCard
from tests.commands.staging import bill
from tests.projections.playing import Play


def _card(town: Play, fix: int) -> PriceCard:
    prices = ModelPrices(model="scripted-small", prices=(Price(rates={"input": "1", "output": "2"}),))
    day = town.story.clock.now.date()
    return PriceCard(provider="scripted", effective_from=day, fix=fix, source="the town hall", models=(prices,))


async def bring_cards(town: Play) -> None:
    """One is approved and retired, another one withdrawn; a month is closed."""
    one, other = _card(town, 1), _card(town, 2)
    for command in (
        CloseMonth(month="2026-10"),
        ImportPriceCard(card=one),
        ImportPriceCard(card=other),
        ApprovePriceCard(name=one.name),
        RetirePriceCard(name=one.name),
        WithdrawPriceCard(name=other.name),
    ):
        await town.send(command)


async def think_again(town: Play) -> None:
    """Some costs are re-rated, half of them after their month was closed; some estimates are counted late."""
    counted = [each for each in town.all(Cost).values() if each.lines][:20]
    ratings = [Rating(cost_id=each.id, lines=[_dearer(line) for line in each.lines]) for each in counted]
    town.story.clock.advance(40 * 86_400)
    half = len(ratings) // 2
    await town.send(RerateCosts(card="scripted@2026-11-21.1", reason="second_thoughts", costs=ratings[:half]))
    await town.send(CloseMonth(month=f"{counted[0].recorded_on:%Y-%m}"))
    await town.send(RerateCosts(card="scripted@2026-11-21.1", reason="second_thoughts", costs=ratings[half:]))
    for each in [each for each in town.all(Cost).values() if each.estimated][:5]:
        job = town.all(LlmJob)[each.job_id]
        number = next(n for n in range(1, job.attempt + 1) if attempt_id(job.id, n) == each.attempt_id)
        where = {"project_id": each.project_id, "phase": each.phase, "agent_id": each.agent_id}
        await town.send(ReportUsage(job_id=job.id, attempt=number, **where, **bill("0.03")))
    await town.react()


def _dearer(line: CostLine) -> CostLine:
    return line.model_copy(update={"amount": line.amount * 2, "rate": line.rate * 2})
