"""Stories of progress: agents become ready, phases make way, failures block or are passed over, resets begin again."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from commands.agents import CancelAgent, FailAgentAttempt, ResetAgent, SettleFailedAgent, StartAgent
from commands.projects import (
    ArchiveProject,
    CancelProject,
    CheckPhase,
    MarkReadyAgents,
    PauseProject,
    ResetProject,
    StartProject,
)
from domain.errors import NotFound, Refused
from domain.ids import agent_id
from tests.commands.projects_stage import (
    DIAMOND,
    FinishAgentByHand,
    Sketch,
    an_agent,
    build,
    fail_job,
    statuses,
    the_project,
)
from tests.support.story import Story

SKIP: Mapping[str, Any] = {"on_failure": "skip", "retries": 0}
BLOCK: Mapping[str, Any] = {"on_failure": "block", "retries": 0}
TWO_PHASES: Sketch = {
    "write": {"one": [], "two": ["one"]},
    "check": {"three": ["two"], "four": []},
}


async def start(story: Story, *names: str) -> None:
    """Start agents that are ready."""
    for name in names:
        agent = an_agent(story, name)
        await story.given(StartAgent(agent_id=agent.id, run=agent.run))


async def finish(story: Story, *names: str) -> None:
    """Make them ready with whoever else is, start them, complete them."""
    await story.given(MarkReadyAgents(project_id=story.id("project")))
    await start(story, *names)
    for name in names:
        await story.given(FinishAgentByHand(agent_id=agent_id(story.id("project"), name)))


async def break_down(story: Story, *names: str) -> None:
    """Start them and have them fail for good."""
    await start(story, *names)
    for name in names:
        job = await fail_job(story, name)
        await story.given(FailAgentAttempt(job_id=job, kind="timeout", reason="busy"))


async def test_a_diamond_runs_its_branches_side_by_side_and_joins_once(story: Story) -> None:
    project = await build(story, DIAMOND, started=True)
    await finish(story, "top")
    await story.when(MarkReadyAgents(project_id=project))
    story.then("agent.ready", "agent.ready")
    await start(story, "left", "right")
    await story.given(FinishAgentByHand(agent_id=agent_id(project, "left")))
    await story.when(MarkReadyAgents(project_id=project))
    story.then_refused(Refused, code="not_due")
    await story.when(CheckPhase(project_id=project))
    story.then_refused(Refused, code="not_due")
    await story.given(FinishAgentByHand(agent_id=agent_id(project, "right")))
    await story.when(MarkReadyAgents(project_id=project))
    assert story.then("agent.ready") == [{"run": 1}]
    assert statuses(story)["join"] == "ready"


async def test_a_phase_makes_way_for_the_next_and_the_last_one_completes_the_project(story: Story) -> None:
    project = await build(story, TWO_PHASES, started=True)
    await finish(story, "one")
    await finish(story, "two")
    await story.when(CheckPhase(project_id=project))
    assert story.then("project.phase_advanced") == [{"from_phase": "write", "to_phase": "check"}]
    await story.when(MarkReadyAgents(project_id=project))
    story.then("agent.ready", "agent.ready")
    await start(story, "three", "four")
    for name in ("three", "four"):
        await story.given(FinishAgentByHand(agent_id=agent_id(project, name)))
    await story.when(CheckPhase(project_id=project))
    story.then("project.completed")
    await story.when(CheckPhase(project_id=project))
    story.then_refused(Refused, code="not_due")


async def test_a_failure_that_skips_passes_over_all_that_depends_on_it_and_the_project_completes(story: Story) -> None:
    project = await build(story, TWO_PHASES, started=True, one=SKIP)
    await story.given(MarkReadyAgents(project_id=project))
    await break_down(story, "one")
    await story.when(CheckPhase(project_id=project))
    story.then_refused(Refused, code="not_due")
    await story.when(SettleFailedAgent(project_id=project, agent_id=agent_id(project, "one")))
    assert story.then("agent.skipped", "agent.skipped") == [{"run": 1, "because": "one"}] * 2
    assert statuses(story) == {"one": "failed", "two": "skipped", "three": "skipped", "four": "defined"}
    await story.when(SettleFailedAgent(project_id=project, agent_id=agent_id(project, "one")))
    story.then_refused(Refused, code="not_due")
    await story.when(CheckPhase(project_id=project))
    story.then("project.phase_advanced")
    await finish(story, "four")
    await story.when(CheckPhase(project_id=project))
    story.then("project.completed")


async def test_whoever_looks_first_skips_the_dependents_of_a_failure(story: Story) -> None:
    sketch = {"write": {"one": [], "two": ["one"], "three": ["two"]}, "check": {"four": ["three"]}}
    project = await build(story, sketch, started=True, one=SKIP)
    await story.given(MarkReadyAgents(project_id=project))
    await break_down(story, "one")
    await story.when(MarkReadyAgents(project_id=project))
    assert story.then("agent.skipped", "agent.skipped") == [{"run": 1, "because": "one"}] * 2
    await story.given(CheckPhase(project_id=project))
    await story.when(MarkReadyAgents(project_id=project))
    assert story.then("agent.skipped") == [{"run": 1, "because": "one"}]


async def test_a_failure_that_blocks_ends_the_project_once_independent_branches_are_through(story: Story) -> None:
    project = await build(story, DIAMOND, started=True, left=BLOCK)
    await finish(story, "top")
    await story.given(MarkReadyAgents(project_id=project))
    await start(story, "right")
    await break_down(story, "left")
    await story.when(SettleFailedAgent(project_id=project, agent_id=agent_id(project, "left")))
    story.then_refused(Refused, code="not_due")
    await story.when(CheckPhase(project_id=project))
    story.then_refused(Refused, code="not_due")
    await story.given(FinishAgentByHand(agent_id=agent_id(project, "right")))
    await story.when(CheckPhase(project_id=project))
    assert story.then("project.failed") == [{"reason": "agent_failed", "agent": "left"}]
    assert statuses(story)["join"] == "defined"


async def test_a_branch_that_can_still_run_keeps_a_failing_project_alive(story: Story) -> None:
    sketch = {"write": {"bad": [], "good": [], "after": ["good"], "stuck": ["bad"], "waits": ["after"]}}
    project = await build(story, sketch, started=True, bad=BLOCK)
    await story.given(MarkReadyAgents(project_id=project))
    await break_down(story, "bad")
    await start(story, "good")
    await story.given(FinishAgentByHand(agent_id=agent_id(project, "good")))
    await story.when(CheckPhase(project_id=project))
    story.then_refused(Refused, code="not_due")
    await finish(story, "after")
    await finish(story, "waits")
    await story.when(CheckPhase(project_id=project))
    story.then("project.failed")


async def test_a_cancelled_agent_counts_as_its_policy_says(story: Story) -> None:
    project = await build(story, {"write": {"one": [], "two": ["one"]}}, started=True)
    await story.given(CancelAgent(agent_id=agent_id(project, "one"), project_id=project))
    await story.when(CheckPhase(project_id=project))
    assert story.then("project.failed") == [{"reason": "agent_cancelled", "agent": "one"}]


async def test_a_failed_project_is_reset_and_only_what_failed_runs_again(story: Story) -> None:
    project = await build(story, DIAMOND, started=True, left=BLOCK)
    await finish(story, "top")
    await finish(story, "right")
    await break_down(story, "left")
    await story.given(CheckPhase(project_id=project))
    await story.when(ResetProject(project_id=project, what="failed"))
    said = story.then("project.reset", "agent.reset")
    assert said == [{"what": "failed", "phase": "write", "agents": ["left"]}, {"run": 2, "job_id": None}]
    assert the_project(story).status == "initialized"
    assert statuses(story) == {"top": "completed", "right": "completed", "left": "defined", "join": "defined"}
    await story.given(StartProject(project_id=project))
    await finish(story, "left")
    await finish(story, "join")
    await story.when(CheckPhase(project_id=project))
    story.then("project.completed")
    await story.when(ResetProject(project_id=project, what="failed"))
    story.then_refused(Refused, code="nothing_to_reset")


async def test_one_phase_is_reset_with_everything_after_it(story: Story) -> None:
    project = await build(story, TWO_PHASES, started=True)
    await finish(story, "one")
    await finish(story, "two")
    await story.given(CheckPhase(project_id=project))
    await finish(story, "three", "four")
    await story.given(CheckPhase(project_id=project))
    await story.when(ResetProject(project_id=project, what="phase", phase="nowhere"))
    story.then_refused(NotFound, saying="write, check")
    await story.when(ResetProject(project_id=project, what="phase", phase="check"))
    said, *_ = story.then("project.reset", "agent.reset", "agent.reset")
    assert (said["phase"], sorted(said["agents"])) == ("check", ["four", "three"])
    await story.when(StartProject(project_id=project))
    assert story.then("project.started") == [{"phase": "check"}]
    await story.when(ResetProject(project_id=project))
    story.then_refused(Refused, code="wrong_status")


async def test_everything_is_reset_and_begins_with_the_first_phase(story: Story) -> None:
    project = await build(story, TWO_PHASES, started=True)
    await finish(story, "one")
    await finish(story, "two")
    await story.given(CheckPhase(project_id=project), CancelProject(project_id=project))
    await story.when(ResetProject(project_id=project))
    said, *_ = story.then("project.reset", "agent.reset", "agent.reset")
    assert (said["what"], said["phase"]) == ("all", "write")
    await story.when(StartProject(project_id=project))
    assert story.then("project.started") == [{"phase": "write"}]
    assert [an_agent(story, name).run for name in ("one", "two", "three")] == [2, 2, 1]


async def test_a_cancelled_project_in_which_nothing_failed_goes_on_where_it_was(story: Story) -> None:
    project = await build(story, TWO_PHASES, started=True)
    await finish(story, "one")
    await story.given(CancelProject(project_id=project))
    await story.when(ResetProject(project_id=project, what="failed"))
    assert story.then("project.reset") == [{"what": "failed", "phase": "write", "agents": []}]


async def test_a_reset_of_a_later_phase_does_not_jump_over_the_one_that_failed(story: Story) -> None:
    project = await build(story, TWO_PHASES, started=True, one=BLOCK)
    await story.given(MarkReadyAgents(project_id=project))
    await break_down(story, "one")
    await story.given(CheckPhase(project_id=project))
    await story.when(ResetProject(project_id=project, what="phase", phase="check"))
    assert story.then("project.reset")[0]["phase"] == "write"


def test_what_is_reset_is_said_without_contradiction() -> None:
    project = Story.id("project")
    for fields in ({"what": "agent"}, {"what": "phase"}, {"what": "all", "phase": "write"}):
        with pytest.raises(ValidationError, match=r"ResetAgent|name the phase"):
            ResetProject.model_validate({"project_id": project, **fields})


async def test_resetting_an_agent_of_a_running_project_goes_back_to_its_phase(story: Story) -> None:
    project = await build(story, TWO_PHASES, started=True)
    await finish(story, "one")
    await finish(story, "two")
    await story.given(CheckPhase(project_id=project), MarkReadyAgents(project_id=project))
    await start(story, "three", "four")
    job = an_agent(story, "three").job_id
    await story.when(ResetAgent(agent_id=agent_id(project, "two")))
    again, reopened, three = story.then("agent.reset", "project.phase_reopened", "agent.reset")
    assert again == {"run": 2, "job_id": None}
    assert reopened == {"from_phase": "check", "to_phase": "write"}
    assert three == {"run": 2, "job_id": str(job)}
    assert statuses(story) == {"one": "completed", "two": "defined", "three": "defined", "four": "running"}
    await finish(story, "two")
    await story.when(CheckPhase(project_id=project))
    story.then("project.phase_advanced")


async def test_resetting_an_agent_of_the_present_phase_changes_nothing_else(story: Story) -> None:
    project = await build(story, DIAMOND, started=True)
    await finish(story, "top")
    await story.given(MarkReadyAgents(project_id=project), PauseProject(project_id=project))
    await story.when(ResetAgent(agent_id=agent_id(project, "left")))
    story.then("agent.reset")
    await story.when(ResetAgent(agent_id=agent_id(project, "join")))
    story.then_refused(Refused, code="nothing_to_reset")


async def test_resetting_an_agent_of_a_project_that_ended_lets_it_be_started_again(story: Story) -> None:
    project = await build(story, TWO_PHASES, started=True)
    await finish(story, "one")
    await finish(story, "two")
    await story.given(CheckPhase(project_id=project))
    await finish(story, "three", "four")
    await story.given(CheckPhase(project_id=project))
    await story.when(ResetAgent(agent_id=agent_id(project, "two")))
    _, said, _ = story.then("agent.reset", "project.reset", "agent.reset")
    assert said == {"what": "agent", "phase": "write", "agents": ["two", "three"]}
    await story.given(CancelProject(project_id=project), ArchiveProject(project_id=project))
    await story.when(ResetAgent(agent_id=agent_id(project, "one")))
    story.then_refused(Refused, code="wrong_status")
