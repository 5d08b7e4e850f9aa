"""Who is woken when a budget has room: a minimum that fits, those behind one that goes elsewhere, many in parts."""

from typing import Any
from uuid import UUID

import pytest

from commands.budgets import ChangeBudgetLimit, ChangeCostSettings, OpenBudget
from commands.llm_jobs import CancelLlmJob, ResumeParkedJobs, waking
from domain.budgets import Budget, Window
from domain.ids import Scope, budget_id, job_id
from domain.kernel import load_event
from domain.llm_jobs import LlmJob
from domain.values import Target
from faults.money.checker import check
from streams.reactions.resume_parked_jobs import resume_parked_jobs
from tests.commands.staging import EVERYTHING, GLOBAL, StageAgentJob, admit, complete, queue, usd
from tests.support.story import Story

DAY = Window(kind="day", time_zone="Europe/Berlin")
MIDNIGHT = "2026-11-21T23:00:00.000000Z"


def opened(limit: str, **over: Any) -> OpenBudget:
    facts: dict[str, Any] = {"scope": GLOBAL, "thresholds": [100]}
    return OpenBudget(limit=usd(limit), **(facts | over))


def raised(limit: str) -> ChangeBudgetLimit:
    return ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(limit))


def shapeable(job: UUID) -> Any:
    """An admission that can be cut down: 100 output tokens at one cent each."""
    return admit(job, "1", output_price=usd("0.01"))


async def test_a_job_that_may_be_cut_down_waits_for_its_minimum_alone(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("0.7"), ChangeCostSettings(impossible="deny"))
    await story.given(queue(one), admit(one, "0.6"), queue(two, max_output_tokens=100, min_output_tokens=20))
    await story.when(shapeable(two))
    parked, told = story.then("llm_job.parked", "budget.job_parked")
    assert (parked["requested"], told["requested"], told["output_tokens"]) == ("0.2", "0.2", 20)
    await story.given(complete(one, "0.3"), ResumeParkedJobs(budget_id=EVERYTHING))
    await story.when(shapeable(two))
    shaped, *_ = story.then("llm_job.shaped", "llm_job.admitted", "llm_job.started", "budget.reserved")
    assert shaped["max_output_tokens"] == 40
    assert check(story.events) == []


async def test_a_woken_job_that_another_budget_stops_leaves_its_room_to_those_behind_it(story: Story) -> None:
    stage, behind = StageAgentJob(project_id=story.id("p")), story.id("behind")
    first, project = job_id(stage.agent_id, 1, 1), stage.project_id
    await story.given(opened("0"), stage, opened("0", scope=Scope(kind="project", project_id=project)), queue(behind))
    await story.given(admit(first, "1", project_id=project), admit(behind, "1"), raised("1"))
    await story.given(ResumeParkedJobs(budget_id=EVERYTHING))
    assert [story.state(LlmJob, each).status for each in (first, behind)] == ["queued", "parked"]
    await story.when(admit(first, "1", project_id=project))
    story.then("llm_job.parked", "budget.job_unparked", "budget.job_parked", "llm_job.resumed")
    assert [story.state(LlmJob, each).status for each in (first, behind)] == ["parked", "queued"]


async def test_room_of_a_fallback_that_a_cancelled_job_was_to_take_goes_to_those_behind_it(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    other = Scope(kind="provider", provider="other")
    there: dict[str, Any] = {"provider": "other", "model": "m"}
    await story.given(opened("0", scope=Scope(kind="provider", provider="scripted")), opened("0", scope=other))
    await story.given(queue(one, fallbacks=[Target(**there)]), queue(two, **there))
    await story.given(admit(one), admit(one, **there), admit(two, **there))
    await story.given(ChangeBudgetLimit(budget_id=budget_id(other), limit=usd(1)))
    await story.given(ResumeParkedJobs(budget_id=budget_id(other)))
    assert [story.state(LlmJob, each).status for each in (one, two)] == ["queued", "parked"]
    await story.when(CancelLlmJob(job_id=one))
    assert story.state(LlmJob, two).status == "queued"


async def test_a_limit_that_comes_while_jobs_wait_wakes_them_at_the_end_of_its_window(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("0"), queue(one), queue(two), admit(one, "2"), admit(two, "1"))
    await story.when(opened("2", window=DAY))
    _, told = story.then("budget.limit_added", "budget.job_parked")
    assert (told["job_id"], told["requested"], told["rolls_at"]) == (str(two), "1", MIDNIGHT)
    assert list(story.state(Budget, EVERYTHING).parked) == [one, two]
    await story.when(opened("1", window=Window(kind="week"), hard=False))
    story.then("budget.limit_added")


async def test_more_jobs_than_one_append_carries_are_woken_one_part_after_another(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "MOST_AT_ONCE", 2)
    jobs = [story.id(n) for n in range(5)]
    await story.given(opened("0"), *map(queue, jobs), *(admit(job, "1") for job in jobs))
    await story.given(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(5)))
    asked, left = 0, []
    for stored in story.events:
        for command in resume_parked_jobs(load_event(stored), stored):
            await story.given(command)
            asked += 1
            left.append(len(story.state(Budget, EVERYTHING).parked))
    assert (asked, left) == (3, [3, 1, 0])
    assert {story.state(LlmJob, job).status for job in jobs} == {"queued"}
