"""Re-rating and late usage: costs are priced anew once, budgets follow in the window, closed months stay closed."""

from typing import Any
from uuid import UUID

import pytest

from commands.accounting import CloseMonth
from commands.budgets import ChangeBudgetLimit, ExpireHold, OpenBudget, RollBudgetWindows
from commands.llm_jobs import LoseAttempt, ReportUsage
from commands.rerating import Rating, RerateCosts
from domain.budgets import Budget, Window
from domain.costs import Cost, CostLine
from domain.errors import Refused
from domain.ids import Scope, attempt_id, budget_id, cost_id
from domain.kernel import load_event
from domain.pricing import Usage
from faults.money.checker import Checker
from streams.reactions.resume_parked_jobs import resume_parked_jobs
from tests.commands.staging import EVERYTHING, GLOBAL, admit, bill, complete, fail, money, queue, usd
from tests.support.story import Story

MODEL = "scripted-small-1"
DAY = 86_400


def line(bucket: str, quantity: int, rate: str, amount: str, card: str = "acme@2026-11-01.1") -> CostLine:
    facts: dict[str, Any] = {"rate": usd(rate), "per": 1_000_000, "rate_id": f"{card}/x/standard#{bucket}"}
    return CostLine(model=MODEL, bucket=bucket, quantity=quantity, amount=usd(amount), **facts)


def lines(amount: str) -> list[CostLine]:
    """What `bill` counted, at another price."""
    return [line("input", 10, "0", "0"), line("output", 20, "3", amount)]


def rerate(job: UUID, amount: str, attempt: int = 1) -> RerateCosts:
    entry = cost_id(attempt_id(job, attempt))
    costs = [Rating(cost_id=entry, lines=lines(amount))]
    return RerateCosts(card="acme@2026-11-01.1", reason="card_was_wrong", costs=costs)


def late(job: UUID, amount: str = "0.25", attempt: int = 1, **more: Any) -> ReportUsage:
    return ReportUsage(job_id=job, attempt=attempt, **(bill(amount) | more))


async def spent(story: Story, amount: str | None = "0.4", name: str = "job", bound: str = "1") -> UUID:
    job = story.id(name)
    await story.given(queue(job), admit(job, bound), complete(job, amount))
    return job


def checked(story: Story) -> None:
    """The independent checker of the log finds nothing."""
    checker = Checker()
    checker.read(story.events)
    assert checker.findings == []


async def test_a_cost_is_priced_anew_and_its_budgets_follow_once(story: Story) -> None:
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(2)))
    job = await spent(story)
    await story.when(rerate(job, "0.3"))
    said, rebooked = story.then("cost.re_rated", "budget.rebooked")
    assert (said["previous"], said["amount"], said["card"]) == ("0.4", "0.3", "acme@2026-11-01.1")
    assert (said["recorded_on"], said["booked_on"], said["by"]) == ("2026-11-21", "2026-11-21", "owner")
    assert (said["usage"]["passes"][0]["model"], said["was_estimated"]) == (MODEL, False)
    assert (rebooked["delta"], rebooked["input_delta"], rebooked["number"]) == ("-0.1", 0, 1)
    assert money(story) == (usd("0.3"), 0)
    cost = story.state(Cost, cost_id(attempt_id(job, 1)))
    assert (cost.amount, cost.lines) == (usd("0.3"), lines("0.3"))
    assert cost.price_day == cost.recorded_on
    cost.re_rate(card="c", lines=lines("0.3"), booked_on=cost.recorded_on, reason="r", by="b")
    assert cost.take_pending() == ()
    await story.when(rerate(job, "0.3"))
    story.then()
    checked(story)


async def test_lines_that_are_not_made_of_the_usage_are_passed_over(story: Story) -> None:
    job = await spent(story)
    other = [line("input", 11, "0", "0"), line("output", 20, "3", "1")]
    entry = cost_id(attempt_id(job, 1))
    nobody = cost_id(attempt_id(story.id("nobody"), 1))
    costs = [Rating(cost_id=entry, lines=other), Rating(cost_id=nobody, lines=other)]
    await story.when(RerateCosts(card="c", reason="r", costs=costs))
    story.then()


async def test_an_estimate_without_usage_is_left_alone_and_one_without_a_price_is_mended(story: Story) -> None:
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(5)))
    uncounted = await spent(story, None)
    await story.when(rerate(uncounted, "0.3"))
    story.then()
    priceless = story.id("priceless")
    usage = Usage.simple(MODEL, input_tokens=10, output_tokens=20)
    await story.given(queue(priceless), admit(priceless), complete(priceless, None, usage=usage, problem="no price"))
    await story.when(rerate(priceless, "0.3"))
    said, rebooked = story.then("cost.re_rated", "budget.rebooked")
    assert (said["was_estimated"], said["previous"], rebooked["delta"]) == (True, "1", "-0.7")
    assert not story.state(Cost, cost_id(attempt_id(priceless, 1))).estimated
    assert money(story)[0] == usd("1.3")
    checked(story)


async def test_what_has_no_room_explains_itself_and_crosses_thresholds(story: Story) -> None:
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(1), thresholds=[100]))
    job = await spent(story, "0.4")
    other = story.id("other")
    await story.given(queue(other), admit(other, "0.6"))
    await story.when(rerate(job, "0.9"))
    story.then("cost.re_rated", "budget.rebooked")
    budget = story.state(Budget, EVERYTHING)
    assert (budget.settled, budget.held, budget.overdrawn) == (usd("0.9"), usd("0.6"), usd("0.5"))
    await story.given(complete(other, "0.6"))
    await story.when(rerate(job, "0.8"))
    story.then("cost.re_rated", "budget.rebooked")
    checked(story)
    await story.when(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd("1.2")))
    story.then_refused(Refused, code="limit_below_spent")


async def test_a_cheaper_price_wakes_who_waits_for_room(story: Story) -> None:
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(1)))
    job = await spent(story, "0.9")
    waiting = story.id("waiting")
    await story.given(queue(waiting), admit(waiting, "0.5"))
    await story.when(rerate(job, "0.2"))
    assert story.then("cost.re_rated", "budget.rebooked")[1]["waiting"] == 1
    happened = story.events[-1]
    (resume,) = resume_parked_jobs(load_event(happened), happened)
    await story.when(resume)
    story.then("budget.job_unparked", "llm_job.resumed")


async def test_a_window_that_is_over_no_longer_counts_the_difference(story: Story) -> None:
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(5), window=Window(kind="day", time_zone="UTC")))
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(5)))
    job = await spent(story)
    story.clock.advance(DAY)
    await story.given(RollBudgetWindows(budget_id=EVERYTHING))
    await story.when(rerate(job, "0.7"))
    story.then("cost.re_rated", "budget.rebooked")
    limits = story.state(Budget, EVERYTHING).limits
    assert {name: each.settled for name, each in limits.items()} == {"usd-day-utc": usd(0), "usd-lifetime": usd("0.7")}
    checked(story)


async def test_a_difference_of_a_closed_month_counts_today(story: Story) -> None:
    job = await spent(story)
    story.clock.advance(15 * DAY)
    await story.given(CloseMonth(month="2026-11"))
    await story.when(rerate(job, "0.3"))
    (said,) = story.then("cost.re_rated")
    assert (said["recorded_on"], said["booked_on"]) == ("2026-11-21", "2026-12-06")


async def test_late_usage_of_a_closed_month_counts_today_as_well(story: Story) -> None:
    job = await spent(story, None)
    story.clock.advance(15 * DAY)
    await story.given(CloseMonth(month="2026-11"))
    await story.when(late(job))
    (said,) = story.then("cost.corrected")
    assert (said["booked_on"], said["previous"], said["amount"]) == ("2026-12-06", "1", "0.25")


async def test_late_usage_replaces_an_estimate_in_every_unit_once(story: Story) -> None:
    tokens = Scope(kind="provider", provider="scripted")
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(5)))
    await story.given(OpenBudget(scope=tokens, limit=usd(1000), unit="total_tokens"))
    job = await spent(story, None)
    assert story.state(Budget, budget_id(tokens)).settled == 200
    await story.when(late(job))
    story.then("cost.corrected", "budget.rebooked", "budget.rebooked")
    assert money(story) == (usd("0.25"), 0)
    assert story.state(Budget, budget_id(tokens)).settled == 30
    await story.when(late(job))
    story.then()
    await story.when(late(job, "0.26"))
    story.then_refused(Refused, code="usage_known", saying="toybox prices rerate")
    checked(story)


async def test_late_usage_of_an_expired_hold_adjusts_it(story: Story) -> None:
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(5)))
    job = story.id("job")
    await story.given(queue(job), admit(job))
    story.clock.advance(130)
    await story.given(
        LoseAttempt(job_id=job, attempt=1), ExpireHold(budget_id=EVERYTHING, attempt_id=attempt_id(job, 1))
    )
    entry = story.state(Cost, cost_id(attempt_id(job, 1)))
    assert [(each.budget_id, each.number, each.input_tokens) for each in entry.paid_by] == [(EVERYTHING, 1, 100)]
    await story.when(late(job))
    story.then("llm_job.late_usage", "cost.corrected", "budget.adjusted")
    assert money(story) == (usd("0.25"), 0)
    await story.when(late(job))
    story.then()
    checked(story)


async def test_tokens_that_came_late_without_a_price_are_not_taken_back_twice(story: Story) -> None:
    tokens = Scope(kind="provider", provider="scripted")
    await story.given(OpenBudget(scope=tokens, limit=usd(1000), unit="total_tokens"))
    job = story.id("job")
    await story.given(queue(job), admit(job), LoseAttempt(job_id=job, attempt=1))
    story.clock.advance(130)
    await story.given(ExpireHold(budget_id=budget_id(tokens), attempt_id=attempt_id(job, 1)))
    unpriced = bill("0.25") | {"lines": [], "amount": None, "problem": "its price is unknown"}
    await story.given(complete(job).model_copy(update=unpriced))
    await story.when(late(job))
    story.then("cost.corrected", "budget.rebooked")
    assert story.state(Budget, budget_id(tokens)).settled == 30
    checked(story)


async def test_an_expired_hold_that_its_budget_has_forgotten_is_still_corrected(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.budgets.budget.EXPIRED_KEPT", 0)
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(5)))
    job = story.id("job")
    await story.given(queue(job), admit(job))
    story.clock.advance(130)
    await story.given(
        LoseAttempt(job_id=job, attempt=1), ExpireHold(budget_id=EVERYTHING, attempt_id=attempt_id(job, 1))
    )
    await story.when(late(job))
    story.then("llm_job.late_usage", "cost.corrected", "budget.rebooked")
    assert money(story) == (usd("0.25"), 0)


async def test_late_usage_of_a_lost_attempt_whose_hold_is_open_settles_it(story: Story) -> None:
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(5)))
    job = story.id("job")
    await story.given(queue(job), admit(job), LoseAttempt(job_id=job, attempt=1))
    await story.when(late(job))
    story.then("llm_job.late_usage", "budget.settled", "cost.recorded")
    assert money(story) == (usd("0.25"), 0)


async def test_usage_is_refused_where_nothing_waits_for_it(story: Story) -> None:
    job = story.id("job")
    await story.given(queue(job), admit(job))
    await story.when(late(job))
    story.then_refused(Refused, code="attempt_running")
    await story.when(ReportUsage(job_id=job, attempt=1))
    story.then_refused(Refused, code="usage_needed")
    await story.when(late(job, attempt=2))
    story.then_refused(Refused, code="not_due", saying="never admitted")
    await story.given(fail(job, sent=False, retryable=False))
    await story.when(late(job))
    story.then_refused(Refused, code="no_cost")
