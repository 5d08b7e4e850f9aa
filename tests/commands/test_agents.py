"""Stories of agents: their definitions in projects and in the library, their attempts, their failures."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError

from commands.agents import (
    AddAgent,
    CancelAgent,
    ConfigureAgent,
    DefineLibraryAgent,
    FailAgentAttempt,
    RecoverAgent,
    RemoveAgent,
    ReportAgentProgress,
    ResetAgent,
    SettleFailedAgent,
    StartAgent,
    StartAgentAttempt,
    StartReadyAgents,
)
from commands.llm_jobs import LoseAttempt
from commands.projects import (
    ArchiveProject,
    CancelProject,
    ChangeProjectSettings,
    MarkReadyAgents,
    PauseProject,
    ResumeProject,
)
from domain.agents import Agent, backoff
from domain.agents.retries import FIRST_MS, LONGEST_MS
from domain.errors import Conflict, NotFound, Refused
from domain.ids import agent_id, job_id, library_agent_id
from domain.llm_jobs import LlmJob, reason_of
from domain.projects import ProjectSettings
from domain.values import AiConfig
from tests.commands.projects_stage import (
    HOLD,
    SCRIPTED,
    AnswerByHand,
    FinishAgentByHand,
    HoldAgentByHand,
    an_agent,
    build,
    fail_job,
    statuses,
)
from tests.commands.staging import admit, queue
from tests.support.story import Story

ONE = {"write": {"writer": []}}


@pytest.fixture
def writer(story: Story) -> UUID:
    """The id of the one agent."""
    return agent_id(story.id("project"), "writer")


async def ready(story: Story, **of: object) -> UUID:
    """A running project whose one agent is ready."""
    project = await build(story, ONE, started=True, writer=of)
    await story.given(MarkReadyAgents(project_id=project))
    return project


async def running(story: Story, **of: object) -> UUID:
    """A running project whose one agent runs."""
    project = await ready(story, **of)
    await story.given(StartAgent(agent_id=agent_id(project, "writer"), run=1))
    return project


async def failed_once(story: Story, kind: str = "timeout") -> None:
    """The present attempt's job fails, and the agent hears of it."""
    job = await fail_job(story, "writer", kind)
    await story.given(FailAgentAttempt(job_id=job, kind=kind))


# --- definitions ---


async def test_the_library_holds_definitions_that_projects_copy(story: Story) -> None:
    shared = library_agent_id("critic")
    await story.when(DefineLibraryAgent(name="critic", instructions="Be strict", retries=4, ai=SCRIPTED))
    (defined,) = story.then("agent.defined")
    assert (defined["project_id"], defined["phase"]) == (None, None)
    assert str(shared).replace("-", "") in defined["instructions"], "it belongs to no project: it has its own key"
    assert await story.unsealed(defined["instructions"]) == "Be strict"
    project = await build(story, ONE, initialized=False)
    await story.when(AddAgent(project_id=project, phase="write", name="critic-1", library="critic", retries=1))
    _, copied = story.then("project.agent_added", "agent.defined")
    assert (copied["retries"], copied["instructions"]) == (1, defined["instructions"])
    assert copied["ai"]["model"] == "scripted-small"
    await story.when(AddAgent(project_id=project, phase="write", name="critic-2", library="nobody"))
    story.then_refused(NotFound, saying="no agent called nobody")


async def test_a_name_of_the_library_is_free_again_once_its_definition_was_removed(story: Story) -> None:
    await story.given(DefineLibraryAgent(name="critic"))
    await story.when(DefineLibraryAgent(name="critic"))
    story.then_refused(Conflict, saying="already an agent called critic")
    await story.when(RemoveAgent(agent_id=library_agent_id("critic")))
    story.then("agent.removed")
    await story.when(ConfigureAgent(agent_id=library_agent_id("critic"), retries=1))
    story.then_refused(Refused, code="wrong_status", saying="is removed")
    await story.when(DefineLibraryAgent(name="critic", retries=3))
    story.then("agent.redefined")
    assert story.state(Agent, library_agent_id("critic")).status == "defined"


async def test_configuring_changes_what_is_given_and_tells_the_whole(story: Story, writer: UUID) -> None:
    project = await build(story, ONE, writer={"prompt": "Write", "retries": 3, "checkpoint": {"title": "Look"}})
    await story.when(ConfigureAgent(agent_id=writer, project_id=project, checkpoint=None, on_failure="skip"))
    (said,) = story.then("agent.configured")
    assert (said["checkpoint"], said["on_failure"], said["retries"]) == (None, "skip", 3)
    assert await story.unsealed(said["prompt"]) == "Write"
    await story.when(ConfigureAgent(agent_id=writer, project_id=project, retries=3))
    story.then()
    await story.when(ConfigureAgent(agent_id=writer, retries=1))
    story.then_refused(NotFound, saying="name the project")


async def test_a_running_agent_is_not_changed_and_none_is_left_without_a_model(story: Story, writer: UUID) -> None:
    project = await ready(story)
    await story.when(ConfigureAgent(agent_id=writer, project_id=project, ai=AiConfig(provider="openai")))
    story.then_refused(Refused, code="ai_config_missing")
    await story.when(ConfigureAgent(agent_id=writer, project_id=project, ai=AiConfig(model="scripted-large")))
    story.then("agent.configured")
    await story.given(StartAgent(agent_id=writer, run=1))
    assert story.state(LlmJob, job_id(writer, 1, 1)).model == "scripted-large"
    await story.when(ConfigureAgent(agent_id=writer, project_id=project, retries=0))
    story.then_refused(Refused, code="wrong_status", saying="is running")
    await story.given(CancelProject(project_id=project), ArchiveProject(project_id=project))
    await story.when(ConfigureAgent(agent_id=writer, project_id=project, retries=0))
    story.then_refused(Refused, saying="archived")


async def test_a_definition_of_the_library_never_runs(story: Story) -> None:
    await story.given(DefineLibraryAgent(name="critic"))
    for command in (
        CancelAgent(agent_id=library_agent_id("critic"), project_id=story.id("project")),
        ResetAgent(agent_id=library_agent_id("critic")),
    ):
        await story.when(command)
        story.then_refused(Refused, code="library_agent")
    await story.when(StartAgent(agent_id=library_agent_id("critic"), run=1))
    story.then_refused(Refused, code="not_due")


@pytest.mark.parametrize(
    "output", [{"output_name": "writer.md"}, {"output_name": "notes.rst"}, {"name": "notes", "media_type": "text/html"}]
)
async def test_no_two_agents_keep_their_results_in_one_file(story: Story, output: dict[str, str]) -> None:
    of = {"writer": {}, "noter": {"output_name": "notes.rst"}, "pager": {"output_name": "notes.html"}}
    project = await build(story, {"write": {name: [] for name in of}}, initialized=False, **of)
    facts = {"project_id": project, "phase": "write", "name": "editor"}
    await story.when(AddAgent.model_validate(facts | output))
    story.then_refused(Refused, code="output_taken", saying="an output_name of its own")
    await story.given(AddAgent.model_validate(facts))
    if "name" not in output:
        change = {"project_id": project, "agent_id": agent_id(project, "editor")}
        await story.when(ConfigureAgent.model_validate(change | output))
        story.then_refused(Refused, code="output_taken")
        await story.when(ConfigureAgent.model_validate(change | {"output_name": "editor.rst"}))
        story.then("agent.configured")


async def test_a_review_asks_its_question_sealed(story: Story, writer: UUID) -> None:
    review = {"title": "Look", "question": "Is Ada right?", "expires_in_seconds": 315_360_000}
    project = await build(story, ONE, writer={"checkpoint": review})
    asked = an_agent(story, "writer").definition.checkpoint
    assert asked
    assert asked.question
    assert (asked.title, await story.unsealed(asked.question)) == ("Look", "Is Ada right?")
    assert not any(b"Ada" in each.data for each in story.events)
    for wrong in ({"expires_in_seconds": 315_360_001}, {"question": "a\x1bb"}, {"question": ""}):
        with pytest.raises(ValidationError):
            ConfigureAgent.model_validate({"agent_id": writer, "project_id": project, "checkpoint": review | wrong})


# --- attempts ---


async def test_starting_queues_the_job_in_the_same_append(story: Story, writer: UUID) -> None:
    project = await ready(story, ai=AiConfig(max_output_tokens=50), timeout_seconds=30)
    settings = ProjectSettings(priority=9, job_attempts=1)
    await story.given(ChangeProjectSettings(project_id=project, settings=settings))
    await story.when(StartAgent(agent_id=writer, run=1))
    started, queued = story.then("agent.started", "llm_job.queued")
    assert started == {"run": 1, "attempt": 1, "job_id": str(job_id(writer, 1, 1)), "feedback": None}
    assert (queued["provider"], queued["model"], queued["messages"]) == ("scripted", "scripted-small", None)
    assert (queued["project_id"], queued["phase"], queued["agent_id"]) == (str(project), "write", str(writer))
    assert (queued["max_output_tokens"], queued["timeout_seconds"]) == (50, 30)
    assert (queued["priority"], queued["max_attempts"]) == (9, 1)
    await story.when(StartAgent(agent_id=writer, run=1))
    story.then_refused(Refused, code="not_due")


async def test_a_pause_holds_starts_back_until_it_ends(story: Story, writer: UUID) -> None:
    project = await ready(story)
    await story.given(PauseProject(project_id=project))
    for command in (StartAgent(agent_id=writer, run=1), StartReadyAgents(project_id=project)):
        await story.when(command)
        story.then_refused(Refused, code="not_due")
    await story.given(ResumeProject(project_id=project))
    await story.when(StartReadyAgents(project_id=project))
    story.then("agent.started", "llm_job.queued")
    await story.when(StartReadyAgents(project_id=project))
    story.then_refused(Refused, code="not_due")


async def test_progress_of_the_present_attempt_is_told(story: Story, writer: UUID) -> None:
    await running(story)
    await story.when(ReportAgentProgress(agent_id=writer, run=1, attempt=1, percentage=52))
    assert story.then("agent.progressed") == [{"run": 1, "attempt": 1, "percentage": 52}]
    await story.when(ReportAgentProgress(agent_id=writer, run=1, attempt=2, percentage=60))
    story.then_refused(Refused, code="not_due")
    await story.given(FinishAgentByHand(agent_id=writer))
    await story.when(ReportAgentProgress(agent_id=writer, run=1, attempt=1, percentage=60))
    story.then_refused(Refused, code="not_due")


async def test_progress_never_goes_back_but_begins_anew_with_each_attempt(story: Story, writer: UUID) -> None:
    await running(story)
    for percentage, told in ((0, True), (40, True), (40, False), (39, False), (41, True)):
        await story.when(ReportAgentProgress(agent_id=writer, run=1, attempt=1, percentage=percentage))
        story.then(*["agent.progressed"] * told)
    await failed_once(story)
    story.clock.advance(600)
    await story.given(StartAgentAttempt(agent_id=writer, run=1, attempt=2))
    await story.when(ReportAgentProgress(agent_id=writer, run=1, attempt=2, percentage=5))
    story.then("agent.progressed")


async def test_a_failed_attempt_is_made_again_later_until_retries_are_used_up(story: Story, writer: UUID) -> None:
    await running(story)
    for failures in range(2):
        job = await fail_job(story, "writer")
        await story.when(FailAgentAttempt(job_id=job, kind="timeout"))
        delivered, scheduled = story.then("llm_job.result_delivered", "agent.retry_scheduled")
        assert delivered == {"to": "agent writer"}
        assert (scheduled["attempt"], scheduled["reason"]) == (failures + 2, reason_of("timeout"))
        again = StartAgentAttempt(agent_id=writer, run=1, attempt=failures + 2)
        await story.when(again)
        story.then_refused(Refused, code="not_due")
        due = datetime.fromisoformat(scheduled["due_at"])
        assert due - story.clock.now == backoff(writer, 1, failures + 2, failures)
        story.clock.now = due
        await story.when(again)
        story.then("agent.started", "llm_job.queued")
    job = await fail_job(story, "writer")
    await story.when(FailAgentAttempt(job_id=job, kind="timeout"))
    _, failed = story.then("llm_job.result_delivered", "agent.failed")
    reason = reason_of("timeout")
    assert failed == {"run": 1, "attempt": 3, "code": "timeout", "reason": reason, "on_failure": "block"}
    await story.when(FailAgentAttempt(job_id=job, kind="timeout"))
    story.then_refused(Refused, code="not_due")


async def test_what_another_attempt_would_only_repeat_fails_at_once(story: Story) -> None:
    await running(story)
    await failed_once(story, "authentication")
    assert statuses(story) == {"writer": "failed"}


async def test_an_agents_own_retries_come_before_the_projects(story: Story) -> None:
    await running(story, retries=0)
    await failed_once(story)
    assert statuses(story) == {"writer": "failed"}


async def test_a_retry_that_came_due_in_a_pause_starts_when_it_ends(story: Story, writer: UUID) -> None:
    project = await running(story)
    await failed_once(story)
    await story.given(PauseProject(project_id=project))
    story.clock.advance(600)
    await story.when(StartAgentAttempt(agent_id=writer, run=1, attempt=2))
    story.then_refused(Refused, code="not_due")
    await story.given(ResumeProject(project_id=project))
    await story.when(StartReadyAgents(project_id=project))
    started, _ = story.then("agent.started", "llm_job.queued")
    assert started["attempt"] == 2


async def test_a_job_that_has_not_ended_or_has_no_agent_fails_nobody(story: Story, writer: UUID) -> None:
    await running(story)
    await story.when(FailAgentAttempt(job_id=job_id(writer, 1, 1), kind="timeout"))
    story.then_refused(Refused, code="not_due")
    await story.given(queue(story.id("chat")))
    await story.when(FailAgentAttempt(job_id=story.id("chat"), kind="timeout"))
    story.then_refused(Refused, code="not_due")


async def test_an_agent_says_so_when_its_job_goes_on_elsewhere(story: Story, writer: UUID) -> None:
    project = await running(story)
    job = job_id(writer, 1, 1)
    await story.given(
        admit(job, project_id=project, hold_seconds=HOLD), LoseAttempt(job_id=job, project_id=project, attempt=1)
    )
    await story.when(RecoverAgent(job_id=job, job_attempt=1))
    assert story.then("agent.recovered") == [{"run": 1, "attempt": 1, "job_id": str(job), "job_attempt": 1}]
    assert statuses(story) == {"writer": "running"}


async def test_a_job_that_is_lost_for_good_is_a_failure_not_a_recovery(story: Story, writer: UUID) -> None:
    project = await ready(story)
    await story.given(ChangeProjectSettings(project_id=project, settings=ProjectSettings(job_attempts=1)))
    await story.given(StartAgent(agent_id=writer, run=1))
    job = job_id(writer, 1, 1)
    await story.given(
        admit(job, project_id=project, hold_seconds=HOLD), LoseAttempt(job_id=job, project_id=project, attempt=1)
    )
    await story.when(RecoverAgent(job_id=job, job_attempt=1))
    story.then_refused(Refused, code="not_due")
    await story.given(FailAgentAttempt(job_id=job, kind="lost"))
    assert an_agent(story, "writer").retry_at is not None


async def test_a_reviewers_answer_reaches_the_next_attempt_and_its_retries(story: Story, writer: UUID) -> None:
    project = await running(story, retries=1)
    await story.given(HoldAgentByHand(agent_id=writer))
    held = an_agent(story, "writer")
    assert (held.status, held.waiting_for[0].kind, held.in_flight) == ("waiting", "checkpoint", None)
    assert held.asset is not None
    answer = AnswerByHand(agent_id=writer, project_id=project, feedback="Shorter, please")
    await story.when(answer)
    started, _ = story.then("agent.started", "llm_job.queued")
    assert started["attempt"] == 2
    assert await story.unsealed(started["feedback"]) == "Shorter, please"
    await story.when(answer)
    story.then_refused(Refused, code="not_due")
    assert an_agent(story, "writer").failures == 0, "an answer is no failure: the retry is still there"
    await failed_once(story)
    story.clock.advance(600)
    await story.when(StartAgentAttempt(agent_id=writer, run=1, attempt=3))
    again, _ = story.then("agent.started", "llm_job.queued")
    assert again["feedback"] == started["feedback"]
    await story.given(CancelAgent(agent_id=writer, project_id=project), ResetAgent(agent_id=writer))
    assert an_agent(story, "writer").feedback is None


async def test_a_result_may_be_held_back_without_an_asset(story: Story, writer: UUID) -> None:
    await running(story)
    await story.when(HoldAgentByHand(agent_id=writer, with_asset=False))
    said, _ = story.then("agent.waiting", "checkpoint.requested")
    assert said["asset_id"] is None
    assert an_agent(story, "writer").asset is None


async def test_cancelling_one_agent_names_the_job_in_flight(story: Story, writer: UUID) -> None:
    project = await running(story, on_failure="skip")
    await story.when(CancelAgent(agent_id=writer, project_id=story.id("other")))
    story.then_refused(NotFound)
    await story.when(CancelAgent(agent_id=writer, project_id=project, note="not needed"))
    (said,) = story.then("agent.cancelled")
    assert (said["reason"], said["job_id"], said["on_failure"]) == ("requested", str(job_id(writer, 1, 1)), "skip")
    assert await story.unsealed(said["note"]) == "not needed"
    await story.when(CancelAgent(agent_id=writer, project_id=project))
    story.then_refused(Refused, code="wrong_status", saying="is cancelled")
    await story.when(SettleFailedAgent(project_id=project, agent_id=writer))
    story.then_refused(Refused, code="not_due", saying="nothing waits")


async def test_an_agent_at_work_is_not_removed(story: Story) -> None:
    await story.given(DefineLibraryAgent(name="critic"))
    project = await running(story)
    await story.given(CancelProject(project_id=project))
    await story.when(RemoveAgent(agent_id=agent_id(project, "writer")))
    story.then_refused(Refused, code="wrong_status")


@pytest.mark.parametrize("failures", range(12))
def test_backoff_doubles_up_to_a_ceiling_and_half_of_it_is_jitter(failures: int) -> None:
    ceiling = min(FIRST_MS * 2**failures, LONGEST_MS)
    waits = {backoff(Story.id(n), 1, 2, failures) for n in range(200)}
    assert min(waits) >= timedelta(milliseconds=ceiling // 2)
    assert max(waits) <= timedelta(milliseconds=ceiling)
    assert max(waits) - min(waits) > timedelta(milliseconds=ceiling // 3), "agents that failed together come back apart"
    assert backoff(Story.id(1), 1, 2, failures) in waits
