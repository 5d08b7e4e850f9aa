"""Stories of results: what an answer becomes, and what a person's decision means for the agent. Reactions are real."""

import hashlib
from datetime import timedelta

import pytest

from commands.agents import (
    ApplyDecision,
    ApplyDecisionsHeldByPause,
    ConfigureAgent,
    FinishAgentAttempt,
    ResetAgent,
)
from commands.checkpoints import ExpireCheckpoint
from commands.projects import (
    CancelProject,
    ChangeQualitySettings,
    PauseProject,
    ResetProject,
    ResumeProject,
    StartProject,
)
from domain.agents import Agent
from domain.checkpoints import Asset, Checkpoint
from domain.errors import Refused
from domain.projects import QualitySettings
from tests.commands.projects_stage import an_agent, build, statuses, the_project
from tests.commands.reviewing import (
    OTHER,
    REVIEW,
    answer,
    decide,
    react,
    resolve,
    reviewed,
    the_asset,
    the_checkpoint,
    types_after,
)
from tests.commands.staging import admit, complete, queue
from tests.support.story import Story


async def test_an_answer_that_nobody_reviews_counts_at_once(story: Story) -> None:
    await reviewed(story, {"write": {"lone": []}})
    job = an_agent(story, "lone").job_id
    await answer(story, "lone", "A fine text.")
    asset, agent = the_asset(story, "lone.md"), an_agent(story, "lone")
    assert asset.digest == hashlib.sha256(b"A fine text.").hexdigest()
    assert (asset.newest, asset.size, asset.status, asset.decided_by) == (1, 12, "approved", "toybox")
    assert agent.status == "completed"
    assert agent.asset
    assert (agent.asset.asset_id, agent.asset.version, agent.asset.digest) == (asset.id, 1, asset.digest)
    assert the_project(story).status == "completed"
    delivered = [each.payload() for each in story.events if each.type == "llm_job.result_delivered"]
    assert [each.stream_id for each in story.events if each.type == "llm_job.result_delivered"] == [job]
    assert delivered == [{"to": "agent lone"}]


@pytest.mark.parametrize(
    ("definition", "name", "media_type"),
    [
        ({}, "lone.md", "text/markdown"),
        ({"media_type": "application/json"}, "lone.json", "application/json"),
        ({"media_type": "text/x-log"}, "lone.txt", "text/x-log"),
        ({"output_name": "notes.rst", "media_type": "text/x-rst"}, "notes.rst", "text/x-rst"),
    ],
)
async def test_a_result_is_named_by_the_definition(
    story: Story, definition: dict[str, str], name: str, media_type: str
) -> None:
    await reviewed(story, {"write": {"lone": []}}, lone=definition)
    await answer(story, "lone")
    assert (the_asset(story, name).name, the_asset(story, name).media_type) == (name, media_type)


async def test_a_review_holds_the_result_and_its_dependents_back(story: Story) -> None:
    project = await reviewed(story)
    position = len(story.events)
    await answer(story)
    held, asset, agent = the_checkpoint(story), the_asset(story), an_agent(story, "writer")
    assert statuses(story) == {"writer": "waiting", "printer": "defined"}
    assert (asset.status, asset.held_by) == ("pending", held.id)
    assert [(each.kind, each.id, each.name) for each in agent.waiting_for] == [("checkpoint", held.id, "Publish?")]
    assert types_after(story, position)[-4:] == [
        "llm_job.result_delivered",
        "agent.waiting",
        "asset.created",
        "checkpoint.requested",
    ]
    requested = story.events[-1].payload()
    assert requested["title"] == "Publish?"
    assert await story.unsealed(requested["question"]) == "Is it true?"
    assert requested["due_at"] == "2026-11-21T11:00:00.000000Z"
    assert requested["project_id"] == str(project) == str(story.events[-1].project_id)


async def test_the_projects_quality_settings_may_ask_for_the_review(story: Story) -> None:
    project = await build(story, {"write": {"lone": []}}, started=True)
    quality = QualitySettings(checkpoints=["lone"])
    await story.given(ChangeQualitySettings(project_id=project, quality=quality))
    await react(story)
    await answer(story, "lone")
    assert the_checkpoint(story, "lone").due_at is None
    assert an_agent(story, "lone").status == "waiting"


async def test_an_approved_result_lets_the_next_agent_run(story: Story) -> None:
    await reviewed(story)
    await answer(story)
    await decide(story, "approve")
    assert statuses(story) == {"writer": "completed", "printer": "running"}
    assert the_asset(story).status == "approved"


async def test_an_edited_result_is_what_counts(story: Story) -> None:
    await reviewed(story)
    await answer(story)
    await decide(story, "edit")
    agent = an_agent(story, "writer")
    assert agent.status == "completed"
    assert agent.asset
    assert (agent.asset.version, agent.asset.digest) == (2, OTHER)
    assert (the_asset(story).newest, the_asset(story).digest, the_asset(story).status) == (2, OTHER, "approved")


@pytest.mark.parametrize(
    ("policy", "dependent", "project"), [("block", "defined", "failed"), ("skip", "skipped", "completed")]
)
async def test_a_rejected_result_fails_the_agent_by_its_policy(
    story: Story, policy: str, dependent: str, project: str
) -> None:
    await reviewed(story, writer=REVIEW | {"on_failure": policy})
    await answer(story)
    await decide(story, "reject")
    assert statuses(story) == {"writer": "failed", "printer": dependent}
    assert the_project(story).status == project
    failed = next(each.payload() for each in story.events if each.type == "agent.failed")
    assert failed["code"] == "rejected"
    assert the_asset(story).status == "rejected"


async def test_a_response_has_the_agent_try_again_with_the_comment(story: Story) -> None:
    await reviewed(story)
    await answer(story)
    first = the_checkpoint(story).id
    await decide(story, "respond", comment="Shorter, please.")
    agent = an_agent(story, "writer")
    assert (agent.status, agent.run, agent.attempt, agent.failures) == ("running", 1, 2, 0)
    assert agent.feedback
    assert await story.unsealed(agent.feedback) == "Shorter, please."
    await answer(story, "writer", "Short.")
    assert the_checkpoint(story).id != first
    assert (the_asset(story).newest, the_asset(story).held_by) == (2, the_checkpoint(story).id)
    await decide(story, "approve")
    assert an_agent(story, "writer").status == "completed"


async def test_an_expired_checkpoint_fails_the_agent(story: Story) -> None:
    await reviewed(story)
    await answer(story)
    story.clock.advance(3600)
    position = len(story.events)
    await story.given(ExpireCheckpoint(checkpoint_id=the_checkpoint(story).id))
    await react(story, position)
    failed = next(each.payload() for each in story.events if each.type == "agent.failed")
    assert failed["code"] == "checkpoint_expired"
    assert the_project(story).status == "failed"


@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_a_paused_project_takes_a_decision_that_starts_nothing(story: Story, decision: str) -> None:
    project = await reviewed(story)
    await answer(story)
    await story.given(PauseProject(project_id=project))
    await decide(story, decision)
    assert an_agent(story, "writer").status == {"approve": "completed", "reject": "failed"}[decision]
    assert an_agent(story, "printer").status == "defined"


async def test_a_response_given_during_a_pause_is_worked_in_when_it_ends(story: Story) -> None:
    sketch = {"write": {"writer": [], "editor": [], "idle": []}}
    project = await reviewed(story, sketch, editor=REVIEW, idle=REVIEW)
    for name in ("writer", "editor", "idle"):
        await answer(story, name)
    await story.given(PauseProject(project_id=project))
    for name in ("writer", "editor"):
        await decide(story, "respond", name, comment=f"Again, {name}.")
    assert set(statuses(story).values()) == {"waiting"}
    position = len(story.events)
    await story.given(ResumeProject(project_id=project))
    await react(story, position)
    assert statuses(story) == {"writer": "running", "editor": "running", "idle": "waiting"}
    for name in ("writer", "editor"):
        feedback = an_agent(story, name).feedback
        assert feedback
        assert await story.unsealed(feedback) == f"Again, {name}."
    await story.when(ApplyDecisionsHeldByPause(project_id=project))
    story.then_refused(Refused, code="not_due")


async def test_a_result_of_a_cancelled_project_changes_nothing(story: Story) -> None:
    project = await reviewed(story, {"write": {"writer": [], "other": []}})
    await answer(story)
    job = an_agent(story, "other").job_id
    assert job
    await story.given(CancelProject(project_id=project))
    await story.when(FinishAgentAttempt(job_id=job))
    story.then_refused(Refused, code="not_due")


async def test_an_answer_is_taken_once(story: Story) -> None:
    await reviewed(story)
    job = an_agent(story, "writer").job_id
    assert job
    await answer(story)
    await story.when(FinishAgentAttempt(job_id=job))
    story.then_refused(Refused, code="not_due")


async def test_a_job_without_an_agent_or_without_an_answer_is_left_alone(story: Story) -> None:
    await reviewed(story)
    chat = story.id("chat")
    await story.given(queue(chat))
    for job in (chat, an_agent(story, "writer").job_id):
        assert job
        await story.when(FinishAgentAttempt(job_id=job))
        story.then_refused(Refused, code="not_due")


async def test_nothing_is_applied_before_it_was_decided_nor_twice(story: Story) -> None:
    await reviewed(story)
    await answer(story)
    held = the_checkpoint(story)
    again = ApplyDecision(agent_id=held.agent_id, checkpoint_id=held.id)
    await story.when(again)
    story.then_refused(Refused, code="not_due")
    await decide(story, "approve")
    await story.when(again)
    story.then_refused(Refused, code="not_due")


async def test_a_decision_about_an_agent_of_a_project_that_ended_meanwhile_is_dropped(story: Story) -> None:
    project = await reviewed(story)
    await answer(story)
    held = the_checkpoint(story)
    await story.given(resolve(story, "approve"), CancelProject(project_id=project))
    await story.when(ApplyDecision(agent_id=held.agent_id, checkpoint_id=held.id))
    story.then_refused(Refused, code="not_due")


async def test_a_reset_run_has_a_checkpoint_and_a_version_of_its_own(story: Story) -> None:
    project = await reviewed(story)
    await answer(story)
    first = the_checkpoint(story).id
    await decide(story, "reject")
    position = len(story.events)
    await story.given(ResetProject(project_id=project, what="failed"))
    await react(story, position)
    await story.given(StartProject(project_id=project))
    await react(story, position)
    await answer(story)
    assert an_agent(story, "writer").run == 2
    assert the_checkpoint(story).id != first
    assert the_asset(story).newest == 2


async def test_a_checkpoint_decides_about_its_own_version_even_when_another_agent_wrote_a_newer_one(
    story: Story,
) -> None:
    project = await reviewed(story, {"write": {"writer": [], "editor": []}}, editor=REVIEW)
    await answer(story, "writer", "one")
    writer, editor = an_agent(story, "writer").id, an_agent(story, "editor").id
    await story.given(ConfigureAgent(agent_id=writer, project_id=project, output_name="other.md"))
    await story.given(ResetAgent(agent_id=editor))
    await story.given(ConfigureAgent(agent_id=editor, project_id=project, output_name="writer.md"))
    await react(story)
    await answer(story, "editor", "two")
    await decide(story, "reject", "writer")
    assert (the_asset(story).newest, the_asset(story).status) == (2, "pending")
    await decide(story, "approve", "editor")
    assert (the_asset(story).newest, the_asset(story).status) == (2, "approved")


async def test_a_checkpoint_that_cannot_be_made_leaves_nothing_behind(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reviewed(story)
    job = an_agent(story, "writer").job_id
    assert job
    project = story.id("project")
    await story.given(admit(job, project_id=project, hold_seconds=900), complete(job, project_id=project))
    with monkeypatch.context() as broken:
        broken.setattr("commands.agents.outcomes.timedelta", _too_far)
        await story.when(FinishAgentAttempt(job_id=job))
        story.then_refused(Refused, code="test")
    await story.when(FinishAgentAttempt(job_id=job))
    story.then("llm_job.result_delivered", "agent.waiting", "asset.created", "checkpoint.requested")


def _too_far(**_: int) -> timedelta:
    raise Refused("no such date", code="test")


async def test_cached_aggregates_equal_the_replay_of_their_stored_bytes(story: Story) -> None:
    await reviewed(story)
    await answer(story)
    await decide(story, "respond", comment="Again.")
    await answer(story)
    await decide(story, "edit", comment="Better so.")
    kinds: set[type] = set()
    for stream, cached in story.sequencer.aggregates.items():
        kind = type(cached)
        if kind in (Asset, Checkpoint, Agent):
            assert cached == story.state(kind, stream)
            assert kind.from_snapshot(cached.id, cached.version, cached.snapshot()) == cached
            kinds.add(kind)
    assert kinds == {Asset, Checkpoint, Agent}
