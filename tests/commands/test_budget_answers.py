"""What admission answers: admitted, cut down to what fits, parked until a window ends, denied; in money and tokens."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from commands.budgets import (
    ChangeBudgetLimit,
    ChangeCostSettings,
    CloseBudget,
    ExpireHold,
    OpenBudget,
    RollBudgetWindows,
)
from commands.handling import Principal
from commands.identity.access_keys import IssueAccessKey
from commands.llm_jobs import LoseAttempt, ResumeParkedJobs
from domain.budgets import Budget, CostSettings, Window
from domain.errors import Conflict, NotFound, Refused
from domain.identity.access_keys import AccessKey
from domain.identity.tokens import access_key_id
from domain.ids import Scope, attempt_id, budget_id, cost_settings_id
from domain.kernel import load_event
from domain.llm_jobs import LlmJob
from faults.money.checker import check
from streams.deadlines import ANSWERS
from streams.reactions.resume_parked_jobs import resume_parked_jobs
from tests.commands.staging import EVERYTHING, GLOBAL, admit, complete, money, queue, usd
from tests.support.story import Story

DAY = Window(kind="day", time_zone="Europe/Berlin")
MIDNIGHT = "2026-11-21T23:00:00.000000Z"


def opened(limit: str, **over: Any) -> OpenBudget:
    facts: dict[str, Any] = {"scope": GLOBAL, "thresholds": [100]}
    return OpenBudget(limit=usd(limit), **(facts | over))


def raised(limit: str, name: str | None = None) -> ChangeBudgetLimit:
    return ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(limit), name=name)


# --- windows ---


async def test_a_job_waits_for_the_end_of_the_day_and_is_woken_there(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("1", window=DAY), queue(one), queue(two), admit(one, "1"), complete(one, "0.9"))
    await story.when(admit(two, "0.5"))
    parked, told = story.then("llm_job.parked", "budget.job_parked")
    assert (parked["name"], parked["window"]) == ("usd-day-europe-berlin", "day Europe/Berlin")
    assert (parked["limit"], parked["settled"], parked["requested"]) == ("1", "0.9", "0.5")
    assert parked["retry_at"] == told["rolls_at"] == MIDNIGHT
    due = ANSWERS["budget.job_parked"](load_event(story.events[-1]))
    assert due == RollBudgetWindows(budget_id=EVERYTHING)
    await story.when(due)
    story.then_refused(Refused, code="not_due")
    story.clock.now = datetime.fromisoformat(MIDNIGHT)
    await story.when(due)
    (rolled,) = story.then("budget.window_rolled")
    assert (rolled["settled"], rolled["held"], rolled["waiting"]) == ("0.9", "0", 1)
    assert rolled["rolls_at"] == rolled["span"]["ends_at"] == "2026-11-22T23:00:00.000000Z"
    assert list(resume_parked_jobs(load_event(story.events[-1]), story.events[-1])) == [
        ResumeParkedJobs(budget_id=EVERYTHING)
    ]
    await story.when(ResumeParkedJobs(budget_id=EVERYTHING))
    assert story.then("budget.job_unparked", "llm_job.resumed")[0]["rolls_at"] is None
    await story.when(admit(two, "0.5"))
    story.then("llm_job.admitted", "llm_job.started", "budget.reserved")
    assert check(story.events) == []


async def test_an_admission_rolls_the_window_itself_and_a_late_cost_stays_in_the_old_one(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("1", window=DAY), queue(one), queue(two), admit(one, "1", hold_seconds=86_400))
    story.clock.advance(14 * 3600)
    await story.when(admit(two, "0.75"))
    rolled = story.then("llm_job.admitted", "llm_job.started", "budget.window_rolled", "budget.reserved")[2]
    assert (rolled["settled"], rolled["held"], rolled["rolls_at"]) == ("0", "1", None)
    await story.when(complete(one, "0.6"))
    story.then("llm_job.completed", "budget.settled", "cost.recorded")
    assert money(story) == (usd(0), usd("0.75"))
    await story.given(complete(two, "0.5"))
    assert money(story) == (usd("0.5"), usd(0))
    assert check(story.events) == []


async def test_an_expired_hold_of_yesterday_is_corrected_in_yesterday(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("5", window=DAY), queue(job), queue(story.id(2)))
    await story.given(admit(job, "3"), LoseAttempt(job_id=job, attempt=1))
    story.clock.advance(120)
    await story.given(ExpireHold(budget_id=EVERYTHING, attempt_id=attempt_id(job, 1)))
    story.clock.advance(86_400)
    await story.given(admit(story.id(2), "4"))
    await story.when(complete(job, "1"))
    story.then("llm_job.late_usage", "budget.adjusted", "cost.corrected")
    assert money(story) == (usd(0), usd(4))
    assert check(story.events) == []


async def test_what_was_spent_leaves_a_rolling_window_a_part_at_a_time(story: Story) -> None:
    jobs = [story.id(n) for n in range(4)]
    await story.given(opened("2", window=Window(kind="rolling", hours=24)), *map(queue, jobs))
    await story.given(admit(jobs[0], "1"), complete(jobs[0], "1"))
    story.clock.advance(12 * 3600)
    await story.given(admit(jobs[1], "1"), complete(jobs[1], "1"))
    story.clock.advance(12 * 3600)
    await story.when(admit(jobs[2], "1"))
    assert story.then("llm_job.parked", "budget.window_rolled", "budget.job_parked")[0]["retry_at"] == (
        "2026-11-22T11:00:00.000000Z"
    ), "after exactly 24 hours the part of the hour still counts"
    story.clock.advance(3600)
    await story.given(RollBudgetWindows(budget_id=EVERYTHING), ResumeParkedJobs(budget_id=EVERYTHING))
    await story.given(admit(jobs[2], "1"))
    assert money(story) == (usd(1), usd(1))
    assert check(story.events) == []


async def test_a_clock_that_is_set_back_or_far_ahead_loses_nothing(story: Story) -> None:
    one, two, three = (story.id(n) for n in range(3))
    await story.given(opened("1", window=DAY), queue(one), queue(two), queue(three), admit(one, "1"))
    story.clock.advance(400 * 86_400)
    await story.given(admit(two, "1"))
    story.clock.now -= timedelta(hours=2)
    await story.when(admit(three, "1"))
    story.then("llm_job.parked", "budget.job_parked")
    await story.given(complete(one, "0.5"), complete(two, "0.5"))
    assert money(story) == (usd("0.5"), usd(0))


async def test_several_limits_of_one_scope_hold_together(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("5"), opened("1", window=DAY), queue(job))
    await story.when(opened("2", window=DAY))
    story.then_refused(Conflict, saying="has a budget already for usd, day Europe/Berlin")
    await story.when(raised("7"))
    story.then_refused(Refused, code="which_limit", saying="usd-lifetime, usd-day-europe-berlin")
    await story.when(raised("7", "usd-week"))
    story.then_refused(NotFound, saying="no limit usd-week")
    await story.when(admit(job, "2"))
    story.then("llm_job.parked", "budget.job_parked")
    await story.when(CloseBudget(budget_id=EVERYTHING, name="usd-day-europe-berlin"))
    (removed,) = story.then("budget.limit_removed")
    assert (removed["waiting"], removed["rolls_at"]) == (1, None)
    await story.given(ResumeParkedJobs(budget_id=EVERYTHING))
    await story.when(admit(job, "2"))
    story.then("llm_job.admitted", "llm_job.started", "budget.reserved")
    await story.when(CloseBudget(budget_id=EVERYTHING, name="usd-lifetime"))
    story.then("budget.closed")
    assert check(story.events) == []


async def test_a_budget_that_opens_again_later_begins_a_new_window(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("1", window=DAY), queue(job), admit(job, "1"), complete(job, "1"))
    await story.given(CloseBudget(budget_id=EVERYTHING))
    story.clock.advance(86_400)
    await story.given(opened("0.5", window=DAY))
    assert money(story) == (usd(0), usd(0))
    await story.given(CloseBudget(budget_id=EVERYTHING), opened("0.5", window=Window(kind="month")))
    assert [*story.state(Budget, EVERYTHING).limits] == ["usd-month-utc"]
    assert check(story.events) == []


async def test_zones_on_both_sides_of_greenwich_have_limits_of_their_own(story: Story) -> None:
    west, east = (Window(kind="day", time_zone=f"Etc/GMT{side}5") for side in "+-")
    await story.given(opened("1", window=west))
    await story.when(opened("1", window=east))
    assert story.then("budget.limit_added")[0]["name"] == "usd-day-etc-gmt-5"
    assert story.state(Budget, EVERYTHING).first.name == "usd-day-etc-gmt-plus-5"


# --- tokens, soft limits, scopes ---


@pytest.mark.parametrize("unit", ["input_tokens", "output_tokens", "total_tokens"])
async def test_tokens_are_held_and_settled_as_money_is(story: Story, unit: str) -> None:
    one, two = story.id(1), story.id(2)
    held, used = {"input_tokens": (100, 10), "output_tokens": (100, 20), "total_tokens": (200, 30)}[unit]
    await story.given(opened(str(held + used), unit=unit, thresholds=[1]), queue(one), queue(two), admit(one, "9"))
    assert money(story) == (usd(0), usd(held))
    await story.when(complete(one, "0.4"))
    crossed = story.then("llm_job.completed", "budget.settled", "budget.threshold_crossed", "cost.recorded")[2]
    assert (crossed["unit"], crossed["settled"]) == (unit, str(used))
    await story.given(admit(two, "9"))
    await story.when(complete(two, None))
    story.then("llm_job.completed", "budget.settled", "cost.recorded")
    assert money(story) == (usd(held + used), usd(0)), "tokens that nobody counted are as many as were held"
    assert check(story.events) == []


async def test_more_tokens_than_were_held_are_an_overdraft_of_tokens(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("50", unit="total_tokens"), queue(job), admit(job, "9", input_bound=10, output_bound=10))
    await story.when(complete(job, "0.4"))
    overdrawn = story.then("llm_job.completed", "budget.overdrawn", "budget.settled", "cost.recorded")[1]
    assert (overdrawn["unit"], overdrawn["amount"], overdrawn["held"]) == ("total_tokens", "30", "20")
    assert check(story.events) == []


async def test_a_limit_in_tokens_is_whole(story: Story) -> None:
    await story.when(opened("1.5", unit="total_tokens"))
    story.then_refused(Refused, code="invalid_limit")
    await story.given(opened("1", unit="total_tokens"))
    await story.when(raised("1.5"))
    story.then_refused(Refused, code="invalid_limit")


async def test_a_soft_limit_tells_and_holds_nothing_back(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("1", hard=False), queue(job))
    await story.when(admit(job, "3"))
    story.then("llm_job.admitted", "llm_job.started", "budget.reserved")
    await story.when(complete(job, "2"))
    story.then("llm_job.completed", "budget.settled", "budget.threshold_crossed", "cost.recorded")
    await story.given(raised("0.5"))
    assert check(story.events) == []


@pytest.mark.parametrize(
    "scope",
    [Scope(kind="provider", provider="scripted"), Scope(kind="model", provider="scripted", model="scripted-small")],
)
async def test_a_provider_and_a_model_have_budgets_of_their_own(story: Story, scope: Scope) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("1", scope=scope), queue(one, provider="other"), queue(two))
    await story.given(admit(one, "2", provider="other"))
    await story.when(admit(two, "2"))
    parked, _ = story.then("llm_job.parked", "budget.job_parked")
    assert parked["budget_id"] == str(budget_id(scope))
    assert parked["scope"].startswith(f"{scope.kind} scripted")


@pytest.mark.parametrize("model", ["scripted-small-20261101", "scripted-small-2026-11-01", "scripted-small@20261101"])
async def test_a_dated_snapshot_of_a_model_is_limited_with_it(story: Story, model: str) -> None:
    job = story.id(1)
    whole, own = (Scope(kind="model", provider="scripted", model=each) for each in ("scripted-small", model))
    await story.given(opened("1", scope=whole), opened("3", scope=own), queue(job, model=model))
    await story.when(admit(job, "2", model=model))
    parked, _ = story.then("llm_job.parked", "budget.job_parked")
    assert parked["budget_id"] == str(budget_id(whole))
    await story.given(ChangeBudgetLimit(budget_id=budget_id(whole), limit=usd(2)))
    await story.given(ResumeParkedJobs(budget_id=budget_id(whole)), admit(job, "2", model=model))
    assert [money(story, budget_id(each))[1] for each in (whole, own)] == [usd(2), usd(2)]
    assert check(story.events) == []


async def test_the_key_of_whoever_asks_has_a_budget(story: Story) -> None:
    key, mine, other = access_key_id("0" * 64), story.id(1), story.id(2)
    scope = Scope(kind="key", key_id=key)
    await story.when(opened("1", scope=scope))
    story.then_refused(NotFound)
    issued = IssueAccessKey(key_hash="0" * 64, prefix="tbx_Ab12Cd", label="laptop", permissions=("llm_jobs.*",))
    await story.given(issued, opened("1", scope=scope), queue(other))
    assert story.state(AccessKey, key).label == "laptop"
    await story.when(queue(mine), principal=Principal("laptop", frozenset({"*"}), key))
    assert story.then("llm_job.queued")[0]["key_id"] == str(key)
    await story.given(admit(other, "2"))
    await story.when(admit(mine, "2"))
    story.then("llm_job.parked", "budget.job_parked")


# --- shape, deny, settings ---


def shapeable(job: UUID, bound: str = "1", **over: Any) -> Any:
    """An admission that can be cut down: 100 output tokens at one cent each."""
    return admit(job, bound, output_price=usd("0.01"), **over)


async def test_a_job_that_states_a_minimum_is_cut_down_to_what_fits(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("0.7"), opened("150", unit="total_tokens"))
    await story.given(queue(job, max_output_tokens=100, min_output_tokens=20))
    await story.when(shapeable(job))
    shaped, admitted, _, reserved = story.then(
        "llm_job.shaped", "llm_job.admitted", "llm_job.started", "budget.reserved"
    )
    assert (shaped["asked"], shaped["max_output_tokens"], shaped["shortfall"]["requested"]) == (100, 50, "1")
    assert (admitted["max_output_tokens"], admitted["bound"]) == (50, "0.5")
    assert (reserved["amount"], reserved["output_tokens"]) == ("0.5", 50)
    assert check(story.events) == []


@pytest.mark.parametrize(
    ("settings", "minimum", "price"),
    [({"shape": False}, 20, "0.01"), ({}, None, "0.01"), ({}, 90, "0.01"), ({}, 20, None)],
)
async def test_a_job_is_not_cut_down_where_it_may_not_be(
    story: Story, settings: dict[str, Any], minimum: int | None, price: str | None
) -> None:
    job = story.id(1)
    await story.given(ChangeCostSettings(**settings), opened("0.7"))
    await story.given(queue(job, max_output_tokens=100, min_output_tokens=minimum))
    await story.when(admit(job, "1", output_price=price and usd(price)))
    story.then("llm_job.parked", "budget.job_parked")


async def test_a_minimum_above_what_is_asked_for_is_refused(story: Story) -> None:
    await story.when(queue(story.id(1), max_output_tokens=10, min_output_tokens=20))
    story.then_refused(Refused, code="invalid_minimum")


async def test_a_job_that_can_never_fit_is_denied_where_the_settings_say_so(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(ChangeCostSettings(impossible="deny"), opened("1"), queue(one), queue(two), admit(one, "0.75"))
    await story.when(admit(two, "0.5"))
    story.then("llm_job.parked", "budget.job_parked")
    await story.given(queue(story.id(3)))
    await story.when(admit(story.id(3), "1.5"))
    denied, failed, _ = story.then("llm_job.denied", "llm_job.failed", "llm_job.dead_lettered")
    lack = denied["shortfall"]
    assert (denied["kind"], failed["kind"], lack["scope"]) == ("budget_exceeded", "budget_exceeded", "global")
    told = [lack[each] for each in ("limit", "settled", "held", "requested", "retry_at")]
    assert told == ["1", "0", "0.75", "1.5", None]


async def test_a_job_that_would_have_to_wait_is_denied_where_the_settings_say_so(story: Story) -> None:
    one, two, three = (story.id(n) for n in range(3))
    await story.given(opened("1", window=DAY), queue(one), queue(two), queue(three), admit(one, "1"), admit(two, "1"))
    await story.given(ChangeCostSettings(exhausted="deny"), complete(one, "0.8"))
    await story.when(admit(three, "0.5"))
    denied, *_ = story.then("llm_job.denied", "llm_job.failed", "llm_job.dead_lettered")
    assert denied["shortfall"]["retry_at"] == MIDNIGHT


async def test_a_denied_job_lets_those_behind_it_go_on(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("1"), queue(one), queue(two), admit(one, "2"))
    await story.given(ChangeCostSettings(impossible="deny"), raised("3"))
    await story.when(admit(two, "4"))
    story.then("llm_job.denied", "llm_job.failed", "llm_job.dead_lettered", "budget.job_unparked", "llm_job.resumed")


async def test_cost_settings_are_the_defaults_of_new_limits(story: Story) -> None:
    await story.when(ChangeCostSettings(thresholds=[90, 10, 90], time_zone="Asia/Tokyo"))
    (chosen,) = story.then("cost_settings.chosen")
    assert chosen["rules"]["thresholds"] == [10, 90]
    await story.when(OpenBudget(scope=GLOBAL, limit=usd(1), window=Window(kind="day")))
    (said,) = story.then("budget.opened")
    assert (said["thresholds"], said["window"]["time_zone"], said["name"]) == (
        [10, 90],
        "Asia/Tokyo",
        "usd-day-asia-tokyo",
    )
    assert said["span"]["ends_at"] == datetime(2026, 11, 21, 15, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    await story.when(ChangeCostSettings(thresholds=[10, 90], time_zone="Asia/Tokyo"))
    story.then()
    await story.when(ChangeCostSettings())
    story.then("cost_settings.changed")
    found = story.state(CostSettings, cost_settings_id())
    assert CostSettings.from_snapshot(found.id, found.version, found.snapshot()) == found
    with pytest.raises(ValueError, match="there is no time zone Mars/Olympus"):
        ChangeCostSettings(time_zone="Mars/Olympus")


async def test_a_window_never_changes_under_a_limit() -> None:
    with pytest.raises(ValueError, match="window"):
        ChangeBudgetLimit.model_validate({"budget_id": str(EVERYTHING), "limit": "1", "window": {"kind": "week"}})


async def test_another_window_in_mid_window_counts_what_is_let_out_from_then_on(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("5", window=DAY), queue(one), queue(two), admit(one, "2"))
    await story.given(opened("3", window=Window(kind="week", time_zone="UTC")), admit(two, "1"))
    await story.given(complete(one, "1.5"))
    await story.when(CloseBudget(budget_id=EVERYTHING, name="usd-day-europe-berlin"))
    story.then("budget.limit_removed")
    await story.given(complete(two, "0.5"))
    found = story.state(Budget, EVERYTHING)
    assert [(each.name, each.settled, each.held) for each in found.limits.values()] == [
        ("usd-week-utc", usd("0.5"), usd(0))
    ]
    await story.given(opened("5", window=DAY))
    assert story.state(Budget, EVERYTHING).limits["usd-day-europe-berlin"].settled == 0
    assert not found.holds
    assert check(story.events) == []


async def test_a_settlement_of_an_unknown_attempt_counts_nothing(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("1"), queue(job))
    await story.when(complete(job, "1"))
    story.then_refused(Refused, code="not_due", saying="never admitted")
    assert story.state(LlmJob, job).status == "queued"
    assert money(story) == (usd(0), usd(0))


async def test_a_budget_has_so_many_limits_and_no_more(story: Story) -> None:
    await story.given(*(opened("1", window=Window(kind="rolling", hours=hours)) for hours in range(1, 21)))
    await story.when(opened("1"))
    story.then_refused(Refused, code="too_many_limits", saying="at most 20 limits")
