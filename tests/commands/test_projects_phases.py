"""Stories of progress: agents become ready, phases make way, failures block or are passed over, resets begin again."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from commands.agents import CancelAgent, FailAgentAttempt, ResetAgent, SettleFailedAgent, StartAgent
from commands.projects import (
    ArchiveProject,
    CancelProject,
    CheckPhase,
    CreateProject,
    MarkReadyAgents,
    PauseProject,
    ResetProject,
    StartProject,
)
from commands.projects.phases import FIRST_LOOK
from domain.errors import NotFound, Refused
from domain.ids import agent_id
from tests.commands.projects_stage import (
    DIAMOND,
    BreakAgentByHand,
    FinishAgentByHand,
    HoldAgentByHand,
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
        await story.given(FailAgentAttempt(job_id=job, kind="timeout"))


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
    assert story.then("project.started") == [{"phase": "check", "key_id": None}]
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
    assert story.then("project.started") == [{"phase": "write", "key_id": None}]
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


# --- what a reset, a failure and a look at the phase must not do ---


async def test_a_project_that_was_never_initialized_cannot_be_reset(story: Story) -> None:
    empty, project = story.id("empty"), await build(story, {"write": {"one": []}}, initialized=False)
    await story.given(CreateProject(project_id=empty, name="Empty"), CancelProject(project_id=empty))
    await story.given(CancelProject(project_id=project))
    for each in (empty, project):
        await story.when(ResetProject(project_id=each))
        story.then_refused(Refused, code="never_initialized", saying="create it anew")


async def test_a_project_that_fails_stops_what_still_ran_in_a_later_phase(story: Story) -> None:
    sketch = {"write": {"one": []}, "check": {"retries": [], "waits": [], "runs": []}}
    project = await build(story, sketch, started=True, one=BLOCK)
    await finish(story, "one")
    await story.given(CheckPhase(project_id=project), MarkReadyAgents(project_id=project))
    await start(story, "retries", "waits", "runs")
    job = await fail_job(story, "retries")
    await story.given(FailAgentAttempt(job_id=job, kind="timeout"))
    await story.given(HoldAgentByHand(agent_id=agent_id(project, "waits")))
    await story.given(ResetAgent(agent_id=agent_id(project, "one")), MarkReadyAgents(project_id=project))
    await break_down(story, "one")
    assert an_agent(story, "retries").retry_at is not None
    await story.when(CheckPhase(project_id=project))
    failed, *stopped = story.then("project.failed", *["agent.cancelled"] * 3, "checkpoint.withdrawn")
    assert failed == {"reason": "agent_failed", "agent": "one"}
    assert {each["reason"] for each in stopped} == {"project_failed"}
    assert not any(an_agent(story, name).retry_at for name in ("retries", "waits", "runs"))


async def test_a_phase_that_waits_for_a_failure_behind_it_ends_the_project_without_a_culprit(story: Story) -> None:
    project = await build(story, {"write": {"one": []}, "check": {"two": ["one"]}}, started=True)
    await finish(story, "one")
    await story.given(CheckPhase(project_id=project), BreakAgentByHand(agent_id=agent_id(project, "one")))
    await story.when(CheckPhase(project_id=project))
    assert story.then("project.failed") == [{"reason": "nothing_can_run", "agent": None}]


async def test_an_agent_that_ended_makes_only_those_ready_that_wait_for_it(story: Story) -> None:
    sketch = {
        "write": {"one": [], "two": [], "after-one": ["one"], "after-both": ["one", "two"]},
        "check": {"three": ["one"]},
    }
    project = await build(story, sketch, started=True)
    await finish(story, "one", "two")
    await story.when(MarkReadyAgents(project_id=project, agent_id=agent_id(project, "two")))
    story.then("agent.ready")
    assert (an_agent(story, "after-both").status, an_agent(story, "after-one").status) == ("ready", "defined")
    await story.when(MarkReadyAgents(project_id=project, agent_id=agent_id(project, "one")))
    story.then("agent.ready")
    assert (an_agent(story, "after-one").status, an_agent(story, "three").status) == ("ready", "defined")


async def test_little_is_read_when_one_of_many_agents_ends(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"agent-{n}" for n in range(100)]
    project = await build(story, {"write": {name: [] for name in names}}, started=True)
    await finish(story, "agent-0")
    read: set[UUID] = set()
    newer = story.store.newer
    monkeypatch.setattr(story.store, "newer", lambda after, most: read.update(after) or newer(after, most))
    for command in (
        CheckPhase(project_id=project),
        MarkReadyAgents(project_id=project, agent_id=agent_id(project, "agent-0")),
    ):
        await story.when(command)
        story.then_refused(Refused, code="not_due")
    assert len(read) == 1 + FIRST_LOOK + 1, "the project, the first look, the agent that ended"


async def test_a_phase_is_looked_through_to_its_end(story: Story) -> None:
    names = [f"agent-{n}" for n in range(70)]
    project = await build(story, {"write": {name: [] for name in names}}, started=True)
    await finish(story, *names[1:])
    await story.when(CheckPhase(project_id=project))
    story.then_refused(Refused, code="not_due")
    await start(story, "agent-0")
    await story.given(FinishAgentByHand(agent_id=agent_id(project, "agent-0")))
    await story.when(CheckPhase(project_id=project))
    story.then("project.completed")


CHAIN: Sketch = {"write": {f"a{n}": [f"a{n - 1}"] if n else [] for n in range(100)}}
FAN: Sketch = {"write": {**{f"a{n}": [] for n in range(99)}, "join": [f"a{n}" for n in range(99)]}}


@pytest.mark.parametrize(("sketch", "at"), [(CHAIN, 50), (FAN, 5)])
async def test_however_many_agents_there_are_few_are_looked_at_when_one_of_them_ends(
    story: Story, sketch: Sketch, at: int
) -> None:
    project = await build(story, sketch, started=True)
    ended = agent_id(project, f"a{at}")
    if sketch is CHAIN:
        for number in range(at + 1):
            await finish(story, f"a{number}")
    else:
        await story.given(MarkReadyAgents(project_id=project))
        await start(story, *(f"a{number}" for number in range(99)))
        await story.given(FinishAgentByHand(agent_id=ended))
    for command in (CheckPhase, MarkReadyAgents):
        story.sequencer.aggregates.clear()
        await story.when(command(project_id=project, agent_id=ended))
        assert len(story.sequencer.aggregates) <= 2 * FIRST_LOOK + 4
