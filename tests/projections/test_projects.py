"""A project at a glance: phases, agents, waits and money, as the log tells them, and the list of all projects."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from commands.agents import AddAgent, CancelAgent, ResetAgent, StartAgentAttempt, WantedReview
from commands.budgets import ChangeBudgetLimit, OpenBudget
from commands.checkpoints import ResolveCheckpoint
from commands.llm_jobs import LoseAttempt, RequeueLlmJob
from commands.projects import (
    AddPhase,
    CancelProject,
    ChangeProjectSettings,
    CreateProject,
    GivenInput,
    InitializeProject,
    PauseProject,
    ResetProject,
    ResumeProject,
    StartProject,
)
from domain.agents import Agent
from domain.errors import Refused
from domain.ids import Scope, agent_id, asset_id, attempt_id, budget_id
from domain.projects import Project
from projections.projector import Connections, reading, rebuild
from projections.projects import (
    AgentLine,
    JobLine,
    ProjectOverview,
    ProjectOverviews,
    WaitsForBudget,
    WaitsForRetry,
    WaitsForReview,
    projects,
)
from tests.commands.staging import admit, complete, fail
from tests.projections.playing import SCRIPTED, Play
from tests.projections.town import WHISPER, busy
from tests.support.story import telling

ID = UUID(int=7)


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    """Two phases: a reader and a checker whose work is reviewed, then a writer."""
    async with telling() as story:
        play = Play(story)
        of: dict[str, Any] = {"project_id": ID}
        await play.do(
            CreateProject(**of, name="Tides", description=WHISPER, ai=SCRIPTED),
            AddPhase(**of, name="collect"),
            AddPhase(**of, name="write"),
            AddAgent(**of, phase="collect", name="reader", role="clerk"),
            AddAgent(
                **of, phase="collect", name="checker", depends_on=["reader"], checkpoint=WantedReview(title="Good?")
            ),
            AddAgent(**of, phase="write", name="writer", depends_on=["checker"], on_failure="skip", retries=0),
            OpenBudget(scope=Scope(kind="project", project_id=ID), limit=Decimal(3)),
            InitializeProject(**of, inputs=[GivenInput(name="topic", text=WHISPER)]),
        )
        yield play


async def overview(play: Play, up_to: int | None = None) -> ProjectOverview:
    view = await play.fold(ProjectOverviews, ID, ID, up_to=up_to)
    assert isinstance(view, ProjectOverview)
    return view


def agent(view: ProjectOverview, name: str) -> AgentLine:
    return next(each for phase in view.phases for each in phase.agents if each.name == name)


def job(view: ProjectOverview, name: str) -> UUID:
    found = agent(view, name).job
    assert found
    return found.id


async def run(play: Play, name: str, amount: str = "0.5") -> None:
    stream = job(await overview(play), name)
    await play.do(admit(stream, project_id=ID, hold_seconds=700), complete(stream, amount, project_id=ID))


async def test_a_new_project_shows_its_plan(play: Play) -> None:
    view = await overview(play)
    assert (view.name, view.status, view.phase, view.counts) == ("Tides", "initialized", None, {"defined": 3})
    assert [(phase.name, phase.status, len(phase.agents)) for phase in view.phases] == [
        ("collect", "pending", 2),
        ("write", "pending", 1),
    ]
    assert (agent(view, "reader").role, agent(view, "writer").on_failure) == ("clerk", "skip")
    assert agent(view, "writer").depends_on == ("checker",)
    assert str(view.description).startswith("s1.")
    assert [(each.name, each.kind, each.size) for each in view.inputs] == [("topic", "text", len(WHISPER))]
    assert view.version == play.all(Project)[ID].version


async def test_a_run_is_followed_to_its_review_and_end(play: Play) -> None:
    await play.do(StartProject(project_id=ID))
    view = await overview(play)
    assert (view.status, view.phase, view.phases[0].status) == ("running", "collect", "running")
    assert (agent(view, "reader").status, agent(view, "reader").attempt) == ("running", 1)
    stream = job(view, "reader")
    await play.do(admit(stream, project_id=ID, hold_seconds=700))
    assert (await overview(play)).held == 1

    await play.do(complete(stream, "0.5", project_id=ID))
    view = await overview(play)
    result = agent(view, "reader").asset
    assert result
    assert (result.name, result.version, result.id) == ("reader.md", 1, asset_id(ID, "reader.md"))
    assert (view.held, view.spent, agent(view, "reader").spent) == (0, Decimal("0.5"), Decimal("0.5"))
    assert agent(view, "reader").job is not None
    assert view.counts == {"completed": 1, "defined": 1, "running": 1}

    await run(play, "checker")
    view = await overview(play)
    (wait,) = view.waiting
    assert isinstance(wait, WaitsForReview)
    assert (wait.agent, wait.title, agent(view, "checker").status) == ("checker", "Good?", "waiting")
    assert [each.name for each in agent(view, "checker").waiting_for] == ["Good?"]

    held = agent(view, "checker").asset
    assert held
    decision: dict[str, Any] = {"decision": "approve", "digest": held.digest}
    await play.do(ResolveCheckpoint(project_id=ID, checkpoint_id=wait.checkpoint_id, **decision))
    view = await overview(play)
    assert (view.waiting, view.phase) == ((), "write")
    assert [phase.status for phase in view.phases] == ["completed", "running"]

    await run(play, "writer")
    view = await overview(play)
    assert (view.status, view.counts, view.spent) == ("completed", {"completed": 3}, Decimal("1.5"))
    assert view.started_at
    assert view.ended_at
    assert view.created_at <= view.started_at <= view.ended_at
    assert [phase.status for phase in view.phases] == ["completed", "completed"]


async def test_a_parked_job_names_the_limit_that_is_in_its_way(play: Play) -> None:
    await play.do(StartProject(project_id=ID))
    stream = job(await overview(play), "reader")
    await play.do(admit(stream, "5", project_id=ID, hold_seconds=700))
    view = await overview(play)
    (wait,) = view.waiting
    assert isinstance(wait, WaitsForBudget)
    assert (wait.agent, wait.limit, wait.settled, wait.held, wait.requested) == ("reader", 3, 0, 0, 5)
    assert wait.budget_id == budget_id(Scope(kind="project", project_id=ID))
    assert (wait.name, wait.unit, wait.retry_at) == ("usd-lifetime", "usd", None)
    assert agent(view, "reader").job == JobLine(id=stream, status="parked")
    await play.do(ChangeBudgetLimit(budget_id=wait.budget_id, limit=Decimal(9)))
    assert (await overview(play)).waiting == ()


async def test_retries_say_when_they_are_due_and_why(play: Play) -> None:
    await play.do(StartProject(project_id=ID))
    stream = job(await overview(play), "reader")
    await play.do(admit(stream, project_id=ID, hold_seconds=700), fail(stream, project_id=ID))
    (wait,) = (await overview(play)).waiting
    assert isinstance(wait, WaitsForRetry)
    assert (wait.job_id, wait.agent, wait.code, wait.reason) == (
        stream,
        "reader",
        "overloaded",
        "the provider is overloaded",
    )
    play.story.clock.advance(60)
    await play.do(
        RequeueLlmJob(job_id=stream),
        admit(stream, attempt=2, project_id=ID, hold_seconds=700),
        fail(stream, "0.25", 2, project_id=ID, retryable=False, kind="timeout"),
    )
    view = await overview(play)
    (wait,) = view.waiting
    assert isinstance(wait, WaitsForRetry)
    assert (wait.job_id, wait.agent_id, wait.attempt) == (None, agent_id(ID, "reader"), 2)
    assert (agent(view, "reader").status, agent(view, "reader").retry_at) == ("waiting", wait.due_at)
    assert agent(view, "reader").failure
    assert view.spent == Decimal("1.25")  # the first try was sent, and not counted by its provider
    play.story.clock.advance(600)
    await play.do(StartAgentAttempt(agent_id=agent_id(ID, "reader"), run=1, attempt=2))
    view = await overview(play)
    assert (view.waiting, agent(view, "reader").attempt, agent(view, "reader").failure) == ((), 2, None)


async def test_money_stays_held_for_a_lost_attempt_until_it_reports(play: Play) -> None:
    await play.do(StartProject(project_id=ID))
    stream = job(await overview(play), "reader")
    await play.do(admit(stream, project_id=ID, hold_seconds=700), LoseAttempt(job_id=stream, attempt=1, project_id=ID))
    view = await overview(play)
    assert view.holds == {attempt_id(stream, 1): Decimal(1)}
    assert agent(view, "reader").job == JobLine(id=stream, status="queued")
    await play.do(complete(stream, "0.25", project_id=ID))
    assert ((await overview(play)).held, (await overview(play)).spent) == (0, Decimal("0.25"))


async def test_a_failure_ends_the_project_and_a_reset_begins_anew(play: Play) -> None:
    await play.do(StartProject(project_id=ID))
    await play.do(CancelAgent(agent_id=agent_id(ID, "reader"), project_id=ID))
    view = await overview(play)
    assert (view.status, view.reason, view.failed_agent) == ("failed", "agent_cancelled", "reader")
    assert (agent(view, "reader").status, view.phases[0].status) == ("cancelled", "failed")
    assert agent(view, "reader").failure
    await play.do(ResetProject(project_id=ID, what="failed"))
    view = await overview(play)
    assert (view.status, view.reason, view.failed_agent, view.ended_at) == ("initialized", None, None, None)
    assert (agent(view, "reader").run, agent(view, "reader").status, agent(view, "reader").job) == (2, "defined", None)
    assert [phase.status for phase in view.phases] == ["pending", "pending"]


async def test_an_agent_of_an_earlier_phase_that_runs_again_reopens_it(play: Play) -> None:
    await play.do(StartProject(project_id=ID))
    await run(play, "reader")
    await run(play, "checker")
    (wait,) = (await overview(play)).waiting
    assert isinstance(wait, WaitsForReview)
    held = agent(await overview(play), "checker").asset
    assert held
    decision: dict[str, Any] = {"decision": "approve", "digest": held.digest}
    await play.do(ResolveCheckpoint(project_id=ID, checkpoint_id=wait.checkpoint_id, **decision))
    await play.do(ResetAgent(agent_id=agent_id(ID, "checker")))
    view = await overview(play)
    assert (view.phase, [phase.status for phase in view.phases]) == ("collect", ["running", "pending"])


async def test_a_pause_and_a_cancel_say_why(play: Play) -> None:
    await play.do(StartProject(project_id=ID), PauseProject(project_id=ID, reason="lunch", note=WHISPER))
    view = await overview(play)
    assert (view.status, view.reason) == ("paused", "lunch")
    assert str(view.note).startswith("s1.")
    await play.do(ResumeProject(project_id=ID))
    view = await overview(play)
    assert (view.status, view.reason, view.note) == ("running", None, None)
    await play.do(CancelProject(project_id=ID))
    view = await overview(play)
    assert (view.status, view.phases[0].status, view.waiting) == ("cancelled", "cancelled", ())


async def test_an_overview_of_the_past_is_what_it_was(play: Play) -> None:
    before = await overview(play)
    position = len(play.events)
    await play.do(ChangeProjectSettings(project_id=ID, name="Tides II"), StartProject(project_id=ID))
    assert (await overview(play)).name == "Tides II"
    assert await overview(play, up_to=position) == before


async def test_every_overview_of_a_town_agrees_with_its_aggregates() -> None:
    agents = busy().all(Agent)
    for project_id, project in busy().all(Project).items():
        view = await busy().fold(ProjectOverviews, project_id, project_id)
        assert isinstance(view, ProjectOverview)
        assert (view.status, view.phase, view.version) == (project.status, project.phase, project.version)
        lines = {each.name: each for phase in view.phases for each in phase.agents}
        assert lines.keys() == project.agents.keys()
        for name, line in lines.items():
            known = agents[line.id]
            assert (line.status, line.run, line.attempt) == (known.status, known.run, known.attempt), name
            assert line.retry_at == known.retry_at
            assert [each.id for each in line.waiting_for] == [each.id for each in known.waiting_for]
            if known.status in ("waiting", "completed") and known.asset:
                assert line.asset
                assert (line.asset.id, line.asset.version) == (known.asset.asset_id, known.asset.version)
                assert line.asset.name is not None
        assert sum(view.counts.values()) == len(lines)
        for status, count in view.counts.items():
            assert count == sum(line.status == status for line in lines.values())


def test_nothing_is_at_work_in_a_towns_projects_that_have_ended() -> None:
    ended = {each.id for each in busy().all(Project).values() if each.status in ("completed", "failed", "cancelled")}
    assert len({busy().all(Project)[each].status for each in ended}) > 1
    for agent in busy().all(Agent).values():
        if agent.project_id in ended:
            assert (agent.is_open, agent.retry_at, agent.reviewed_at) == (False, None, None)


async def test_projects_are_listed_the_newest_first_and_never_too_many(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, ProjectOverviews())
    async with reading(connections, ProjectOverviews) as read:
        whole = await projects(read.connection, limit=10_000)
        assert len(whole.items) == len(busy().all(Project))
        assert [each.created_at for each in whole.items] == sorted((e.created_at for e in whole.items), reverse=True)
        first = await projects(read.connection, limit=2)
        assert first.next
        rest = await projects(read.connection, limit=200, cursor=first.next)
        assert [*first.items, *rest.items] == [*whole.items]
        ended = await projects(read.connection, status=["completed", "failed"])
        assert {each.status for each in ended.items} == {"completed", "failed"}
        named = await projects(read.connection, text="PROJECT 1")
        assert named.items
        assert all("project 1" in each.name.lower() for each in named.items)
        card = whole.items[0]
        row = await ProjectOverviews.find(read.connection, card.id)
        assert row
        assert (card.counts, card.spent, card.version, card.position) == (
            row.view.counts,
            row.view.spent,
            row.view.version,
            row.position,
        )
        with pytest.raises(Refused, match="cursor"):
            await projects(read.connection, cursor="WzFd")
