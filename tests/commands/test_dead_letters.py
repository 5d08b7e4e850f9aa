"""Deadlines, dead letters and execution settings: what waits too long, what failed for good, who may do how much."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from commands.agents import FailAgentAttempt
from commands.budgets import ChangeBudgetLimit, OpenBudget
from commands.llm_jobs import (
    CancelLlmJob,
    ChangeExecutionSettings,
    DeliverLlmResult,
    DenyLlmJob,
    ExpireLlmJob,
    LoseAttempt,
    RequeueDeadLetters,
    RequeueLlmJob,
)
from commands.projects import ArchiveProject, CancelProject
from domain.budgets import Budget
from domain.errors import NotFound, Refused
from domain.ids import attempt_id, execution_settings_id, job_id
from domain.llm_jobs import ExecutionSettings, LlmJob, slots_of
from domain.llm_jobs.settings import KeyCalls, ModelCalls, ProjectCalls, ProjectWeight, ProviderCalls
from domain.values import instant_text
from tests.commands.staging import EVERYTHING, GLOBAL, StageAgentJob, admit, complete, fail, money, queue, usd
from tests.support.story import Story


def soon(story: Story, seconds: float = 60) -> dict[str, Any]:
    """A deadline."""
    return {"deadline": story.clock.now + timedelta(seconds=seconds)}


def opened(limit: str) -> OpenBudget:
    """The common budget."""
    return OpenBudget(scope=GLOBAL, limit=usd(limit))


async def dead(story: Story, **over: Any) -> None:
    """A chat that failed for good at its first try."""
    await story.given(queue(story.id(1), **over), admit(story.id(1)))
    await story.given(fail(story.id(1), "0.1", retryable=False))


# --- deadlines ---


async def test_a_job_is_not_admitted_after_its_deadline_and_fails_when_it_is_over(story: Story) -> None:
    await story.given(queue(story.id(1), **soon(story)))
    await story.when(ExpireLlmJob(job_id=story.id(1)))
    story.then_refused(Refused, code="not_due")
    story.clock.advance(60)
    await story.when(admit(story.id(1)))
    story.then_refused(Refused, code="deadline_exceeded")
    await story.when(ExpireLlmJob(job_id=story.id(1)))
    failed, buried = story.then("llm_job.failed", "llm_job.dead_lettered")
    assert (failed["attempt"], failed["kind"], buried["attempts"]) == (1, "deadline_exceeded", 0)
    assert "did not start by its deadline" in buried["reason"]
    await story.when(ExpireLlmJob(job_id=story.id(1)))
    story.then_refused(Refused, code="not_due")


async def test_a_job_without_a_deadline_has_all_time(story: Story) -> None:
    await story.given(queue(story.id(1)))
    story.clock.advance(10**6)
    await story.when(ExpireLlmJob(job_id=story.id(1)))
    story.then_refused(Refused, code="not_due")
    await story.when(admit(story.id(1)))
    story.then("llm_job.admitted", "llm_job.started")


async def test_a_call_that_was_sent_in_time_may_end_after_the_deadline(story: Story) -> None:
    await story.given(queue(story.id(1), **soon(story)), admit(story.id(1)))
    story.clock.advance(61)
    await story.when(ExpireLlmJob(job_id=story.id(1)))
    story.then_refused(Refused, code="not_due")
    await story.when(complete(story.id(1)))
    story.then("llm_job.completed", "cost.recorded")


async def test_a_parked_job_that_is_given_up_takes_no_room_from_those_behind_it(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("1"), queue(one, **soon(story)), queue(two), admit(one, "2"), admit(two, "3"))
    assert story.state(LlmJob, one).status == story.state(LlmJob, two).status == "parked"
    story.clock.advance(60)
    await story.when(ExpireLlmJob(job_id=one))
    story.then("llm_job.failed", "llm_job.dead_lettered", "budget.job_unparked")
    assert list(story.state(Budget, EVERYTHING).parked) == [two]
    assert story.state(LlmJob, one).parked_on is None


async def test_a_queued_job_that_is_given_up_lets_those_behind_it_go_on(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("1"), queue(one, **soon(story)), queue(two), admit(two, "2"))
    await story.given(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(3)))
    story.clock.advance(60)
    await story.when(ExpireLlmJob(job_id=one))
    story.then("llm_job.failed", "llm_job.dead_lettered", "budget.job_unparked", "llm_job.resumed")
    assert story.state(LlmJob, two).status == "queued"


async def test_patience_that_a_provider_asks_for_is_granted_within_the_deadline_only(story: Story) -> None:
    await story.given(queue(story.id(0), **soon(story)), admit(story.id(0)))
    await story.when(fail(story.id(0), "0.1", kind="rate_limited", retry_after_seconds=30))
    said, *_ = story.then(
        "llm_job.retry_scheduled", "cost.recorded", "provider.health_watched", "provider.rate_limited"
    )
    assert (said["kind"], said["due_at"]) == ("rate_limited", instant_text(story.clock.now + timedelta(seconds=30)))
    for asked in (60, 3600):
        job = story.id(asked)
        await story.given(queue(job, **soon(story)), admit(job))
        await story.when(fail(job, "0.1", kind="rate_limited", retry_after_seconds=asked))
        said, *_ = story.then("llm_job.failed", "llm_job.dead_lettered", "provider.rate_limited", "cost.recorded")
        assert said["kind"] == "deadline_exceeded"
        assert "rate_limited" in said["reason"]


async def test_a_retry_and_a_lost_job_are_given_up_when_the_deadline_comes_first(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(queue(one, **soon(story)), admit(one), fail(one, "0.1", retry_after_seconds=59))
    await story.given(queue(two, **soon(story)), admit(two), LoseAttempt(job_id=two, attempt=1))
    story.clock.advance(60)
    for job, status in ((one, "retrying"), (two, "queued")):
        assert story.state(LlmJob, job).status == status
        await story.when(ExpireLlmJob(job_id=job))
        assert [each["attempts"] for each in story.then("llm_job.failed", "llm_job.dead_lettered")[1:]] == [1]
    assert list(story.state(LlmJob, two).unaccounted) == [1], "the lost call may still be charged"
    await story.when(complete(two, "0.3"))
    story.then("llm_job.late_usage", "cost.recorded")


async def test_a_deadline_that_cannot_be_kept_is_refused(story: Story) -> None:
    await story.when(queue(story.id(1), **soon(story, 0)))
    story.then_refused(Refused, code="invalid_deadline", saying="is over already")
    later = story.clock.now + timedelta(seconds=60)
    await story.when(queue(story.id(1), not_before=later, **soon(story, 60)))
    story.then_refused(Refused, code="invalid_deadline", saying="before its deadline")
    await story.when(queue(story.id(1), not_before=later, **soon(story, 61)))
    story.then("llm_job.queued")


# --- dead letters ---


async def test_a_dead_letter_is_tried_again_with_its_attempts_numbered_on(story: Story) -> None:
    await story.given(opened("5"))
    await dead(story, max_attempts=2)
    await story.given(DeliverLlmResult(job_id=story.id(1), to="somebody"))
    await story.when(RequeueDeadLetters(job_ids=(story.id(1),)))
    assert story.then("llm_job.requeued") == [{"attempts": 1, "max_attempts": 3, "deadline": None}]
    job = story.state(LlmJob, story.id(1))
    assert (job.status, job.failure, job.delivered_to, job.is_dead) == ("queued", None, None, False)
    await story.when(admit(story.id(1), attempt=1))
    story.then_refused(Refused, code="not_due", saying="number 2")
    await story.given(admit(story.id(1), attempt=2), fail(story.id(1), "0.1", attempt=2))
    assert story.state(LlmJob, story.id(1)).status == "retrying", "one more is left"
    story.clock.advance(60)
    await story.given(RequeueLlmJob(job_id=story.id(1)), admit(story.id(1), attempt=3))
    await story.when(complete(story.id(1), "0.4", attempt=3))
    assert story.then("llm_job.completed", "budget.settled", "cost.recorded")[0]["attempt_id"] == str(
        attempt_id(story.id(1), 3)
    )
    assert money(story) == (usd("0.6"), usd(0))
    await story.when(DeliverLlmResult(job_id=story.id(1), to="somebody"))
    story.then("llm_job.result_delivered")


async def test_usage_of_a_lost_attempt_counts_also_while_its_job_is_tried_again(story: Story) -> None:
    await story.given(
        queue(story.id(1), max_attempts=1), admit(story.id(1)), LoseAttempt(job_id=story.id(1), attempt=1)
    )
    await story.given(RequeueDeadLetters(job_ids=(story.id(1),)), admit(story.id(1), attempt=2))
    await story.when(complete(story.id(1), "0.2"))
    story.then("llm_job.late_usage", "cost.recorded")
    assert story.state(LlmJob, story.id(1)).status == "running"


async def test_many_are_requeued_together_or_not_at_all(story: Story) -> None:
    first, second = story.id(1), story.id(2)
    await dead(story)
    await story.given(queue(second))
    await story.when(RequeueDeadLetters(job_ids=(first, second)))
    story.then_refused(Refused, code="not_dead", saying=f"job {second} is queued")
    await story.given(DenyLlmJob(job_id=second, attempt=1, kind="price_unknown"))
    await story.when(RequeueDeadLetters(job_ids=(first, second, first), attempts=5, seconds=30))
    told = story.then("llm_job.requeued", "llm_job.requeued")
    assert [(each["attempts"], each["max_attempts"]) for each in told] == [(1, 6), (0, 5)]
    assert story.state(LlmJob, first).deadline == story.clock.now + timedelta(seconds=30)
    await story.when(RequeueDeadLetters(job_ids=(first,)))
    story.then_refused(Refused, code="not_dead")
    await story.when(RequeueDeadLetters(job_ids=(story.id(3),)))
    story.then_refused(NotFound)
    for wrong in ({"job_ids": ()}, {"job_ids": (first,), "attempts": 0}, {"job_ids": (first,) * 201}):
        with pytest.raises(ValidationError):
            RequeueDeadLetters.model_validate(wrong)


async def test_a_deadline_that_is_still_to_come_holds_on_and_one_that_is_over_does_not(story: Story) -> None:
    await dead(story, **soon(story))
    await story.when(RequeueDeadLetters(job_ids=(story.id(1),)))
    assert story.then("llm_job.requeued")[0]["deadline"] is not None
    story.clock.advance(60)
    await story.given(ExpireLlmJob(job_id=story.id(1)))
    await story.when(RequeueDeadLetters(job_ids=(story.id(1),)))
    assert story.then("llm_job.requeued")[0]["deadline"] is None
    await story.when(admit(story.id(1), attempt=2))
    story.then("llm_job.admitted", "llm_job.started")


async def test_an_agents_job_is_no_dead_letter_because_the_agent_makes_a_new_one(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("project"))
    job = job_id(stage.agent_id, 1, 1)
    await story.given(stage, admit(job, project_id=stage.project_id))
    await story.when(fail(job, "0.1", kind="refused", retryable=False, project_id=stage.project_id))
    story.then("llm_job.failed", "cost.recorded")
    await story.given(FailAgentAttempt(job_id=job, kind="refused"))
    await story.when(RequeueDeadLetters(job_ids=(job,)))
    story.then_refused(Refused, code="agent_job", saying="retry the agent")


async def test_dead_letters_of_an_archived_project_stay_dead(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("project"))
    await story.given(stage)
    await story.given(queue(story.id(1), project_id=stage.project_id))
    await story.given(DenyLlmJob(job_id=story.id(1), attempt=1, kind="erased", project_id=stage.project_id))
    await story.given(CancelProject(project_id=stage.project_id), ArchiveProject(project_id=stage.project_id))
    await story.when(RequeueDeadLetters(job_ids=(story.id(1),)))
    story.then_refused(Refused, code="wrong_status", saying="archived")


async def test_what_was_cancelled_is_not_dead(story: Story) -> None:
    await story.given(queue(story.id(1)), CancelLlmJob(job_id=story.id(1)))
    await story.when(RequeueDeadLetters(job_ids=(story.id(1),)))
    story.then_refused(Refused, code="not_dead", saying="cancelled")


# --- execution settings ---


async def test_execution_settings_are_chosen_and_changed_as_a_whole(story: Story) -> None:
    project, key = story.id("project"), story.id("key")
    await story.when(
        ChangeExecutionSettings(
            per_model=4,
            weights=(ProjectWeight(project_id=project, weight=3),),
            providers=(ProviderCalls(provider="b", most=0), ProviderCalls(provider="a", most=2)),
            models=(ModelCalls(provider="a", model="large", most=1),),
            projects=(ProjectCalls(project_id=project, most=5),),
            keys=(KeyCalls(key_id=key, most=6),),
        )
    )
    (chosen,) = story.then("execution_settings.chosen")
    assert [each["provider"] for each in chosen["rules"]["providers"]] == ["a", "b"]
    known = story.state(ExecutionSettings, execution_settings_id())
    assert known.rules.numbers() == {
        "weight": 1,
        "ageing_seconds": 60,
        "each model": 4,
        f"weight {project}": 3,
        "provider a": 2,
        "provider b": 0,
        "model a/large": 1,
        f"project {project}": 5,
        f"key {key}": 6,
    }
    limits = [known.rules.limit_of(each) for each in ("model a/large", "model a/small", "provider c", f"key {key}")]
    assert limits == [1, 4, None, 6]
    await story.when(ChangeExecutionSettings())
    assert story.then("execution_settings.changed")[0]["rules"]["providers"] == []
    await story.when(ChangeExecutionSettings())
    story.then()
    found = story.state(ExecutionSettings, execution_settings_id())
    assert ExecutionSettings.from_snapshot(found.id, found.version, found.snapshot()) == found


def test_a_call_takes_a_slot_of_everything_that_it_belongs_to(story: Story) -> None:
    project, key = story.id("project"), story.id("key")
    assert slots_of("a", "large", None, None) == ["provider a", "model a/large"]
    assert slots_of("a", "large", project, key)[2:] == [f"project {project}", f"key {key}"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": 0},
        {"ageing_seconds": 0},
        {"per_provider": -1},
        {"providers": ({"provider": "a", "most": 1}, {"provider": "a", "most": 2})},
        {"weights": ({"project_id": "00000000-0000-0000-0000-000000000001", "weight": 1001},)},
        {"models": ({"provider": "a", "model": "", "most": 1},)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChangeExecutionSettings.model_validate(wrong)
