"""Attempts of LLM jobs: outcomes counted once, failures retried or given up, fences, money on every way out."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.budgets import OpenBudget
from commands.llm_jobs import LoseAttempt, RequeueLlmJob
from commands.llm_jobs.addresses import one_line
from domain.budgets import Budget
from domain.costs import Cost
from domain.errors import Refused
from domain.ids import attempt_id, cost_id
from domain.llm_jobs import Attempt, LlmJob, reason_of, retry_delay
from domain.llm_jobs.attempts import LONGEST_BACKOFF_MS, LONGEST_RETRY_AFTER_MS
from domain.values import INLINE_TEXT, Text, derived_id
from tests.commands.staging import EVERYTHING, GLOBAL, admit, bill, complete, fail, money, queue, usd
from tests.support.story import Story

USAGE = {
    "passes": [
        {
            "model": "scripted-small-1",
            "kind": "message",
            "quantities": [{"bucket": "input", "quantity": 10}, {"bucket": "output", "quantity": 20}],
        }
    ],
    "tier": "standard",
    "speed": "standard",
    "region": None,
    "reasoning_tokens": None,
    "rejected_prediction_tokens": None,
    "reported_cost": None,
    "unknown_fields": [],
}
"""What the stage's bills were made of, as events tell it."""


async def _running(story: Story, bound: str = "1", **facts: Any) -> None:
    """A budget of five and one job whose first attempt is out."""
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(5), thresholds=[100]))
    await story.given(queue(story.id(1), **facts), admit(story.id(1), bound))


async def test_an_answer_settles_its_hold_and_records_its_cost_line_by_line(story: Story) -> None:
    await _running(story)
    await story.when(complete(story.id(1), "0.4"))
    done, settled, cost = story.then("llm_job.completed", "budget.settled", "cost.recorded")
    assert await story.unsealed(done["output"]["sealed"]) == "Hello to you"
    assert (done["cost"], done["provider"], done["model"]) == ("0.4", "scripted", "scripted-small-1")
    assert (done["response_id"], done["usage"]) == ("response 7", USAGE)
    assert settled == {
        "attempt_id": str(attempt_id(story.id(1), 1)),
        "number": 1,
        "amount": "0.4",
        "input_tokens": 10,
        "output_tokens": 20,
        "held": "1",
        "held_input_tokens": 100,
        "held_output_tokens": 100,
        "waiting": 0,
    }
    assert (cost["amount"], cost["estimated"], cost["model"]) == ("0.4", False, "scripted-small-1")
    assert [line["bucket"] for line in cost["lines"]] == ["input", "output"]
    assert money(story) == (usd("0.4"), usd(0))
    job = story.state(LlmJob, story.id(1))
    assert (job.status, job.cost, job.output) == (
        "completed",
        usd("0.4"),
        Text(digest=done["output"]["digest"], size=12),
    )


@pytest.mark.parametrize("again", [complete, fail])
async def test_an_outcome_is_recorded_once_whatever_is_said_later(story: Story, again: Any) -> None:
    await _running(story)
    await story.given(complete(story.id(1), "0.4"))
    await story.when(again(story.id(1), "0.9"))
    story.then()
    assert money(story) == (usd("0.4"), usd(0))


async def test_an_answer_that_was_not_counted_costs_its_bound(story: Story) -> None:
    await _running(story)
    await story.when(complete(story.id(1), None))
    done, settled, cost = story.then("llm_job.completed", "budget.settled", "cost.recorded")
    assert (done["usage"], done["cost"], settled["amount"]) == (None, "1", "1")
    assert (cost["usage"], cost["lines"], cost["amount"], cost["estimated"]) == (None, [], "1", True)


async def test_a_long_answer_lies_in_the_object_store(story: Story) -> None:
    await _running(story)
    await story.when(complete(story.id(1), output="x" * (INLINE_TEXT + 1)))
    story.then_refused(Refused, code="text_too_long")
    await story.when(complete(story.id(1), output=Text(digest="ab" * 32, size=INLINE_TEXT + 1)))
    assert story.then("llm_job.completed", "budget.settled", "cost.recorded")[0]["output"]["sealed"] is None


async def test_what_was_not_sent_is_free(story: Story) -> None:
    await _running(story)
    await story.when(fail(story.id(1), sent=False, kind="unreachable"))
    scheduled, released = story.then("llm_job.retry_scheduled", "budget.released")
    assert (scheduled["attempt"], scheduled["kind"], scheduled["reason"]) == (
        1,
        "unreachable",
        reason_of("unreachable"),
    )
    held = {"number": 1, "amount": "1", "input_tokens": 100, "output_tokens": 100}
    assert released == {"attempt_id": str(attempt_id(story.id(1), 1)), **held, "waiting": 0}
    assert money(story) == (usd(0), usd(0))


@pytest.mark.parametrize(("counted", "spent"), [("0.3", "0.3"), (None, "1")])
async def test_what_was_sent_is_never_free(story: Story, counted: str | None, spent: str) -> None:
    await _running(story)
    await story.when(fail(story.id(1), counted))
    _, settled, cost = story.then("llm_job.retry_scheduled", "budget.settled", "cost.recorded")
    assert (settled["amount"], cost["amount"], cost["estimated"]) == (spent, spent, counted is None)


async def test_a_retry_waits_for_its_time_then_goes_out_as_the_next_attempt(story: Story) -> None:
    await _running(story)
    await story.given(fail(story.id(1), retry_after_seconds=7.25))
    job = story.state(LlmJob, story.id(1))
    assert job.due_at == story.clock.now + timedelta(seconds=7.25)
    assert (job.status, job.failure, job.reason) == ("retrying", "overloaded", "the provider is overloaded")
    await story.when(RequeueLlmJob(job_id=story.id(1)))
    story.then_refused(Refused, code="not_due", saying="not due yet")
    story.clock.advance(7.25)
    await story.when(RequeueLlmJob(job_id=story.id(1)))
    assert story.then("llm_job.resumed") == [{"budget_id": None}]
    await story.when(RequeueLlmJob(job_id=story.id(1)))
    story.then_refused(Refused, code="not_due")
    await story.when(admit(story.id(1), attempt=2))
    assert story.then("llm_job.admitted", "llm_job.started", "budget.reserved")[2]["attempt_id"] == str(
        attempt_id(story.id(1), 2)
    )


@pytest.mark.parametrize("how", [{"max_attempts": 1}, {}])
async def test_a_job_fails_when_no_attempt_is_left_or_none_would_help(story: Story, how: dict[str, Any]) -> None:
    await _running(story, **how)
    await story.when(fail(story.id(1), "0.1", retryable=bool(how), kind="melted", detail=None))
    said = story.then("llm_job.failed", "llm_job.dead_lettered", "budget.settled", "cost.recorded")[0]
    target = {"provider": "scripted", "model": "scripted-small"}
    assert said == {"attempt": 1, "kind": "melted", "reason": "the attempt failed: melted", "note": None, **target}
    assert story.state(LlmJob, story.id(1)).status == "failed"


async def test_an_attempt_that_a_job_does_not_wait_for_has_no_charge(story: Story) -> None:
    await _running(story)
    job, known = story.state(LlmJob, story.id(1)), attempt_id(story.id(1), 1)
    assert job.charged(known).attempt_id == known
    with pytest.raises(LookupError, match="does not wait for"):
        job.charged(attempt_id(story.id(1), 2))


async def test_a_lost_attempt_goes_on_elsewhere_and_its_hold_stays(story: Story) -> None:
    await _running(story)
    await story.when(LoseAttempt(job_id=story.id(1), attempt=1))
    assert story.then("llm_job.attempt_lost") == [{"attempt": 1, "attempt_id": str(attempt_id(story.id(1), 1))}]
    await story.when(LoseAttempt(job_id=story.id(1), attempt=1))
    story.then_refused(Refused, code="not_due")
    await story.given(admit(story.id(1), attempt=2))
    assert money(story) == (usd(0), usd(2))
    await story.when(LoseAttempt(job_id=story.id(1), attempt=1))
    story.then_refused(Refused, code="not_due", saying="attempt 2 is the present one")


async def test_a_fenced_worker_decides_nothing_but_its_usage_counts(story: Story) -> None:
    await _running(story)
    await story.given(LoseAttempt(job_id=story.id(1), attempt=1), admit(story.id(1), attempt=2))
    await story.when(complete(story.id(1), "0.4", output="too late"))
    late, settled, cost = story.then("llm_job.late_usage", "budget.settled", "cost.recorded")
    assert late == {
        "attempt": 1,
        "attempt_id": str(attempt_id(story.id(1), 1)),
        "usage": USAGE,
        "cost": "0.4",
    }
    assert (settled["amount"], cost["attempt_id"]) == ("0.4", str(attempt_id(story.id(1), 1)))
    assert money(story) == (usd("0.4"), usd(1))
    await story.when(complete(story.id(1), "0.5", attempt=2))
    story.then("llm_job.completed", "budget.settled", "cost.recorded")
    assert money(story) == (usd("0.9"), usd(0))


async def test_a_fenced_worker_that_sent_nothing_gives_its_hold_back(story: Story) -> None:
    await _running(story)
    await story.given(LoseAttempt(job_id=story.id(1), attempt=1))
    await story.when(fail(story.id(1), sent=False))
    assert story.then("llm_job.late_usage", "budget.released")[0]["cost"] == "0"


async def test_losing_the_last_attempt_fails_the_job_and_late_usage_still_counts(story: Story) -> None:
    await _running(story, max_attempts=1)
    await story.when(LoseAttempt(job_id=story.id(1), attempt=1))
    assert story.then("llm_job.attempt_lost", "llm_job.failed", "llm_job.dead_lettered")[1]["kind"] == "lost"
    await story.when(fail(story.id(1), "0.2"))
    story.then("llm_job.late_usage", "budget.settled", "cost.recorded")
    assert story.state(Budget, EVERYTHING).holds == {}
    assert story.state(LlmJob, story.id(1)).unaccounted == {}


async def test_what_was_counted_but_has_no_price_is_settled_at_the_bound_and_says_why(story: Story) -> None:
    await story.given(queue(story.id(1)), admit(story.id(1), "1"))
    unpriced = {"usage": bill("0.4")["usage"], "problem": "no card has a price\nfor tier scale"}
    await story.when(complete(story.id(1), None, **unpriced))
    cost = story.state(Cost, cost_id(attempt_id(story.id(1), 1)))
    assert (cost.amount, cost.estimated, cost.usage, cost.lines) == (1, True, unpriced["usage"], [])
    assert cost.problem == "no card has a price for tier scale"


async def test_an_estimate_that_nobody_gave_a_reason_for_still_has_one(story: Story) -> None:
    await story.given(queue(story.id(1)), admit(story.id(1), "1"))
    await story.when(complete(story.id(1), None))
    assert story.state(Cost, cost_id(attempt_id(story.id(1), 1))).problem == "the provider did not count"


async def test_an_outcome_without_any_budget_still_has_its_cost(story: Story) -> None:
    await story.given(queue(story.id(1)), admit(story.id(1), "1"))
    await story.when(complete(story.id(1), "0.4"))
    story.then("llm_job.completed", "cost.recorded")
    assert story.state(Cost, cost_id(attempt_id(story.id(1), 1))).amount == usd("0.4")


@pytest.mark.parametrize(
    ("spoiled", "saying"),
    [
        ({"amount": None}, "sum of its lines"),
        ({"usage": None}, "an amount needs the usage"),
        ({"amount": Decimal("0.5")}, "sum of its lines"),
        ({"lines": []}, "sum of its lines"),
        ({"usage": None, "amount": None}, "sum of its lines"),
    ],
)
def test_a_bill_that_does_not_add_up_is_refused_at_the_edge(story: Story, spoiled: dict[str, Any], saying: str) -> None:
    with pytest.raises(ValueError, match=saying):
        complete(story.id(1), **(bill("0.4") | spoiled))


def test_a_call_that_was_not_sent_cannot_have_used_anything(story: Story) -> None:
    with pytest.raises(ValueError, match="has used nothing"):
        fail(story.id(1), "0.4", sent=False)


async def test_usage_of_nothing_is_a_bill_of_nothing(story: Story) -> None:
    await _running(story)
    await story.when(complete(story.id(1), "0"))
    said = story.then("llm_job.completed", "budget.settled", "cost.recorded")
    assert (said[1]["amount"], said[2]["estimated"]) == ("0", False)


@given(st.text())
def test_whatever_a_provider_says_becomes_one_readable_line(said: str) -> None:
    line = one_line(said)
    assert 1 <= len(line) <= 200
    assert line == line.strip()
    assert not any(ord(character) < 0x20 for character in line)


def _attempt(number: int, name: object) -> Attempt:
    return Attempt(
        number=number,
        attempt_id=derived_id("test", name),
        provider="scripted",
        model="m",
        bound=usd(1),
        rate_id="r",
        holds=[],
    )


@given(st.integers(1, 10_000), st.integers(), st.none() | st.integers(0, 10**9))
def test_a_retry_backs_off_never_sooner_than_asked_and_never_for_ever(
    number: int, name: int, asked: int | None
) -> None:
    attempt = _attempt(number, name)
    delay = retry_delay(attempt, asked) / timedelta(milliseconds=1)
    step = min(1000 * 2 ** min(number - 1, 20), LONGEST_BACKOFF_MS)
    assert step / 2 <= delay
    if asked is None:
        assert delay <= step
    else:
        assert min(asked, LONGEST_RETRY_AFTER_MS) <= delay <= max(step, min(asked, LONGEST_RETRY_AFTER_MS))
    assert retry_delay(attempt, asked) == retry_delay(attempt, asked)


def test_attempts_that_failed_together_do_not_come_back_together() -> None:
    delays = {retry_delay(_attempt(3, name)) for name in range(50)}
    assert len(delays) > 40
