"""LLM jobs: the queue, admission against project, agent and budgets, parking, cancelling, delivery."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from commands.budgets import ChangeBudgetLimit, OpenBudget
from commands.llm_jobs import (
    CancelLlmJob,
    ChatMessage,
    DeliverLlmResult,
    DenyLlmJob,
    FailAttempt,
    LoseAttempt,
    QueueLlmJob,
    RequeueLlmJob,
    ResumeParkedJobs,
)
from domain.budgets import Budget
from domain.errors import Conflict, NotFound, Refused
from domain.ids import Scope, attempt_id, budget_id, job_id
from domain.kernel import load_event
from domain.llm_jobs import LlmJob
from domain.values import INLINE_TEXT, Text
from streams.reactions.let_others_pass_a_project_that_rests import let_others_pass_a_project_that_rests
from streams.reactions.resume_parked_jobs import resume_parked_jobs
from tests.commands.staging import (
    EVERYTHING,
    GLOBAL,
    CancelBehindTheBudget,
    CancelStagedAgent,
    PauseStage,
    StageAgentJob,
    admit,
    complete,
    fail,
    money,
    peak_over_limit,
    queue,
    usd,
)
from tests.support.story import Story

STORED = Text(digest="ab" * 32, size=90_000)


def opened(limit: str = "5", scope: Scope = GLOBAL) -> OpenBudget:
    return OpenBudget(scope=scope, limit=usd(limit))


async def test_a_direct_job_brings_its_messages_sealed(story: Story) -> None:
    await story.when(queue(story.id(1), temperature="0.70", max_output_tokens=50))
    (said,) = story.then("llm_job.queued")
    assert (said["project_id"], said["agent_id"], said["temperature"], said["max_output_tokens"]) == (
        None,
        None,
        "0.7",
        50,
    )
    assert json.loads(str(await story.unsealed(said["messages"]["sealed"]))) == [{"role": "user", "content": "Hello"}]
    assert story.state(LlmJob, story.id(1)).messages == Text(
        digest=said["messages"]["digest"], size=said["messages"]["size"]
    ), "an aggregate keeps no bodies"
    await story.when(queue(story.id(1)))
    story.then_refused(Conflict)


async def test_long_messages_lie_in_the_object_store(story: Story) -> None:
    facts: dict[str, Any] = {"provider": "scripted", "model": "m"}
    await story.when(
        QueueLlmJob(job_id=story.id(1), messages=[ChatMessage(role="user", content="x" * INLINE_TEXT)], **facts)
    )
    story.then_refused(Refused, code="text_too_long", saying="store it first")
    await story.when(QueueLlmJob(job_id=story.id(1), messages=STORED, **facts))
    assert story.then("llm_job.queued")[0]["messages"] == {"digest": "ab" * 32, "size": 90_000, "sealed": None}


async def test_a_direct_job_of_a_project_needs_that_project(story: Story) -> None:
    await story.when(queue(story.id(1), project_id=story.id("p")))
    story.then_refused(NotFound)
    await story.given(StageAgentJob(project_id=story.id("p")))
    await story.when(queue(story.id(1), project_id=story.id("p")))
    story.then("llm_job.queued")
    assert story.events[-1].project_id == story.id("p")


async def test_admission_holds_on_every_budget_that_pays_and_starts_the_attempt_in_one_append(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("p"))
    job = job_id(stage.agent_id, 1, 1)
    scopes = [
        GLOBAL,
        Scope(kind="project", project_id=stage.project_id),
        Scope(kind="phase", project_id=stage.project_id, phase="write"),
        Scope(kind="agent", project_id=stage.project_id, agent_id=stage.agent_id),
    ]
    await story.given(stage, *(opened("5", scope) for scope in scopes))
    hints = {"project_id": stage.project_id, "phase": "write", "agent_id": stage.agent_id}
    await story.when(admit(job, "1.5", **hints))
    said = story.then("llm_job.admitted", "llm_job.started", *["budget.reserved"] * 4)
    assert said[0]["holds"] == [{"budget_id": str(budget_id(scope)), "amount": "1.5"} for scope in scopes]
    assert await story.unsealed(said[0]["request"]["sealed"]) == '[{"role": "user"}]'
    expiry = (story.clock.now + timedelta(seconds=120)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert said[1] == {
        "attempt": 1,
        "attempt_id": str(attempt_id(job, 1)),
        "lease_seconds": 10,
        "hold_expires_at": expiry,
    }
    assert said[2] == {
        "attempt_id": str(attempt_id(job, 1)),
        "number": 1,
        "job_id": str(job),
        "amount": "1.5",
        "input_tokens": 100,
        "output_tokens": 100,
        "expires_at": expiry,
    }
    await story.when(admit(job, "1.5", **hints))
    story.then_refused(Refused, code="not_due", saying="running")


async def test_one_budget_without_room_parks_the_job_and_nothing_is_held(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("p"))
    job, project = job_id(stage.agent_id, 1, 1), Scope(kind="project", project_id=stage.project_id)
    await story.given(stage, opened("5"), opened("1", project))
    await story.when(admit(job, "1.5", project_id=stage.project_id))
    parked, told = story.then("llm_job.parked", "budget.job_parked")
    assert parked == {
        "budget_id": str(budget_id(project)),
        "scope": f"project {stage.project_id}",
        "name": "usd-lifetime",
        "unit": "usd",
        "window": "lifetime",
        "retry_at": None,
        "limit": "1",
        "settled": "0",
        "held": "0",
        "requested": "1.5",
    }
    tokens = {"input_tokens": 100, "output_tokens": 100}
    assert told == {"job_id": str(job), "requested": "1.5", **tokens, "rolls_at": None}
    assert money(story) == (usd(0), usd(0))
    await story.when(admit(job, "0.5", project_id=stage.project_id))
    story.then_refused(Refused, code="not_due", saying="parked")
    await story.given(ChangeBudgetLimit(budget_id=budget_id(project), limit=usd(2)))
    await story.given(ResumeParkedJobs(budget_id=budget_id(project)))
    await story.when(admit(job, "1.5", project_id=stage.project_id))
    story.then("llm_job.admitted", "llm_job.started", "budget.reserved", "budget.reserved")


async def test_a_paused_project_sends_nothing(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("p"))
    await story.given(stage, PauseStage(project_id=stage.project_id))
    await story.when(admit(job_id(stage.agent_id, 1, 1), project_id=stage.project_id))
    story.then_refused(Refused, code="not_due", saying="paused")


async def test_a_job_that_its_agent_no_longer_waits_for_is_not_sent(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("p"))
    await story.given(stage, CancelStagedAgent(agent_id=stage.agent_id))
    await story.when(admit(job_id(stage.agent_id, 1, 1), project_id=stage.project_id))
    story.then_refused(Refused, code="not_due", saying="no longer waits")


async def test_a_worker_that_names_the_wrong_project_would_seal_under_the_wrong_key(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("p"))
    other = StageAgentJob(project_id=story.id("other"))
    await story.given(stage, other)
    await story.when(admit(job_id(stage.agent_id, 1, 1), project_id=other.project_id))
    story.then_refused(Refused, code="wrong_project", saying="name that project")
    await story.when(admit(job_id(stage.agent_id, 1, 1)))
    story.then_refused(NotFound)


async def test_a_hold_must_outlive_the_attempt(story: Story) -> None:
    await story.given(opened(), queue(story.id(1), timeout_seconds=120))
    await story.when(admit(story.id(1), hold_seconds=120))
    story.then_refused(Refused, code="hold_too_short", saying="deadline of 120 s")
    await story.when(admit(story.id(1), hold_seconds=121))
    story.then("llm_job.admitted", "llm_job.started", "budget.reserved")


async def test_a_delayed_job_waits_for_its_time(story: Story) -> None:
    await story.given(queue(story.id(1), not_before=story.clock.now + timedelta(seconds=30)))
    await story.when(admit(story.id(1)))
    story.then_refused(Refused, code="not_due", saying="not start yet")
    story.clock.advance(30)
    await story.when(admit(story.id(1)))
    story.then("llm_job.admitted", "llm_job.started")


async def test_only_the_next_attempt_is_admitted(story: Story) -> None:
    await story.given(queue(story.id(1)))
    await story.when(admit(story.id(1), attempt=2))
    story.then_refused(Refused, code="not_due", saying="number 1")


async def test_a_job_without_a_price_fails_before_anything_is_held(story: Story) -> None:
    await story.given(opened(), queue(story.id(1)))
    deny = DenyLlmJob(job_id=story.id(1), attempt=1, kind="price_unknown")
    await story.when(deny)
    denied, failed, _ = story.then("llm_job.denied", "llm_job.failed", "llm_job.dead_lettered")
    reason = "its price is unknown: toybox prices import FILE, toybox prices approve CARD, then queue it again"
    assert denied.pop("shortfall") is None
    target = {"provider": "scripted", "model": "scripted-small"}
    assert denied == failed == {"attempt": 1, "kind": "price_unknown", "reason": reason, "note": None, **target}
    await story.when(deny)
    story.then_refused(Refused, code="not_due", saying="failed")
    await story.when(fail(story.id(1)))
    story.then_refused(Refused, code="not_due", saying="never admitted")


async def test_two_workers_cannot_both_get_an_attempt(story: Story) -> None:
    await story.given(opened(), queue(story.id(1)))
    outcomes = await asyncio.gather(
        *(story.send(admit(story.id(1), worker=f"worker-{n}")) for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(each, Refused) for each in outcomes) == 4
    assert money(story) == (usd(0), usd(1))


async def test_parked_jobs_come_back_oldest_first_as_far_as_they_fit_together(story: Story) -> None:
    jobs = [story.id(n) for n in range(4)]
    await story.given(opened("0"), *map(queue, jobs))
    for job, bound in zip(jobs, ("2", "4", "1", "1"), strict=True):
        await story.given(admit(job, bound))
    await story.given(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(3)))
    await story.when(ResumeParkedJobs(budget_id=EVERYTHING))
    said = story.then("budget.job_unparked", "budget.job_unparked", "llm_job.resumed", "llm_job.resumed")
    assert [each["job_id"] for each in said[:2]] == [str(jobs[0]), str(jobs[2])]
    assert list(story.state(Budget, EVERYTHING).parked) == [jobs[1], jobs[3]]


async def test_parked_jobs_that_nobody_would_admit_take_no_room_from_those_behind_them(story: Story) -> None:
    paused, gone = (StageAgentJob(project_id=story.id(name)) for name in ("paused", "gone"))
    of_paused, of_gone, behind = job_id(paused.agent_id, 1, 1), job_id(gone.agent_id, 1, 1), story.id("behind")
    await story.given(opened("0"), paused, gone, queue(behind))
    await story.given(
        admit(of_paused, "2", project_id=paused.project_id),
        admit(of_gone, "2", project_id=gone.project_id),
        admit(behind, "2"),
        PauseStage(project_id=paused.project_id),
        CancelStagedAgent(agent_id=gone.agent_id),
        ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(2)),
    )
    await story.when(ResumeParkedJobs(budget_id=EVERYTHING))
    story.then(*["budget.job_unparked"] * 3, *["llm_job.resumed"] * 3)
    assert not story.state(Budget, EVERYTHING).parked
    await story.given(admit(behind, "2"))
    assert money(story) == (usd(0), usd(2))


@pytest.mark.parametrize("end", [CancelLlmJob, DenyLlmJob])
async def test_room_that_a_queued_job_was_to_take_goes_to_the_next_when_it_is_given_up(story: Story, end: type) -> None:
    first, second = story.id(1), story.id(2)
    await story.given(opened("0"), queue(first), queue(second), admit(first, "2"), admit(second, "2"))
    await story.given(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(2)), ResumeParkedJobs(budget_id=EVERYTHING))
    assert story.state(LlmJob, second).status == "parked"
    commands = {CancelLlmJob: CancelLlmJob(job_id=first), DenyLlmJob: DenyLlmJob(job_id=first, attempt=1, kind="test")}
    await story.given(commands[end])
    assert story.state(LlmJob, second).status == "queued"


async def test_room_that_jobs_of_a_paused_project_were_to_take_goes_to_others(story: Story) -> None:
    stage, behind = StageAgentJob(project_id=story.id("p")), story.id("behind")
    first = job_id(stage.agent_id, 1, 1)
    await story.given(opened("0"), stage, queue(behind))
    await story.given(admit(first, "2", project_id=stage.project_id), admit(behind, "2"))
    await story.given(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(2)), ResumeParkedJobs(budget_id=EVERYTHING))
    assert [story.state(LlmJob, each).status for each in (first, behind)] == ["queued", "parked"]
    await story.given(PauseStage(project_id=stage.project_id))
    paused = story.events[-1]
    await story.given(*let_others_pass_a_project_that_rests(load_event(paused), paused))
    assert story.state(LlmJob, behind).status == "queued"


async def test_a_queued_or_parked_job_is_cancelled_at_once(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("1"), queue(one), queue(two), admit(two, "9"))
    await story.when(CancelLlmJob(job_id=one, reason="not_needed"))
    assert story.then("llm_job.cancelled") == [{"reason": "not_needed"}]
    await story.when(CancelLlmJob(job_id=two))
    assert story.then("llm_job.cancelled", "budget.job_unparked")[0] == {"reason": "requested"}
    await story.when(CancelLlmJob(job_id=two, reason="again"))
    story.then_refused(Refused, code="not_due")
    await story.when(ResumeParkedJobs(budget_id=EVERYTHING))
    story.then_refused(Refused, code="not_due")


async def test_a_parked_job_that_was_cancelled_behind_the_budget_is_only_forgotten(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("1"), queue(job), admit(job, "9"), CancelBehindTheBudget(job_id=job))
    await story.given(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(9)))
    await story.when(ResumeParkedJobs(budget_id=EVERYTHING))
    story.then("budget.job_unparked")
    await story.when(ResumeParkedJobs(budget_id=EVERYTHING))
    story.then_refused(Refused, code="not_due")


async def test_a_cancelled_call_in_flight_still_costs_what_it_cost(story: Story) -> None:
    job = story.id(1)
    await story.given(opened(), queue(job), admit(job, "1"))
    await story.when(CancelLlmJob(job_id=job, reason="other_plans"))
    story.then("llm_job.cancelled")
    assert money(story) == (usd(0), usd(1))
    await story.when(complete(job, "0.4"))
    story.then("llm_job.late_usage", "budget.settled", "cost.recorded")
    assert money(story) == (usd("0.4"), usd(0))
    assert story.state(LlmJob, job).status == "cancelled"
    assert story.state(LlmJob, job).output is None


async def test_a_result_is_delivered_once(story: Story) -> None:
    job = story.id(1)
    await story.given(queue(job), admit(job))
    await story.when(DeliverLlmResult(job_id=job, to="client"))
    story.then_refused(Refused, code="not_due")
    await story.given(complete(job))
    await story.when(DeliverLlmResult(job_id=job, to="client"))
    assert story.then("llm_job.result_delivered") == [{"to": "client"}]
    await story.when(DeliverLlmResult(job_id=job, to="another client"))
    story.then()


@pytest.mark.parametrize("later", [RequeueLlmJob, LoseAttempt, FailAttempt])
async def test_what_is_said_of_a_job_that_never_went_out_is_not_due(story: Story, later: type) -> None:
    await story.given(queue(story.id(1)))
    commands = {
        RequeueLlmJob: RequeueLlmJob(job_id=story.id(1)),
        LoseAttempt: LoseAttempt(job_id=story.id(1), attempt=1),
        FailAttempt: fail(story.id(1)),
    }
    await story.when(commands[later])
    story.then_refused(Refused, code="not_due")


@pytest.mark.thorough
async def test_a_thousand_admissions_at_once_never_pass_the_limit(story: Story) -> None:
    jobs = [story.id(n) for n in range(1000)]
    await story.given(opened("5"))
    await asyncio.gather(*(story.send(queue(job)) for job in jobs))
    await asyncio.gather(*(story.send(admit(job, "0.013")) for job in jobs))
    assert money(story) == (usd(0), usd("4.992"))
    running = [each.stream_id for each in story.events if each.type == "llm_job.started"]
    assert len(running) == 384
    outcomes = [complete(job, "0.005") if n % 3 else fail(job, retryable=False) for n, job in enumerate(running)]
    begin = len(story.events)
    await asyncio.gather(*(story.send(each) for each in outcomes))
    for stored in story.events[begin:]:
        if stored.type == "budget.settled":
            for command in resume_parked_jobs(load_event(stored), stored):
                await story.when(command)
    back = [each.stream_id for each in story.events if each.type == "llm_job.resumed"]
    await asyncio.gather(*(story.send(admit(job, "0.013")) for job in back))
    settled, held = money(story)
    assert settled == 128 * usd("0.013") + 256 * usd("0.005")
    assert usd(5) - usd("0.013") < settled + held <= usd(5)
    assert not peak_over_limit(story)
