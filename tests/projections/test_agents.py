"""An agent in detail: what it is told, its attempts, what it waits for; the library; its log in words."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from commands.agents import (
    AddAgent,
    ConfigureAgent,
    DefineLibraryAgent,
    RemoveAgent,
    ResetAgent,
    StartAgentAttempt,
    WantedReview,
)
from commands.checkpoints import ResolveCheckpoint
from commands.llm_jobs import LoseAttempt
from commands.projects import AddPhase, CreateProject, InitializeProject, StartProject
from domain.agents import Agent
from domain.errors import Refused
from domain.ids import agent_id, library_agent_id
from projections import agents as module
from projections.agents import AgentDetail, AgentDetails, agent_log, agents_of_project, library
from projections.projector import Connections, reading, rebuild
from tests.commands.staging import admit, complete, fail
from tests.projections.playing import SCRIPTED, Play
from tests.projections.town import WHISPER, busy
from tests.support.story import telling

ID = UUID(int=7)
WRITER = agent_id(ID, "writer")


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    """One agent whose work is reviewed, at its first attempt."""
    async with telling() as story:
        play = Play(story)
        await play.do(
            DefineLibraryAgent(name="writer", role="author", prompt=WHISPER),
            CreateProject(project_id=ID, name="Tides", ai=SCRIPTED),
            AddPhase(project_id=ID, name="write"),
            AddAgent(
                project_id=ID, phase="write", name="writer", library="writer", checkpoint=WantedReview(title="Good?")
            ),
            InitializeProject(project_id=ID),
            StartProject(project_id=ID),
        )
        yield play


async def detail(play: Play, stream: UUID = WRITER, project: UUID | None = ID) -> AgentDetail:
    view = await play.fold(AgentDetails, stream, project)
    assert isinstance(view, AgentDetail)
    return view


async def answer(play: Play, amount: str = "0.5") -> None:
    job = (await detail(play)).job_id
    assert job
    await play.do(admit(job, project_id=ID, hold_seconds=700), complete(job, amount, project_id=ID))


async def decide(play: Play, decision: str) -> None:
    view = await detail(play)
    (wait,) = view.waiting_for
    assert view.asset
    facts: dict[str, Any] = {"decision": decision, "digest": view.asset.digest, "comment": WHISPER}
    await play.do(ResolveCheckpoint(project_id=ID, checkpoint_id=wait.id, **facts))


async def test_a_definition_keeps_its_texts_sealed(play: Play) -> None:
    view = await detail(play)
    assert (view.name, view.phase, view.status, view.definition.role) == ("writer", "write", "running", "author")
    assert str(view.definition.prompt).startswith("s1.")
    assert await play.story.unsealed(str(view.definition.prompt)) == WHISPER
    await play.do(ConfigureAgent(agent_id=library_agent_id("writer"), instructions=WHISPER, retries=4))
    kept = await detail(play, library_agent_id("writer"), None)
    assert (kept.project_id, kept.status, kept.definition.retries) == (None, "defined", 4)
    assert kept.version == 2


async def test_attempts_tell_how_each_of_them_ended_and_what_it_cost(play: Play) -> None:
    await answer(play)
    view = await detail(play)
    assert (view.status, view.attempts[0].outcome, view.attempts[0].ended_at) == ("waiting", "in review", None)
    await decide(play, "respond")
    await answer(play, "0.25")
    await decide(play, "approve")
    view = await detail(play)
    assert [(each.attempt, each.outcome, each.spent) for each in view.attempts] == [
        (1, "sent back", Decimal("0.5")),
        (2, "completed", Decimal("0.25")),
    ]
    assert str(view.attempts[1].feedback).startswith("s1.")
    assert [each.asset and each.asset.version for each in view.attempts] == [1, 2]
    assert (view.status, view.spent, view.waiting_for, view.job_id) == ("completed", Decimal("0.75"), (), None)
    await play.do(ResetAgent(agent_id=WRITER), StartProject(project_id=ID))
    view = await detail(play)
    assert (view.run, view.attempt, view.status) == (2, 1, "running")
    assert [(each.run, each.outcome) for each in view.attempts][-2:] == [(1, "completed"), (2, "running")]


async def test_a_failed_attempt_is_followed_by_the_next_when_it_is_due(play: Play) -> None:
    job = (await detail(play)).job_id
    assert job
    await play.do(
        admit(job, project_id=ID, hold_seconds=700),
        LoseAttempt(job_id=job, attempt=1, project_id=ID),
        admit(job, attempt=2, project_id=ID, hold_seconds=700),
        fail(job, "0.125", 2, project_id=ID, retryable=False, kind="timeout"),
    )
    view = await detail(play)
    assert (view.status, view.code, view.attempts[0].outcome, view.attempts[0].recovered) == (
        "waiting",
        "timeout",
        "failed",
        1,
    )
    assert view.retry_at
    play.story.clock.advance(600)
    await play.do(StartAgentAttempt(agent_id=WRITER, run=1, attempt=2))
    view = await detail(play)
    assert (view.status, view.retry_at, view.code, view.spent) == ("running", None, None, Decimal("0.125"))
    await play.do(ResetAgent(agent_id=WRITER))
    view = await detail(play)
    assert [each.outcome for each in view.attempts] == ["failed", "given up", "running"]
    assert (view.run, view.attempt, view.attempts[-1].run) == (2, 1, 2)


async def test_the_history_is_bounded_and_the_sum_is_not(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_ATTEMPTS", 2)
    for _ in range(3):
        await answer(play)
        await decide(play, "respond")
    view = await detail(play)
    assert [each.attempt for each in view.attempts] == [3, 4]
    assert view.spent == Decimal("1.5")


@pytest.mark.thorough
async def test_every_agent_of_a_town_agrees_with_its_aggregate() -> None:
    for stream, known in busy().all(Agent).items():
        view = await detail(busy(), stream, known.project_id)
        assert (view.status, view.run, view.attempt, view.version) == (
            known.status,
            known.run,
            known.attempt,
            known.version,
        )
        assert (view.definition, view.retry_at, list(view.waiting_for)) == (
            known.definition,
            known.retry_at,
            known.waiting_for,
        )
        if known.status in ("waiting", "completed"):
            assert view.asset == known.asset or known.retry_at
        assert view.skipped_because == known.skipped_because
        assert view.phase == known.phase


async def test_the_library_lists_what_belongs_to_no_project(connections: Connections, play: Play) -> None:
    await play.do(DefineLibraryAgent(name="clerk"), RemoveAgent(agent_id=library_agent_id("writer")))
    await rebuild(connections, play.story.store, AgentDetails())
    async with reading(connections, AgentDetails) as read:
        assert [row.view.name for row in (await library(read.connection)).items] == ["clerk"]
        assert [row.view.name for row in (await library(read.connection, removed=True)).items] == ["writer"]
        assert [row.key for row in await agents_of_project(read.connection, ID)] == [WRITER]
        assert [row.key for row in await agents_of_project(read.connection, UUID(int=1))] == []


async def test_an_agents_log_is_read_from_the_log_the_newest_first(play: Play) -> None:
    await answer(play)
    whole = await agent_log(play.story.store, WRITER)
    assert [each.line for each in whole.items] == [
        "agent writer: attempt 1 of run 1 is held back: waits for checkpoint Good?",
        "agent writer: attempt 1 of run 1 began",
        "agent writer: ready for run 1",
        "agent writer: defined in phase write",
    ]
    assert whole.next is None
    first = await agent_log(play.story.store, WRITER, limit=3)
    rest = await agent_log(play.story.store, WRITER, limit=3, cursor=first.next)
    assert [*first.items, *rest.items] == [*whole.items]
    assert rest.next is None
    past = await agent_log(play.story.store, WRITER, up_to=whole.items[1].position)
    assert list(past.items) == list(whole.items[1:])
    with pytest.raises(Refused, match="cursor"):
        await agent_log(play.story.store, WRITER, cursor="WzFd")
