"""Stories of fallback chains and of providers' health: what moves a job on, what opens a circuit, who may probe."""

from decimal import Decimal
from typing import Any

import pytest

from commands.llm_jobs import CancelLlmJob, DenyLlmJob, LoseAttempt, RequeueLlmJob
from commands.provider_health import ChangeHealthSettings, CloseCircuit, FollowProviderHealth, OpenCircuit
from commands.providers import RegisterProvider
from domain.errors import NotFound, Refused
from domain.ids import Scope, budget_id, provider_health_id
from domain.llm_jobs import LlmJob
from domain.provider_health import HealthRules, ProviderHealth
from domain.values import Target
from tests.commands.staging import admit, complete, fail, queue
from tests.commands.test_budget_answers import opened
from tests.support.story import Story

ONE = Target(provider="openai", model="small")
LARGE = Target(provider="openai", model="large")
TWO = Target(provider="anthropic", model="small")
UNSENT: dict[str, Any] = {"sent": False, "detail": None}


def chained(story: Story, *others: Target, **more: Any) -> Any:
    """A job for the first target that may go to others."""
    return queue(story.id(1), **dict(ONE), fallbacks=list(others), **more)


def to(target: Target, attempt: int = 1, number: int = 1, *, story: Story) -> Any:
    """An admission there."""
    return admit(story.id(number), "0.01", attempt, **dict(target))


def health(story: Story, provider: str = "openai") -> ProviderHealth:
    """As the log has it."""
    return story.state(ProviderHealth, provider_health_id(provider))


# --- chains ---


@pytest.mark.parametrize("kind", ["overloaded", "timeout", "unreachable"])
async def test_trouble_of_a_provider_sends_a_job_on_at_once(story: Story, kind: str) -> None:
    await story.given(chained(story, TWO), to(ONE, story=story))
    await story.when(fail(story.id(1), kind=kind, retryable=True, **UNSENT))
    (said,) = story.then("llm_job.rerouted")
    assert (said["provider"], said["next_provider"], said["for_good"]) == ("openai", "anthropic", False)
    assert story.state(LlmJob, story.id(1)).status == "queued"
    await story.when(to(ONE, 2, story=story))
    assert story.then_refused(Refused, code="other_target")
    await story.when(to(TWO, 2, story=story))
    assert story.then("llm_job.admitted", "llm_job.started")[0]["provider"] == "anthropic"
    await story.when(complete(story.id(1), "0.001", 2))
    completed, cost = story.then("llm_job.completed", "cost.recorded")
    assert (completed["provider"], completed["asked_model"]) == ("anthropic", "small")
    assert cost["provider"] == "anthropic"


async def test_other_failures_are_tried_again_at_the_same_target_first(story: Story) -> None:
    await story.given(chained(story, TWO, max_attempts=5), to(ONE, story=story))
    await story.when(fail(story.id(1), kind="malformed", retryable=True, **UNSENT))
    (said,) = story.then("llm_job.retry_scheduled")
    assert (said["next_provider"], said["next_model"]) == ("openai", "small")
    story.clock.advance(60)
    await story.given(RequeueLlmJob(job_id=story.id(1)), to(ONE, 2, story=story))
    await story.when(fail(story.id(1), None, 2, kind="malformed", retryable=True, **UNSENT))
    assert story.then("llm_job.rerouted")[0]["next_provider"] == "anthropic"


async def test_behind_the_last_target_comes_a_pause_and_the_first_ones_turn(story: Story) -> None:
    await story.given(chained(story, TWO, max_attempts=3), to(ONE, story=story))
    await story.given(fail(story.id(1), kind="overloaded", retryable=True, **UNSENT), to(TWO, 2, story=story))
    await story.when(fail(story.id(1), None, 2, kind="overloaded", retryable=True, **UNSENT))
    (said,) = story.then("llm_job.retry_scheduled")
    assert (said["provider"], said["next_provider"]) == ("anthropic", "openai")
    story.clock.advance(60)
    await story.given(RequeueLlmJob(job_id=story.id(1)), to(ONE, 3, story=story))
    await story.when(fail(story.id(1), None, 3, kind="overloaded", retryable=True, **UNSENT))
    assert story.then("llm_job.failed", "llm_job.dead_lettered")[0]["provider"] == "openai", (
        "attempts are counted over all targets"
    )


async def test_a_target_of_no_use_is_left_for_good_and_burns_no_attempt_before_it_was_tried(story: Story) -> None:
    await story.given(chained(story, LARGE, TWO))
    await story.when(DenyLlmJob(job_id=story.id(1), attempt=1, kind="price_unknown", detail="no card", target=ONE))
    (said,) = story.then("llm_job.rerouted")
    assert (said["for_good"], said["next_model"], said["kind"]) == (True, "large", "price_unknown")
    await story.when(DenyLlmJob(job_id=story.id(1), attempt=1, kind="price_unknown", target=ONE))
    story.then_refused(Refused, code="not_due")
    await story.given(to(LARGE, story=story))
    await story.when(fail(story.id(1), kind="model_not_found", retryable=False, **UNSENT))
    assert story.then("llm_job.rerouted")[0]["next_provider"] == "anthropic"
    await story.given(to(TWO, 2, story=story))
    await story.when(fail(story.id(1), None, 2, kind="model_not_found", retryable=False, **UNSENT))
    story.then("llm_job.failed", "llm_job.dead_lettered")


async def test_a_request_that_nobody_would_take_is_not_sent_elsewhere(story: Story) -> None:
    await story.given(chained(story, TWO), to(ONE, story=story))
    await story.when(fail(story.id(1), kind="invalid_request", retryable=False, **UNSENT))
    story.then("llm_job.failed", "llm_job.dead_lettered")


async def test_the_budget_of_a_provider_sends_a_job_on_and_the_last_one_parks_it(story: Story) -> None:
    scopes = [Scope(kind="provider", provider=each.provider) for each in (ONE, TWO)]
    await story.given(*(opened("0.001", scope=scope) for scope in scopes), chained(story, TWO))
    await story.when(to(ONE, story=story))
    assert story.then("llm_job.rerouted")[0]["kind"] == "budget_exceeded"
    await story.when(to(TWO, story=story))
    parked, _ = story.then("llm_job.parked", "budget.job_parked")
    assert parked["budget_id"] == str(budget_id(scopes[1]))


async def test_a_chain_holds_each_target_once(story: Story) -> None:
    await story.given(chained(story, ONE, TWO, TWO))
    assert story.state(LlmJob, story.id(1)).fallbacks == [TWO]
    await story.when(to(LARGE, story=story))
    story.then_refused(Refused, code="not_due", saying="openai/large")


# --- limits and credit ---


async def test_a_rate_limit_slows_one_key_and_opens_nothing(story: Story) -> None:
    key = story.id("key")
    await story.given(chained(story), to(ONE, story=story))
    limited: dict[str, Any] = {"kind": "rate_limited", "retry_after_seconds": 7, "provider_key_id": key, **UNSENT}
    await story.when(fail(story.id(1), **limited))
    retry, _, said = story.then("llm_job.retry_scheduled", "provider.health_watched", "provider.rate_limited")
    assert retry["due_at"] == said["until"]
    known, now = health(story), story.clock.now
    assert known.limited_until(key, now)
    assert known.limited_until(None, now) is None, "another key may be used"
    assert known.lets_pass("small", now)
    await story.given(queue(story.id(2), **dict(ONE)), to(ONE, number=2, story=story))
    await story.when(fail(story.id(2), **limited))
    story.then("llm_job.retry_scheduled")


async def test_for_a_long_rate_limit_nobody_waits_who_can_go_elsewhere(story: Story) -> None:
    await story.given(chained(story, TWO), to(ONE, story=story))
    await story.when(fail(story.id(1), kind="rate_limited", retryable=True, retry_after_seconds=90, **UNSENT))
    story.then("llm_job.rerouted", "provider.health_watched", "provider.rate_limited")
    await story.given(queue(story.id(2), **dict(ONE), fallbacks=[TWO]))
    await story.when(to(TWO, number=2, story=story))
    assert story.then("llm_job.rerouted", "llm_job.admitted", "llm_job.started")[0]["kind"] == "rate_limited"


async def test_exhausted_credit_opens_at_once_and_says_what_to_do(story: Story) -> None:
    await story.given(chained(story, TWO), to(ONE, story=story))
    await story.when(fail(story.id(1), kind="credit_exhausted", retryable=False, **UNSENT))
    *_, opened_ = story.then(
        "llm_job.rerouted", "provider.health_watched", "provider.credit_exhausted", "provider.circuit_opened"
    )
    assert "add credit" in opened_["reason"]
    assert opened_["model"] is None
    story.clock.advance(600)
    await story.given(queue(story.id(2), **dict(LARGE)))
    await story.when(to(LARGE, number=2, story=story))
    refusal = story.then_refused(Refused, code="provider_unhealthy")
    assert refusal.details["retry_at"]
    story.clock.advance(400)
    await story.when(to(LARGE, number=2, story=story))
    admitted, _, half = story.then("llm_job.admitted", "llm_job.started", "provider.circuit_half_opened")
    assert (admitted["probe"], half["job_id"]) == (True, str(story.id(2)))
    await story.when(fail(story.id(2), kind="credit_exhausted", retryable=False, **UNSENT))
    story.then("llm_job.failed", "llm_job.dead_lettered", "provider.credit_exhausted", "provider.circuit_opened")
    assert health(story).circuits[""].openings == 2


# --- probes ---


async def broken(story: Story) -> None:
    """A provider whose credit is used up, so long ago that it may be probed."""
    await story.given(queue(story.id(0), **dict(ONE)), to(ONE, number=0, story=story))
    await story.given(fail(story.id(0), kind="credit_exhausted", retryable=False, **UNSENT))
    story.clock.advance(1000)


async def test_one_job_probes_and_its_answer_closes_the_circuit_in_the_same_append(story: Story) -> None:
    await broken(story)
    await story.given(queue(story.id(1), **dict(ONE)), queue(story.id(2), **dict(ONE)), to(ONE, story=story))
    await story.when(to(ONE, number=2, story=story))
    story.then_refused(Refused, code="provider_unhealthy")
    await story.when(complete(story.id(1), "0.001"))
    closed = story.then("llm_job.completed", "provider.circuit_closed", "cost.recorded")[1]
    assert closed["cause"] == "probe"
    await story.when(to(ONE, number=2, story=story))
    assert story.then("llm_job.admitted", "llm_job.started")[0]["probe"] is False


async def test_a_probe_that_fails_rests_longer_and_one_that_says_nothing_makes_room(story: Story) -> None:
    await broken(story)
    await story.given(queue(story.id(1), **dict(ONE), max_attempts=9), to(ONE, story=story))
    await story.when(LoseAttempt(job_id=story.id(1), attempt=1))
    assert story.then("llm_job.attempt_lost", "provider.probe_abandoned")[1]["kind"] == "lost"
    await story.given(to(ONE, 2, story=story))
    await story.when(fail(story.id(1), None, 2, kind="timeout", retryable=True, **UNSENT))
    again = story.then("llm_job.retry_scheduled", "provider.circuit_opened")[1]
    assert (again["cause"], again["openings"]) == ("probe_failed", 2)
    assert not list(health(story).probing())


async def test_a_cancelled_probe_that_reports_late_still_counts(story: Story) -> None:
    await broken(story)
    await story.given(queue(story.id(1), **dict(ONE)), to(ONE, story=story), CancelLlmJob(job_id=story.id(1)))
    assert [probe.job_id for _, probe in health(story).probing()] == [story.id(1)]
    await story.when(complete(story.id(1), "0.001"))
    story.then("llm_job.late_usage", "provider.circuit_closed", "cost.recorded")


async def test_a_probe_that_nobody_ever_reports_makes_room_when_its_hold_is_over(story: Story) -> None:
    await broken(story)
    await story.given(queue(story.id(1), **dict(ONE)), to(ONE, story=story), CancelLlmJob(job_id=story.id(1)))
    await story.given(queue(story.id(2), **dict(ONE)))
    await story.when(to(ONE, number=2, story=story))
    story.then_refused(Refused, code="provider_unhealthy")
    story.clock.advance(121)
    await story.when(to(ONE, number=2, story=story))
    story.then("llm_job.admitted", "llm_job.started", "provider.circuit_half_opened")


async def test_the_last_target_may_be_tried_before_its_time_where_the_rules_say_so(story: Story) -> None:
    await story.given(ChangeHealthSettings(rules=HealthRules(all_open="try")))
    await broken(story)
    story.clock.advance(-900)
    await story.given(queue(story.id(1), **dict(ONE)), queue(story.id(2), **dict(ONE)))
    await story.when(to(ONE, story=story))
    assert story.then("llm_job.admitted", "llm_job.started", "provider.circuit_half_opened")[2]["last_resort"] is True
    await story.when(to(ONE, number=2, story=story))
    story.then_refused(Refused, code="provider_unhealthy")


# --- what the watch finds ---


def finding(level: Any, **more: Any) -> FollowProviderHealth:
    """As the watch would report it."""
    facts: dict[str, Any] = {"name": "openai", "error_rate": Decimal("0.6"), "samples": 5, "through": 3, "seen": 0}
    return FollowProviderHealth(level=level, **(facts | more))


async def test_a_failing_provider_changes_its_level_and_opens(story: Story) -> None:
    await story.when(finding("failing"))
    *_, changed, opened_ = story.then("provider.health_watched", "provider.health_changed", "provider.circuit_opened")
    assert (changed["level"], changed["previous"]) == ("failing", "healthy")
    assert (opened_["cause"], opened_["error_rate"], opened_["samples"]) == ("errors", "0.6", 5)
    await story.when(finding("degraded", seen=3))
    story.then_refused(Refused, code="not_due", saying="open already")


async def test_the_watch_is_refused_where_more_has_happened_or_nothing_is_new(story: Story) -> None:
    await story.when(finding("healthy"))
    story.then_refused(Refused, code="not_due")
    await story.when(finding("degraded", seen=4))
    story.then_refused(Refused, code="not_due", saying="meanwhile")
    await story.given(finding("degraded"))
    await story.when(finding("degraded", seen=2))
    story.then_refused(Refused, code="not_due")
    await story.when(finding("healthy", seen=2))
    story.then("provider.health_changed")


async def test_one_model_may_fail_alone(story: Story) -> None:
    await story.when(finding("failing", model="small"))
    assert story.then("provider.health_watched", "provider.circuit_opened")[1]["model"] == "small"
    await story.given(queue(story.id(1), **dict(ONE), fallbacks=[LARGE]))
    await story.when(to(LARGE, story=story))
    story.then("llm_job.rerouted", "llm_job.admitted", "llm_job.started")
    await story.given(CloseCircuit(name="openai", model="small"))
    assert health(story).circuits == {}


# --- by hand, and the rules ---


async def test_an_operator_opens_until_an_operator_closes(story: Story) -> None:
    await story.when(OpenCircuit(name="openai", reason="Their status page is red"))
    _, opened_ = story.then("provider.health_watched", "provider.circuit_opened")
    assert await story.unsealed(opened_["note"]) == "Their status page is red"
    assert opened_["retry_at"] is None
    story.clock.advance(10**6)
    await story.given(queue(story.id(1), **dict(ONE)))
    await story.when(to(ONE, story=story))
    assert story.then_refused(Refused, code="provider_unhealthy").details["retry_at"] is None
    await story.when(OpenCircuit(name="openai"))
    story.then_refused(Refused, code="circuit_open")
    await story.when(CloseCircuit(name="openai", reason="It is green"))
    story.then("provider.circuit_closed")
    await story.when(CloseCircuit(name="openai"))
    story.then_refused(Refused, code="circuit_closed")


async def test_circuits_of_unknown_providers_are_refused(story: Story) -> None:
    await story.when(OpenCircuit(name="opnai"))
    story.then_refused(NotFound)
    await story.when(CloseCircuit(name="opnai"))
    story.then_refused(Refused, code="circuit_closed")
    await story.given(RegisterProvider(name="opnai", kind="openai"))
    await story.when(OpenCircuit(name="opnai", model="small"))
    story.then("provider.health_watched", "provider.circuit_opened")
    await story.when(CloseCircuit(name="opnai"))
    story.then_refused(Refused, code="circuit_closed", saying="provider opnai")


async def test_a_straggler_does_not_reopen_what_is_open_for_want_of_credit(story: Story) -> None:
    for number in (1, 2):
        await story.given(queue(story.id(number), **dict(ONE)), to(ONE, number=number, story=story))
    await story.given(fail(story.id(1), kind="credit_exhausted", retryable=False, **UNSENT))
    await story.when(fail(story.id(2), kind="credit_exhausted", retryable=False, **UNSENT))
    story.then("llm_job.failed", "llm_job.dead_lettered")


async def test_the_rules_are_chosen_checked_and_followed(story: Story) -> None:
    rules = HealthRules(tries_per_target=1)
    await story.when(ChangeHealthSettings(rules=rules))
    story.then("health_settings.chosen")
    await story.when(ChangeHealthSettings(rules=rules))
    story.then()
    await story.when(ChangeHealthSettings(rules=HealthRules(degraded_at=Decimal("0.6"))))
    story.then_refused(Refused, code="invalid_thresholds")
    await story.when(ChangeHealthSettings(rules=HealthRules(cooldown_seconds=400)))
    story.then_refused(Refused, code="invalid_cooldown")
    for absurd in (2**53, 10**30):
        await story.when(ChangeHealthSettings(rules=HealthRules(slow_ms=absurd)))
        story.then_refused(Refused, code="invalid_text", saying="53 bits")
    await story.given(chained(story, TWO), to(ONE, story=story))
    await story.when(fail(story.id(1), kind="malformed", retryable=True, **UNSENT))
    story.then("llm_job.rerouted")
    await story.when(ChangeHealthSettings())
    story.then("health_settings.changed")
