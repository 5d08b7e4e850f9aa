"""Stories of checkpoints: one decision, about exactly what was looked at, in time, and by whom."""

from typing import Any

import pytest
from pydantic import ValidationError

from commands.agents import CancelAgent, ResetAgent
from commands.assets import SupersedeAsset
from commands.checkpoints import EscalateCheckpoint, ExpireCheckpoint, ResolveCheckpoint, ViewCheckpoint
from commands.handling import Principal
from commands.projects import CancelProject
from domain.checkpoints import Checkpoint
from domain.errors import Conflict, NotAllowed, NotFound, Refused
from domain.ids import checkpoint_id
from tests.commands.projects_stage import an_agent
from tests.commands.reviewing import OTHER, answer, resolve, reviewed, the_asset, the_checkpoint
from tests.support.story import Story

ADA = Principal("ada", frozenset({"*"}))


@pytest.fixture
async def held(story: Story) -> Story:
    """A story in which a result waits for a decision."""
    await reviewed(story)
    await answer(story)
    return story


async def test_an_approval_names_exactly_what_was_approved_and_by_whom(held: Story) -> None:
    await held.when(resolve(held, "approve", comment="Well done."), principal=ADA)
    resolved, approved = held.then("checkpoint.resolved", "asset.approved")
    digest = the_asset(held).digest
    assert (resolved["decision"], resolved["digest"], resolved["asset_version"], resolved["by"]) == (
        "approve",
        digest,
        1,
        "ada",
    )
    assert resolved["agent_id"] == str(an_agent(held, "writer").id)
    assert await held.unsealed(resolved["comment"]) == "Well done."
    assert approved == {"version": 1, "digest": digest, "by": "ada"}


async def test_a_comment_is_free_text_and_never_plain_in_the_log(held: Story) -> None:
    await held.when(resolve(held, "reject", comment="  not good enough\n"))
    resolved, rejected = held.then("checkpoint.resolved", "asset.rejected")
    assert await held.unsealed(resolved["comment"]) == "not good enough"
    assert rejected["version"] == 1
    assert not any(b"not good" in each.data for each in held.events)


async def test_an_edit_is_a_new_version_that_is_approved_with_it(held: Story) -> None:
    old = the_asset(held)
    await held.when(resolve(held, "edit", content_type="text/html"), principal=ADA)
    resolved, superseded, approved = held.then("checkpoint.resolved", "asset.superseded", "asset.approved")
    assert (resolved["digest"], resolved["asset_version"]) == (OTHER, 2)
    assert (superseded["version"], superseded["digest"], superseded["size"]) == (2, OTHER, 7)
    assert (superseded["media_type"], superseded["by"]) == ("text/html", "ada")
    assert approved == {"version": 2, "digest": OTHER, "by": "ada"}
    assert the_asset(held).media_type == "text/html" != old.media_type


async def test_an_edit_keeps_the_media_type_unless_told_otherwise(held: Story) -> None:
    await held.given(resolve(held, "edit"))
    assert the_asset(held).media_type == "text/markdown"


async def test_a_response_decides_nothing_about_the_asset(held: Story) -> None:
    await held.when(resolve(held, "respond", comment="Shorter."))
    held.then("checkpoint.resolved")
    assert the_asset(held).status == "pending"


@pytest.mark.parametrize(
    ("decision", "more", "code"),
    [
        ("respond", {}, "comment_required"),
        ("edit", {"content_digest": None}, "content_required"),
        ("edit", {"content_size": None}, "content_required"),
        ("approve", {"content_digest": OTHER}, "content_unexpected"),
        ("reject", {"content_size": 0}, "content_unexpected"),
        ("respond", {"content_type": "text/plain", "comment": "x"}, "content_unexpected"),
    ],
)
async def test_a_decision_must_be_whole(held: Story, decision: str, more: dict[str, Any], code: str) -> None:
    await held.when(resolve(held, decision, **more))
    held.then_refused(Refused, code=code)


async def test_an_edit_that_changes_nothing_is_an_approval(held: Story) -> None:
    await held.when(resolve(held, "edit", content_digest=the_asset(held).digest))
    held.then_refused(Refused, code="unchanged", saying="approve it")


@pytest.mark.parametrize("comment", ["", "   ", "a\0b", "a\x1bb", "a\ud800b", "x" * 10_001])
def test_a_comment_is_some_text(story: Story, comment: str) -> None:
    with pytest.raises(ValidationError):
        ResolveCheckpoint(
            project_id=story.id(1), checkpoint_id=story.id(2), decision="respond", digest=OTHER, comment=comment
        )


@pytest.mark.parametrize("decision", ["approve", "edit", "reject", "respond"])
async def test_a_decision_is_bound_to_the_content_that_was_looked_at(held: Story, decision: str) -> None:
    digest = the_asset(held).digest
    await held.when(resolve(held, decision, digest=None, comment="x"))
    assert held.then_refused(Refused, code="digest_required", saying=digest).details["digest"] == digest
    await held.when(resolve(held, decision, digest="c" * 64, comment="x"))
    held.then_refused(Conflict, code="digest_mismatch", saying=digest)


@pytest.mark.parametrize("second", ["approve", "reject"])
async def test_a_decision_is_consumed_once(held: Story, second: str) -> None:
    await held.send(resolve(held, "approve"), principal=ADA)
    await held.when(resolve(held, second))
    refusal = held.then_refused(Conflict, code="already_decided", saying="approve by ada")
    assert (refusal.details["decision"], refusal.details["by"]) == ("approve", "ada")


async def test_a_repeated_request_gets_its_first_answer(held: Story) -> None:
    decision = resolve(held, "approve")
    first = await held.send(decision, key="k")
    assert (await held.send(decision, key="k")).position == first.position


async def test_time_runs_out_even_before_the_deadline_was_noted(held: Story) -> None:
    expire = ExpireCheckpoint(checkpoint_id=the_checkpoint(held).id)
    held.clock.advance(3599)
    await held.when(expire)
    held.then_refused(Refused, code="not_due")
    held.clock.advance(1)
    await held.when(resolve(held, "approve"))
    held.then_refused(Refused, code="checkpoint_expired", saying="reset agent writer")
    await held.when(expire)
    assert held.then("checkpoint.expired") == [{"agent_id": str(an_agent(held, "writer").id)}]
    await held.when(expire)
    held.then_refused(Refused, code="not_due")
    await held.when(resolve(held, "approve"))
    held.then_refused(Refused, code="checkpoint_expired")


async def test_a_checkpoint_without_a_deadline_waits_for_ever(story: Story) -> None:
    await reviewed(story, writer={"checkpoint": {"title": "Publish?"}})
    await answer(story)
    story.clock.advance(10**9)
    await story.when(ExpireCheckpoint(checkpoint_id=the_checkpoint(story).id))
    story.then_refused(Refused, code="not_due")
    await story.when(resolve(story, "approve"))
    story.then("checkpoint.resolved", "asset.approved")


async def test_what_was_decided_does_not_expire(held: Story) -> None:
    expire = ExpireCheckpoint(checkpoint_id=the_checkpoint(held).id)
    await held.given(resolve(held, "approve"))
    held.clock.advance(4000)
    await held.when(expire)
    held.then_refused(Refused, code="not_due")


async def test_a_cancelled_project_asks_nobody_any_more(held: Story) -> None:
    before = resolve(held, "approve")
    await held.when(CancelProject(project_id=held.id("project")))
    *_, withdrawn = held.then("project.cancelled", "agent.cancelled", "checkpoint.withdrawn")
    assert withdrawn == {"reason": "project_cancelled"}
    assert the_checkpoint(held).status == "withdrawn"
    await held.when(before)
    held.then_refused(Refused, code="checkpoint_withdrawn", saying="agent writer was stopped")
    held.clock.advance(4000)
    for late in (before, ExpireCheckpoint(checkpoint_id=before.checkpoint_id)):
        await held.when(late)
        held.then_refused(Refused, code="checkpoint_withdrawn" if late is before else "not_due")


@pytest.mark.parametrize("stopped", ["reset", "cancelled"])
async def test_an_agent_that_no_longer_waits_takes_its_question_back_and_frees_its_file(
    held: Story, stopped: str
) -> None:
    project, agent, asked = held.id("project"), an_agent(held, "writer"), the_checkpoint(held)
    facts: dict[str, Any] = {"asset_id": the_asset(held).id, "digest": OTHER, "size": 3}
    await held.when(SupersedeAsset(**facts))
    held.then_refused(Refused, code="held_by_checkpoint")
    if stopped == "reset":
        await held.when(ResetAgent(agent_id=agent.id))
    else:
        await held.when(CancelAgent(agent_id=agent.id, project_id=project))
    said = held.then(f"agent.{stopped}", "checkpoint.withdrawn")
    assert said[1] == {"reason": f"agent_{'reset' if stopped == 'reset' else 'cancelled'}"}
    late = {"project_id": project, "checkpoint_id": asked.id, "decision": "approve", "digest": asked.digest}
    await held.when(ResolveCheckpoint.model_validate(late))
    held.then_refused(Refused, code="checkpoint_withdrawn", saying="newest result")
    await held.when(EscalateCheckpoint(project_id=project, checkpoint_id=asked.id))
    held.then_refused(Refused, code="checkpoint_withdrawn")
    await held.when(SupersedeAsset(**facts))
    held.then("asset.superseded")


async def test_what_was_decided_is_not_withdrawn(held: Story) -> None:
    await held.given(resolve(held, "approve"))
    await held.when(CancelProject(project_id=held.id("project")))
    held.then("project.cancelled", "agent.cancelled")
    assert the_checkpoint(held).status == "resolved"


async def test_each_persons_first_look_is_kept(held: Story) -> None:
    look = ViewCheckpoint(checkpoint_id=the_checkpoint(held).id)
    await held.when(look, principal=ADA)
    assert held.then("checkpoint.viewed") == [{"by": "ada"}]
    await held.when(look, principal=ADA)
    held.then()
    await held.when(look)
    held.then("checkpoint.viewed")
    assert the_checkpoint(held).viewers == ["ada", "owner"]
    await held.given(resolve(held, "approve"))
    await held.when(look, principal=Principal("late", frozenset({"*"})))
    held.then()


async def test_a_decision_is_pressed_for_once(held: Story) -> None:
    facts: dict[str, Any] = {"project_id": held.id("project"), "checkpoint_id": the_checkpoint(held).id}
    await held.when(EscalateCheckpoint(**facts, note="The launch waits."))
    (escalated,) = held.then("checkpoint.escalated")
    assert await held.unsealed(escalated["note"]) == "The launch waits."
    await held.when(EscalateCheckpoint(**facts))
    held.then()
    assert the_checkpoint(held).escalated
    await held.given(resolve(held, "approve"))
    await held.when(EscalateCheckpoint(**facts))
    held.then_refused(Conflict, code="already_decided")


async def test_a_note_is_not_needed_to_press(held: Story) -> None:
    await held.when(EscalateCheckpoint(project_id=held.id("project"), checkpoint_id=the_checkpoint(held).id))
    assert held.then("checkpoint.escalated") == [{"by": "owner", "note": None}]


async def test_a_checkpoint_is_found_in_its_own_project_only(held: Story) -> None:
    await held.when(resolve(held, "approve", project_id=held.id("elsewhere")))
    held.then_refused(NotFound)
    await held.when(resolve(held, "approve", checkpoint_id=held.id("nothing")))
    held.then_refused(NotFound)


async def test_deciding_takes_its_permission(held: Story) -> None:
    looker = Principal("looker", frozenset({"checkpoints.view"}))
    await held.when(ViewCheckpoint(checkpoint_id=the_checkpoint(held).id), principal=looker)
    held.then("checkpoint.viewed")
    await held.when(resolve(held, "approve"), principal=looker)
    assert held.then_refused(NotAllowed).details["permission"] == "checkpoints.resolve"


async def test_a_destroyed_key_takes_the_comment_and_leaves_the_decision(held: Story) -> None:
    await held.when(resolve(held, "reject", comment="Names a person."))
    resolved, _ = held.then("checkpoint.resolved", "asset.rejected")
    stream = checkpoint_id(an_agent(held, "writer").id, 1, 1)
    before = held.state(Checkpoint, stream)
    await held.keyring.destroy(held.id("project"))
    assert await held.unsealed(resolved["comment"]) is None
    assert held.state(Checkpoint, stream) == before
