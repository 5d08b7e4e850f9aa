"""Stories of assets: named files whose versions are added, approved and rejected."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from commands.assets import ApproveAsset, RegisterAsset, RejectAsset, SupersedeAsset
from commands.handling import Principal
from commands.projects import ArchiveProject, CancelProject
from domain.errors import Conflict, NotFound, Refused
from domain.ids import asset_id
from tests.commands.projects_stage import build
from tests.commands.reviewing import answer, decide, resolve, reviewed, the_asset, the_checkpoint
from tests.support.story import Story

ONE, TWO = "1" * 64, "2" * 64
ADA = Principal("ada", frozenset({"*"}))


def register(story: Story, **over: Any) -> RegisterAsset:
    facts = {"project_id": story.id("project"), "name": "notes.txt", "media_type": "text/plain"}
    return RegisterAsset.model_validate(facts | {"digest": ONE, "size": 10} | over)


def notes(story: Story) -> UUID:
    return asset_id(story.id("project"), "notes.txt")


@pytest.fixture
async def stage(story: Story) -> Story:
    """A story with a project that has not started."""
    await build(story, {"write": {"writer": []}})
    return story


async def test_a_file_is_added_to_its_project(stage: Story) -> None:
    await stage.when(register(stage), principal=ADA)
    (created,) = stage.then("asset.created")
    assert created == {
        "project_id": str(stage.id("project")),
        "name": "notes.txt",
        "media_type": "text/plain",
        "digest": ONE,
        "size": 10,
        "version": 1,
        "agent_id": None,
        "run": None,
        "held_by": None,
        "by": "ada",
    }
    assert stage.events[-1].stream_id == notes(stage)
    assert stage.events[-1].project_id == stage.id("project")


async def test_a_name_is_taken_once(stage: Story) -> None:
    await stage.given(register(stage))
    await stage.when(register(stage, digest=TWO))
    stage.then_refused(Conflict)


async def test_a_file_needs_a_project(stage: Story) -> None:
    await stage.when(register(stage, project_id=stage.id("nowhere")))
    stage.then_refused(NotFound)


@pytest.mark.parametrize(
    "over",
    [
        {"name": "../etc/passwd"},
        {"name": ""},
        {"name": ".hidden"},
        {"media_type": "text/plain\r\nX: y"},
        {"media_type": "text"},
        {"digest": "xyz"},
        {"size": -1},
        {"size": 2**60},
    ],
)
def test_what_a_file_cannot_be_is_refused(story: Story, over: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        register(story, **over)


async def test_a_new_version_has_yet_to_be_approved(stage: Story) -> None:
    await stage.given(register(stage), ApproveAsset(asset_id=notes(stage), digest=ONE))
    await stage.when(SupersedeAsset(asset_id=notes(stage), digest=TWO, size=0), principal=ADA)
    (superseded,) = stage.then("asset.superseded")
    assert (superseded["version"], superseded["media_type"], superseded["by"]) == (2, "text/plain", "ada")
    asset = the_asset(stage, "notes.txt")
    assert (asset.newest, asset.digest, asset.size, asset.status, asset.decided_by) == (2, TWO, 0, "pending", None)


async def test_the_same_content_again_is_no_new_version(stage: Story) -> None:
    await stage.given(register(stage))
    for media_type in (None, "text/plain"):
        await stage.when(SupersedeAsset(asset_id=notes(stage), digest=ONE, size=10, media_type=media_type))
        stage.then_refused(Refused, code="unchanged", saying="version 1")
    await stage.when(SupersedeAsset(asset_id=notes(stage), digest=ONE, size=10, media_type="text/markdown"))
    stage.then("asset.superseded")


@pytest.mark.parametrize(
    ("command", "kind", "other"),
    [(ApproveAsset, "asset.approved", RejectAsset), (RejectAsset, "asset.rejected", ApproveAsset)],
)
async def test_a_version_is_decided_once_and_the_other_way_never(
    stage: Story, command: type[Any], kind: str, other: type[Any]
) -> None:
    await stage.given(register(stage))
    await stage.when(command(asset_id=notes(stage), digest=ONE), principal=ADA)
    assert stage.then(kind) == [{"version": 1, "digest": ONE, "by": "ada"}]
    await stage.when(command(asset_id=notes(stage), digest=ONE))
    stage.then()
    await stage.when(other(asset_id=notes(stage), digest=ONE))
    stage.then_refused(Conflict, code="already_decided", saying="by ada: add a new version")


@pytest.mark.parametrize("command", [ApproveAsset, RejectAsset])
async def test_a_decision_is_about_the_content_that_was_looked_at(stage: Story, command: type[Any]) -> None:
    await stage.given(register(stage), SupersedeAsset(asset_id=notes(stage), digest=TWO, size=3))
    await stage.when(command(asset_id=notes(stage), digest=ONE))
    assert stage.then_refused(Conflict, code="digest_mismatch").details["version"] == 2


async def test_what_a_checkpoint_holds_is_decided_there(story: Story) -> None:
    await reviewed(story)
    await answer(story)
    asset = the_asset(story)
    blocked = [
        SupersedeAsset(asset_id=asset.id, digest=TWO, size=3),
        ApproveAsset(asset_id=asset.id, digest=asset.digest),
        RejectAsset(asset_id=asset.id, digest=asset.digest),
    ]
    for command in blocked:
        await story.when(command)
        refusal = story.then_refused(Refused, code="held_by_checkpoint")
        assert refusal.details["checkpoint_id"] == str(the_checkpoint(story).id)
    await story.given(resolve(story, "approve"))
    await story.when(blocked[0])
    story.then("asset.superseded")


async def test_a_rejected_result_may_get_a_new_version_by_hand(story: Story) -> None:
    await reviewed(story)
    await answer(story)
    await decide(story, "reject")
    await story.given(SupersedeAsset(asset_id=the_asset(story).id, digest=TWO, size=3))
    await story.when(ApproveAsset(asset_id=the_asset(story).id, digest=TWO))
    assert story.then("asset.approved")[0]["version"] == 2


async def test_an_archived_project_takes_no_files(stage: Story) -> None:
    project = stage.id("project")
    await stage.given(register(stage), CancelProject(project_id=project), ArchiveProject(project_id=project))
    await stage.when(register(stage, name="more.txt"))
    stage.then_refused(Refused, code="wrong_status", saying="archived")
    await stage.when(SupersedeAsset(asset_id=notes(stage), digest=TWO, size=3))
    stage.then_refused(Refused, code="wrong_status")


async def test_what_does_not_exist_is_not_found(stage: Story) -> None:
    for command in (ApproveAsset, RejectAsset):
        await stage.when(command(asset_id=notes(stage), digest=ONE))
        stage.then_refused(NotFound)
