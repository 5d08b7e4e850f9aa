"""Whole runs of projects: every event answered by every reaction, until nothing happens any more."""

from collections.abc import Mapping
from typing import Any

import pytest

from commands.agents import CancelAgent, ResetAgent, RetryAgent
from commands.handling import Caller
from commands.llm_jobs import CancelLlmJob, LoseAttempt
from commands.projects import CancelProject, PauseProject, ResetProject, ResumeProject, StartProject
from domain.errors import Refused
from domain.ids import agent_id
from domain.kernel import load_event
from domain.llm_jobs import LlmJob
from tests.commands.projects_stage import DIAMOND, HOLD, Sketch, an_agent, build, the_project
from tests.commands.staging import admit
from tests.streams.reactions.driver import Driver
from tests.support.story import OWNER, Story

SKIP: Mapping[str, Any] = {"on_failure": "skip", "retries": 0}
BLOCK: Mapping[str, Any] = {"on_failure": "block", "retries": 0}
TWO_PHASES: Sketch = {
    "write": {"one": [], "two": ["one"]},
    "check": {"three": ["two"], "four": []},
}


async def stage(story: Story, sketch: Sketch, **of: Any) -> Driver:
    """A started project, as far as it goes by itself."""
    driver = Driver(story)
    await build(story, sketch, **of)
    return await driver.do(StartProject(project_id=story.id("project")))


async def test_a_diamond_runs_to_its_end(story: Story) -> None:
    driver = await stage(story, DIAMOND)
    driver.shows("running", top="running", left="defined", right="defined", join="defined")
    await driver.answer("top")
    driver.shows("running", top="completed", left="running", right="running", join="defined")
    await driver.answer("right")
    driver.shows("running", top="completed", left="running", right="completed", join="defined")
    await driver.answer("left", "join")
    driver.shows("completed", top="completed", left="completed", right="completed", join="completed")
    assert sum(each.type == "llm_job.queued" for each in story.events) == 4


async def test_phases_follow_each_other(story: Story) -> None:
    driver = await stage(story, TWO_PHASES)
    await driver.answer("one", "two")
    driver.shows("running", one="completed", two="completed", three="running", four="running")
    await driver.answer("four", "three")
    assert the_project(story).status == "completed"


async def test_a_failing_branch_is_passed_over(story: Story) -> None:
    driver = await stage(story, DIAMOND, left=SKIP)
    await driver.answer("top")
    await driver.fail("left")
    driver.shows("running", top="completed", left="failed", right="running", join="skipped")
    await driver.answer("right")
    driver.shows("completed", top="completed", left="failed", right="completed", join="skipped")


async def test_a_phase_that_was_passed_over_entirely_does_not_hold_the_project_up(story: Story) -> None:
    sketch = {"write": {"one": []}, "check": {"two": ["one"]}, "ship": {"three": ["two"]}}
    driver = await stage(story, sketch, one=SKIP)
    await driver.fail("one")
    driver.shows("completed", one="failed", two="skipped", three="skipped")


async def test_a_failing_branch_blocks_the_project_once_the_others_are_through(story: Story) -> None:
    driver = await stage(story, DIAMOND, left=BLOCK)
    await driver.answer("top")
    await driver.fail("left")
    driver.shows("running", top="completed", left="failed", right="running", join="defined")
    await driver.answer("right")
    driver.shows("failed", top="completed", left="failed", right="completed", join="defined")


async def test_retries_are_made_in_their_time_until_they_are_used_up(story: Story) -> None:
    driver = await stage(story, {"write": {"one": []}}, one={"retries": 2})
    await driver.fail("one")
    driver.shows("running", one="waiting")
    await driver.pass_time(600)
    assert driver.runs("one") == (1, 2)
    await driver.fail("one")
    await driver.pass_time(600)
    await driver.fail("one")
    driver.shows("failed", one="failed")
    assert driver.runs("one") == (1, 3)


async def test_a_pause_loses_nothing(story: Story) -> None:
    driver = await stage(story, {"write": {"one": [], "two": ["one"], "three": []}})
    await driver.fail("three")
    await driver.do(PauseProject(project_id=driver.project))
    await driver.answer("one")
    await driver.pass_time(600)
    driver.shows("paused", one="completed", two="defined", three="waiting")
    await driver.do(ResumeProject(project_id=driver.project))
    driver.shows("running", one="completed", two="running", three="running")
    await driver.do(PauseProject(project_id=driver.project))
    await driver.answer("two", "three")
    assert the_project(story).status == "paused"
    await driver.do(ResumeProject(project_id=driver.project))
    assert the_project(story).status == "completed"


async def test_an_agent_that_became_ready_just_before_a_pause_starts_after_it(story: Story) -> None:
    driver = Driver(story)
    await build(story, {"write": {"one": []}}, started=True)
    driver.reactions = [each for each in driver.reactions if each.name != "start_ready_agents"]
    await driver.until_quiet()
    driver.shows("running", one="ready")
    driver.reactions = Driver(story).reactions
    await driver.do(PauseProject(project_id=driver.project))
    driver.shows("paused", one="ready")
    await driver.do(ResumeProject(project_id=driver.project))
    driver.shows("running", one="running")


async def test_a_failed_project_is_reset_and_runs_to_its_end(story: Story) -> None:
    driver = await stage(story, TWO_PHASES, two=BLOCK)
    await driver.answer("one")
    await driver.fail("two")
    driver.shows("failed", one="completed", two="failed", three="defined", four="defined")
    await driver.do(ResetProject(project_id=driver.project, what="failed"), StartProject(project_id=driver.project))
    driver.shows("running", one="completed", two="running", three="defined", four="defined")
    assert driver.runs("two") == (2, 1)
    await driver.answer("two", "three", "four")
    assert the_project(story).status == "completed"


async def test_a_finished_project_is_run_again_from_one_agent_on(story: Story) -> None:
    driver = await stage(story, TWO_PHASES)
    await driver.answer("one", "two", "three", "four")
    await driver.do(ResetAgent(agent_id=agent_id(driver.project, "two")), StartProject(project_id=driver.project))
    driver.shows("running", one="completed", two="running", three="defined", four="completed")
    await driver.answer("two", "three")
    assert the_project(story).status == "completed"


async def test_an_agent_reset_in_mid_run_goes_back_a_phase_and_takes_its_dependents_jobs_along(story: Story) -> None:
    driver = await stage(story, TWO_PHASES)
    await driver.answer("one", "two")
    job = an_agent(story, "three").job_id
    assert job
    await driver.do(ResetAgent(agent_id=agent_id(driver.project, "one")))
    driver.shows("running", one="running", two="defined", three="defined", four="running")
    assert story.state(LlmJob, job).status == "cancelled"
    await driver.answer("four", "one", "two", "three")
    assert the_project(story).status == "completed"


async def test_cancelling_the_project_cancels_agents_and_their_jobs_and_nothing_starts_again(story: Story) -> None:
    driver = await stage(story, DIAMOND)
    await driver.answer("top")
    jobs = [an_agent(story, name).job_id for name in ("left", "right")]
    await driver.do(CancelProject(project_id=driver.project))
    driver.shows("cancelled", top="completed", left="cancelled", right="cancelled", join="defined")
    assert [story.state(LlmJob, job).status for job in jobs if job] == ["cancelled", "cancelled"]
    await driver.pass_time(3600)
    assert story.events[-1].type == "llm_job.cancelled"


async def test_cancelling_one_agent_follows_its_policy(story: Story) -> None:
    driver = await stage(story, DIAMOND, left=SKIP)
    await driver.answer("top")
    await driver.do(CancelAgent(agent_id=agent_id(driver.project, "left"), project_id=driver.project))
    await driver.answer("right")
    driver.shows("completed", top="completed", left="cancelled", right="completed", join="skipped")


async def test_a_job_that_somebody_cancels_fails_its_agent(story: Story) -> None:
    driver = await stage(story, {"write": {"one": []}})
    job = an_agent(story, "one").job_id
    assert job
    await driver.do(CancelLlmJob(job_id=job, reason="by_hand"))
    driver.shows("failed", one="failed")


async def test_a_lost_worker_is_a_recovery_for_the_agent(story: Story) -> None:
    driver = await stage(story, {"write": {"one": []}})
    job = an_agent(story, "one").job_id
    assert job
    project = driver.project
    await driver.do(
        admit(job, project_id=project, hold_seconds=HOLD), LoseAttempt(job_id=job, project_id=project, attempt=1)
    )
    assert story.events[-1].type == "agent.recovered"
    driver.shows("running", one="running")


@pytest.mark.parametrize("policy", [SKIP, BLOCK])
async def test_answering_every_event_a_second_time_changes_nothing(story: Story, policy: Mapping[str, Any]) -> None:
    driver = await stage(story, DIAMOND, left=policy)
    await driver.answer("top")
    await driver.fail("left")
    await driver.answer("right")
    before = len(story.events)
    driver.position = 0
    await driver.until_quiet()
    assert len(story.events) == before


@pytest.mark.parametrize("policy", [SKIP, BLOCK])
async def test_late_answers_under_new_ids_change_nothing_either(story: Story, policy: Mapping[str, Any]) -> None:
    driver = await stage(story, DIAMOND, left=policy)
    await driver.answer("top")
    await driver.fail("left")
    await driver.answer("right")
    before = list(story.events)
    for stored in before:
        for reaction in driver.reactions:
            if stored.type in reaction.types:
                for command in reaction.react(load_event(stored), stored):
                    await driver._send(command, Caller(OWNER, "reaction", f"late|{reaction.name}|{stored.position}"))
    assert story.events == before


async def test_a_failed_project_goes_on_when_the_agent_that_failed_is_retried(story: Story) -> None:
    driver = await stage(story, TWO_PHASES, two=BLOCK)
    await driver.answer("one")
    await driver.fail("two")
    driver.shows("failed", one="completed", two="failed", three="defined", four="defined")
    await driver.do(RetryAgent(agent_id=agent_id(driver.project, "two")))
    driver.shows("running", one="completed", two="running", three="defined", four="defined")
    assert driver.runs("two") == (2, 1)
    await driver.answer("two", "three", "four")
    assert the_project(story).status == "completed"


async def test_a_retry_takes_those_along_that_were_passed_over_and_leaves_the_others(story: Story) -> None:
    driver = await stage(story, DIAMOND, left=SKIP)
    await driver.answer("top")
    await driver.do(CancelAgent(agent_id=agent_id(driver.project, "left"), project_id=driver.project))
    driver.shows("running", top="completed", left="cancelled", right="running", join="skipped")
    await driver.do(RetryAgent(agent_id=agent_id(driver.project, "left")))
    driver.shows("running", top="completed", left="running", right="running", join="defined")
    assert (driver.runs("left"), driver.runs("right")) == ((2, 1), (1, 1))
    await driver.answer("left", "right", "join")
    assert the_project(story).status == "completed"


@pytest.mark.parametrize("name", ["top", "left", "join"])
async def test_only_what_failed_or_was_cancelled_is_retried(story: Story, name: str) -> None:
    driver = await stage(story, DIAMOND)
    await driver.answer("top")
    await story.when(RetryAgent(agent_id=agent_id(driver.project, name)))
    story.then_refused(Refused, code="wrong_status")


async def test_a_retry_starts_no_project_that_somebody_cancelled_or_has_reset(story: Story) -> None:
    driver = await stage(story, DIAMOND)
    await driver.answer("top")
    await driver.do(CancelProject(project_id=driver.project))
    await story.when(RetryAgent(agent_id=agent_id(driver.project, "left")))
    story.then_refused(Refused, code="wrong_status")
    await driver.do(ResetAgent(agent_id=agent_id(driver.project, "right")))
    await story.when(RetryAgent(agent_id=agent_id(driver.project, "left")))
    story.then_refused(Refused, code="wrong_status")
