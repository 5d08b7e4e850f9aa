"""Checkpoints and assets as they are shown: the inbox holds what can be decided now, a file keeps all its versions."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from commands.agents import AddAgent, ResetAgent, WantedReview
from commands.assets import ApproveAsset, RegisterAsset, SupersedeAsset
from commands.checkpoints import EscalateCheckpoint, ExpireCheckpoint, ResolveCheckpoint, ViewCheckpoint
from commands.projects import AddPhase, CreateProject, InitializeProject, StartProject
from domain.agents import Agent
from domain.checkpoints import Asset, Checkpoint
from domain.ids import agent_id, asset_id, checkpoint_id, job_id
from projections.checkpoints import (
    AssetView,
    AssetViews,
    CheckpointView,
    CheckpointViews,
    assets,
    checkpoints,
    inbox,
)
from projections.deadlines import Deadlines, deadlines
from projections.projector import Connections, reading, rebuild
from projections.projects import ProjectOverviews
from tests.commands.staging import admit, complete
from tests.projections.playing import SCRIPTED, Play
from tests.projections.town import WHISPER, busy
from tests.support.story import telling

ID = UUID(int=7)
FIRST, SECOND = agent_id(ID, "first"), agent_id(ID, "second")
ASKED = checkpoint_id(FIRST, 1, 1)


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    """Two agents side by side, both held back for review."""
    async with telling() as story:
        play = Play(story)
        review = WantedReview(title="Good?", question="Is it?", expires_in_seconds=60)
        await play.do(CreateProject(project_id=ID, name="Tides", ai=SCRIPTED), AddPhase(project_id=ID, name="write"))
        for name in ("first", "second"):
            await play.do(AddAgent(project_id=ID, phase="write", name=name, checkpoint=review))
        await play.do(InitializeProject(project_id=ID), StartProject(project_id=ID))
        for agent in (FIRST, SECOND):
            job = job_id(agent, 1, 1)
            await play.do(admit(job, project_id=ID, hold_seconds=700), complete(job, project_id=ID))
            story.clock.advance(1)
        yield play


async def asked(play: Play, stream: UUID = ASKED) -> CheckpointView:
    view = await play.fold(CheckpointViews, stream, ID)
    assert isinstance(view, CheckpointView)
    return view


async def file(play: Play, name: str = "first.md") -> AssetView:
    view = await play.fold(AssetViews, asset_id(ID, name), ID)
    assert isinstance(view, AssetView)
    return view


async def test_a_checkpoint_shows_what_it_asks_and_who_looked(play: Play) -> None:
    await play.do(ViewCheckpoint(checkpoint_id=ASKED))
    await play.do(EscalateCheckpoint(project_id=ID, checkpoint_id=ASKED, note=WHISPER))
    view = await asked(play)
    assert (view.agent, view.title, view.status) == ("first", "Good?", "pending")
    assert view.question
    assert await play.story.unsealed(view.question) == "Is it?"
    assert (view.viewed_by, view.escalated_by, view.version) == (("owner",), "owner", 3)
    assert view.due_at
    assert str(view.escalation).startswith("s1.")
    assert (view.asset_id, view.asset_version) == (asset_id(ID, "first.md"), 1)


async def test_a_decision_is_bound_to_what_was_decided_on(play: Play) -> None:
    digest = (await asked(play)).digest
    edit: dict[str, Any] = {"content_digest": "e" * 64, "content_size": 5, "comment": WHISPER}
    await play.do(ResolveCheckpoint(project_id=ID, checkpoint_id=ASKED, decision="edit", digest=digest, **edit))
    view = await asked(play)
    assert (view.status, view.decision, view.decided_by) == ("resolved", "edit", "owner")
    assert (view.digest, view.asset_version) == ("e" * 64, 2)
    assert view.ended_at
    assert str(view.comment).startswith("s1.")
    edited = await file(play)
    assert [(each.version, each.status, each.by) for each in edited.versions] == [
        (1, "pending", "agent first"),
        (2, "approved", "owner"),
    ]
    assert (edited.newest, edited.digest, edited.size, edited.status) == (2, "e" * 64, 5, "approved")


async def test_nobody_decided(play: Play) -> None:
    play.story.clock.advance(100)
    await play.do(ExpireCheckpoint(checkpoint_id=ASKED))
    view = await asked(play)
    assert (view.status, view.decision) == ("expired", None)
    assert view.ended_at


async def test_the_inbox_holds_what_can_be_decided_the_longest_waiting_first(
    connections: Connections, play: Play
) -> None:
    await rebuild(connections, play.story.store, CheckpointViews())
    async with reading(connections, CheckpointViews) as read:
        whole = await inbox(read.connection)
        assert [each.checkpoint.agent for each in whole.items] == ["first", "second"]
        first = await inbox(read.connection, project_id=ID, limit=1)
        rest = await inbox(read.connection, project_id=ID, limit=1, cursor=first.next)
        assert [*first.items, *rest.items] == [*whole.items]
        assert (await inbox(read.connection, project_id=UUID(int=1))).items == []
        newest = await checkpoints(read.connection, project_id=ID)
        assert [row.view.agent for row in newest.items] == ["second", "first"]


async def test_what_an_agent_no_longer_waits_for_leaves_the_inbox(connections: Connections, play: Play) -> None:
    await play.do(ResetAgent(agent_id=FIRST))
    view = await asked(play)
    assert (view.status, view.withdrawn_because, view.decision) == ("withdrawn", "agent_reset", None)
    assert view.ended_at
    await rebuild(connections, play.story.store, CheckpointViews())
    await rebuild(connections, play.story.store, Deadlines())
    async with reading(connections, CheckpointViews, Deadlines) as read:
        assert [each.checkpoint.agent for each in (await inbox(read.connection)).items] == ["second"]
        assert (await checkpoints(read.connection, status="pending", agent_id=FIRST)).items == []
        assert len((await checkpoints(read.connection, status="withdrawn")).items) == 1
        due = await deadlines(read.connection, kind="checkpoint.requested")
        assert [each.stream_id for each in due.items] == [checkpoint_id(SECOND, 1, 1)]
    overview = await play.fold(ProjectOverviews, ID, ID)
    assert overview
    assert [each.agent for each in overview.waiting] == ["second"]


async def test_a_file_keeps_all_its_versions(play: Play) -> None:
    await play.do(
        RegisterAsset(project_id=ID, name="notes.md", media_type="text/markdown", digest="a" * 64, size=1),
        ApproveAsset(asset_id=asset_id(ID, "notes.md"), digest="a" * 64),
        SupersedeAsset(asset_id=asset_id(ID, "notes.md"), digest="b" * 64, size=2, media_type="text/plain"),
    )
    view = await file(play, "notes.md")
    assert [(each.version, each.digest[0], each.status) for each in view.versions] == [
        (1, "a", "approved"),
        (2, "b", "pending"),
    ]
    assert view.versions[0].decided_by == "owner"
    assert (view.media_type, view.status, view.newest, view.version) == ("text/plain", "pending", 2, 3)


@pytest.mark.thorough
async def test_files_and_checkpoints_of_a_town_agree_with_their_aggregates() -> None:
    for stream, known in busy().all(Asset).items():
        view = await busy().fold(AssetViews, stream, known.project_id)
        assert isinstance(view, AssetView)
        assert (view.newest, view.digest, view.status, view.size) == (
            known.newest,
            known.digest,
            known.status,
            known.size,
        )
        assert [each.version for each in view.versions] == list(range(1, known.newest + 1))
    for stream, known in busy().all(Checkpoint).items():
        view = await busy().fold(CheckpointViews, stream, known.project_id)
        assert isinstance(view, CheckpointView)
        assert (view.status, view.decision, view.digest, list(view.viewed_by)) == (
            known.status,
            known.decision,
            known.digest,
            known.viewers,
        )


async def test_a_towns_inbox_is_what_its_agents_wait_for(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, CheckpointViews())
    await rebuild(connections, busy().story.store, AssetViews())
    waiting = {
        awaited.id
        for agent in busy().all(Agent).values()
        if agent.status == "waiting"
        for awaited in agent.waiting_for
        if busy().all(Checkpoint)[awaited.id].status == "pending"
    }
    async with reading(connections, CheckpointViews, AssetViews) as read:
        assert {each.checkpoint.id for each in (await inbox(read.connection, limit=200)).items} == waiting
        assert waiting == {stream for stream, each in busy().all(Checkpoint).items() if each.status == "pending"}
        project = next(iter(busy().all(Asset).values())).project_id
        files = await assets(read.connection, project_id=project)
        names = [row.view.name for row in files.items]
        assert names == sorted(each.name for each in busy().all(Asset).values() if each.project_id == project)
        approved = await assets(read.connection, project_id=project, status="approved")
        assert {row.view.status for row in approved.items} <= {"approved"}
