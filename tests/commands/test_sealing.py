"""Stories of sealed text: what people and models say never stands plain in the log; who needs a key, who makes one."""

from importlib import import_module
from pkgutil import walk_packages
from typing import Any
from uuid import UUID

import pytest

import commands
from commands.agents import CancelAgent, ConfigureAgent, DefineLibraryAgent, FailAgentAttempt, StartAgent
from commands.budgets import OpenBudget
from commands.checkpoints import EscalateCheckpoint
from commands.handling import COMMANDS, Command, Principal
from commands.llm_jobs import CancelLlmJob, DenyLlmJob
from commands.projects import (
    CancelProject,
    ChangeProjectSettings,
    CreateProject,
    GivenInput,
    InitializeProject,
    MarkReadyAgents,
    PauseProject,
    ResumeProject,
)
from domain.agents import PERMANENT
from domain.errors import NotFound, Refused
from domain.ids import agent_id, library_agent_id
from domain.llm_jobs import REASONS, reason_of
from domain.llm_jobs.routing import MOVES
from domain.values import Text
from tests.commands.projects_stage import an_agent, build, statuses
from tests.commands.reviewing import answer, resolve, reviewed, the_checkpoint
from tests.commands.staging import GLOBAL, admit, complete, fail, money, queue, usd
from tests.support.story import Story

ECHO = "400: could not process 'Dear Ada, your diagnosis is'"
"""What a provider may answer: it repeats the prompt."""
ONE = {"write": {"writer": []}}
STORED = Text(digest="ab" * 32, size=90_000)


def plain(story: Story) -> bytes:
    """Everything in the log as it lies there."""
    return b"\n".join(each.data for each in story.events)


def keys(story: Story) -> set[UUID]:
    """Whose keys there are, or were."""
    return {each for each in story.keyring._sealers if each != UUID(int=0)}


# --- what a provider says ---


@pytest.mark.parametrize("retryable", [True, False])
async def test_a_providers_words_are_kept_sealed_beside_a_reason_of_ours(story: Story, retryable: bool) -> None:
    job = story.id(1)
    await story.given(queue(job), admit(job))
    await story.when(fail(job, kind="rate_limited", retryable=retryable, detail=ECHO))
    ends = ("llm_job.retry_scheduled",) if retryable else ("llm_job.failed", "llm_job.dead_lettered")
    said, *_ = story.then(*ends, "cost.recorded")
    assert said["reason"] == "the provider's rate limit is reached"
    assert await story.unsealed(said["note"]) == ECHO
    assert b"Ada" not in plain(story)


async def test_a_denial_keeps_its_details_sealed_too(story: Story) -> None:
    await story.given(queue(story.id(1)))
    await story.when(DenyLlmJob(job_id=story.id(1), attempt=1, kind="invalid_request", detail=f"template: {ECHO}"))
    for said in story.then("llm_job.denied", "llm_job.failed", "llm_job.dead_lettered")[:2]:
        assert said["reason"] == reason_of("invalid_request")
        assert await story.unsealed(said["note"]) == f"template: {ECHO}"
    assert b"Ada" not in plain(story)


async def test_an_agent_says_a_sentence_of_ours_whatever_its_job_met(story: Story) -> None:
    project = await build(story, ONE, started=True, writer={"retries": 1})
    await story.given(MarkReadyAgents(project_id=project), StartAgent(agent_id=agent_id(project, "writer"), run=1))
    job = an_agent(story, "writer").job_id
    assert job
    await story.given(admit(job, project_id=project, hold_seconds=900))
    await story.given(fail(job, kind="timeout", retryable=False, detail=ECHO, project_id=project))
    await story.when(FailAgentAttempt(job_id=job, kind="timeout"))
    _, scheduled = story.then("llm_job.result_delivered", "agent.retry_scheduled")
    assert (scheduled["code"], scheduled["reason"]) == ("timeout", reason_of("timeout"))
    assert b"Ada" not in plain(story)


@pytest.mark.parametrize(
    ("said", "kept"),
    [("x" * 2_500, "x" * 2_000), (" a\0b\n\tc ", "a b\n\tc"), ("\ud800", "?"), ("  ", None), (None, None)],
)
async def test_whatever_a_provider_says_the_failure_is_recorded(
    story: Story, said: str | None, kept: str | None
) -> None:
    job = story.id(1)
    await story.given(queue(job), admit(job))
    await story.when(fail(job, retryable=False, detail=said))
    note = story.then("llm_job.failed", "llm_job.dead_lettered", "cost.recorded")[0]["note"]
    assert (note and await story.unsealed(note)) == kept


def test_every_kind_that_is_final_has_its_sentence() -> None:
    assert set(REASONS) >= PERMANENT
    assert {kind for kind, move in MOVES.items() if move == "leave"} <= PERMANENT
    assert reason_of("something_new") == "the attempt failed: something new"


async def test_why_a_job_was_cancelled_is_a_code(story: Story) -> None:
    with pytest.raises(ValueError, match="reason"):
        CancelLlmJob(job_id=story.id(1), reason="because of Ada")


# --- a project that has outlived its key ---


async def test_a_project_whose_key_is_gone_can_be_paused_resumed_and_cancelled(story: Story) -> None:
    project = await build(story, ONE, started=True)
    await story.keyring.destroy(project)
    await story.when(PauseProject(project_id=project, note="Ada is ill"))
    story.then_refused(Refused, code="key_destroyed")
    await story.given(PauseProject(project_id=project), ResumeProject(project_id=project))
    await story.given(ChangeProjectSettings(project_id=project, name="Erased"))
    await story.when(CancelProject(project_id=project))
    story.then("project.cancelled")


async def test_an_agent_whose_projects_key_is_gone_can_be_configured_and_cancelled(story: Story) -> None:
    project = await build(story, ONE, started=True)
    writer = an_agent(story, "writer").id
    await story.keyring.destroy(project)
    for text in ({"prompt": "New"}, {"instructions": "New"}, {"checkpoint": {"question": "New?"}}):
        await story.when(ConfigureAgent.model_validate({"agent_id": writer, "project_id": project} | text))
        story.then_refused(Refused, code="key_destroyed")
    await story.given(ConfigureAgent.model_validate({"agent_id": writer, "project_id": project, "checkpoint": {}}))
    await story.given(CancelAgent(agent_id=writer, project_id=project))
    assert statuses(story) == {"writer": "cancelled"}


async def test_a_decision_without_a_comment_needs_no_key(story: Story) -> None:
    project = await reviewed(story)
    await answer(story)
    await story.keyring.destroy(project)
    await story.when(resolve(story, "reject", comment="No"))
    story.then_refused(Refused, code="key_destroyed")
    await story.when(EscalateCheckpoint(project_id=project, checkpoint_id=the_checkpoint(story).id))
    story.then("checkpoint.escalated")
    await story.when(resolve(story, "reject"))
    story.then("checkpoint.resolved", "asset.rejected")


async def test_inputs_that_were_stored_before_need_no_key(story: Story) -> None:
    project = await build(story, ONE, initialized=False)
    await story.keyring.destroy(project)
    given: list[dict[str, Any]] = [{"name": "notes", "kind": "file", "text": STORED}]
    await story.when(InitializeProject(project_id=project, inputs=[GivenInput(**each) for each in given]))
    story.then("project.initialized")


async def test_what_an_attempt_cost_is_recorded_without_its_note_once_the_key_is_gone(story: Story) -> None:
    job = story.id(1)
    await story.given(OpenBudget(scope=GLOBAL, limit=usd(5)), queue(job), admit(job, "1"))
    await story.keyring.destroy(job)
    await story.when(complete(job, "0.4"))
    story.then_refused(Refused, code="key_destroyed")
    await story.when(fail(job, "0.4", kind="not_kept", retryable=False, detail="its key was destroyed"))
    failed, *_ = story.then("llm_job.failed", "llm_job.dead_lettered", "budget.settled", "cost.recorded")
    assert (failed["kind"], failed["reason"], failed["note"]) == ("not_kept", reason_of("not_kept"), None)
    assert money(story) == (usd("0.4"), usd(0))


async def test_a_long_answer_was_stored_before_and_needs_no_key(story: Story) -> None:
    job = story.id(1)
    await story.given(queue(job))
    await story.keyring.destroy(job)
    await story.given(admit(job, request=STORED))
    await story.when(complete(job, output=STORED))
    story.then("llm_job.completed", "cost.recorded")


# --- who makes keys ---


async def test_only_what_creates_something_makes_its_key(story: Story) -> None:
    await story.given(CreateProject(project_id=story.id("project"), name="Tides"), DefineLibraryAgent(name="critic"))
    await story.given(queue(story.id("chat")))
    assert keys(story) == {story.id("project"), library_agent_id("critic"), story.id("chat")}
    await story.given(ConfigureAgent(agent_id=library_agent_id("critic"), prompt="Be kind"))
    await story.given(queue(story.id("chat 2"), project_id=story.id("project")))
    assert len(keys(story)) == 3


@pytest.mark.parametrize(
    "command",
    [
        PauseProject(project_id=Story.id("nowhere"), note="x"),
        CancelProject(project_id=Story.id("nowhere"), note="x"),
        ChangeProjectSettings(project_id=Story.id("nowhere"), description="x"),
        InitializeProject(project_id=Story.id("nowhere"), inputs=[GivenInput(name="topic", text="x")]),
        CancelAgent(project_id=Story.id("nowhere"), agent_id=Story.id("agent"), note="x"),
        EscalateCheckpoint(project_id=Story.id("nowhere"), checkpoint_id=Story.id("checkpoint"), note="x"),
        ConfigureAgent(agent_id=Story.id("nowhere"), prompt="x"),
        DenyLlmJob(job_id=Story.id("nowhere"), attempt=1, kind="refused", detail="x"),
        queue(Story.id("job"), project_id=Story.id("nowhere")),
        admit(Story.id("nowhere")),
        complete(Story.id("nowhere")),
    ],
    ids=lambda command: type(command).__name__,
)
async def test_an_invented_id_is_not_found_and_leaves_no_key(story: Story, command: Command) -> None:
    await story.when(command, principal=Principal("somebody", frozenset({command.PERMISSION})))
    story.then_refused(NotFound, saying=str(story.id("nowhere")))
    assert keys(story) == set()


def test_exactly_these_commands_make_keys() -> None:
    for module in walk_packages(commands.__path__, "commands."):
        import_module(module.name)
    makers = {
        name
        for name, kind in COMMANDS.items()
        if kind.makes_key is not Command.makes_key and kind.__module__.startswith("commands.")
    }
    assert makers == {
        "CloseCircuit",
        "CreateProject",
        "CreateProjectFromBlueprint",
        "DefineLibraryAgent",
        "OpenCircuit",
        "QueueLlmJob",
        "SubscribeWebhook",
    }
