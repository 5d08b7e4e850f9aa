"""How full a limit will be: from the spending of the last hours, to the end of its window."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from commands.budgets import OpenBudget
from domain.budgets import Window
from projections.budgets import BudgetState, BudgetStates
from projections.forecasts import forecast
from tests.commands.staging import EVERYTHING, GLOBAL, admit, complete, queue
from tests.projections.playing import Play
from tests.support.story import Story, telling

JOBS = [UUID(int=number) for number in range(1, 4)]


async def _spent(story: Story, limit: str, window: Window) -> BudgetState:
    """Three dollars in three hours, from 10 to 12 o'clock."""
    play = Play(story)
    await play.do(OpenBudget(scope=GLOBAL, limit=Decimal(limit), window=window), *map(queue, JOBS))
    for job in JOBS:
        await play.do(admit(job, "1"), complete(job, "1"))
        story.clock.advance(3600)
    view = await play.fold(BudgetStates, EVERYTHING, None)
    assert isinstance(view, BudgetState)
    return view


async def test_a_day_ends_as_full_as_its_last_hours_make_it() -> None:
    async with telling() as story:
        view = await _spent(story, "10", Window(kind="day", time_zone="UTC"))
        (told,) = forecast(view, story.clock.now)
        assert (told.per_hour, told.settled, told.at_end) == (1, 3, 14)
        assert told.full_at == story.clock.now + timedelta(hours=7)
        (tomorrow,) = forecast(view, story.clock.now + timedelta(days=1))
        assert (tomorrow.per_hour, tomorrow.settled, tomorrow.at_end, tomorrow.full_at) == (0, 0, 0, None)


async def test_a_day_that_is_not_filled_is_not_full() -> None:
    async with telling() as story:
        view = await _spent(story, "100", Window(kind="day", time_zone="UTC"))
        assert forecast(view, story.clock.now)[0].full_at is None


async def test_a_lifetime_has_no_end_but_may_be_full() -> None:
    async with telling() as story:
        view = await _spent(story, "3", Window())
        (told,) = forecast(view, story.clock.now)
        assert (told.ends_at, told.at_end, told.full_at) == (None, None, story.clock.now)


async def test_every_limit_is_told_in_its_own_window() -> None:
    async with telling() as story:
        await _spent(story, "10", Window(kind="rolling", hours=24))
        play = await Play(story).do(OpenBudget(scope=GLOBAL, limit=Decimal(500), unit="total_tokens"))
        view = await play.fold(BudgetStates, EVERYTHING, None)
        assert isinstance(view, BudgetState)
        assert [(each.name, each.settled, each.headroom) for each in view.limits] == [
            ("usd-last-24-h", 3, 7),
            ("total-tokens-lifetime", 0, 500),
        ]
        assert [each.unit for each in forecast(view, story.clock.now)] == ["usd", "total_tokens"]
