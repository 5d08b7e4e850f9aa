"""Stories of projects: how they are defined and how they live."""

import pytest

from commands.agents import AddAgent, CancelAgent, RemoveAgent, StartAgent
from commands.projects import (
    AddPhase,
    ArchiveProject,
    CancelProject,
    ChangeAiConfig,
    ChangeProjectSettings,
    ChangeQualitySettings,
    CheckPhase,
    CreateProject,
    GivenInput,
    InitializeProject,
    MarkReadyAgents,
    PauseProject,
    ResumeProject,
    StartProject,
)
from domain.errors import Conflict, NotFound, Refused
from domain.ids import agent_id
from domain.projects import Project, ProjectSettings, QualitySettings
from domain.values import AiConfig
from tests.commands.projects_stage import (
    DIAMOND,
    SCRIPTED,
    FinishAgentByHand,
    an_agent,
    build,
    statuses,
    the_project,
)
from tests.support.story import Story

ONE = {"write": {"writer": []}}


async def test_a_project_is_created_with_its_free_text_sealed(story: Story) -> None:
    project = story.id("project")
    await story.when(CreateProject(project_id=project, name="Tides", description="Why the sea moves"))
    (created,) = story.then("project.created")
    assert (created["project_id"], created["name"]) == (str(project), "Tides")
    assert await story.unsealed(created["description"]) == "Why the sea moves"
    assert story.events[0].project_id == project
    assert the_project(story).status == "created"


async def test_an_id_is_taken_once(story: Story) -> None:
    await story.given(CreateProject(project_id=story.id("project"), name="Tides"))
    await story.when(CreateProject(project_id=story.id("project"), name="Tides again"))
    story.then_refused(Conflict)


async def test_adding_an_agent_is_one_append_on_both_sides(story: Story) -> None:
    project = story.id("project")
    await story.given(CreateProject(project_id=project, name="Tides"), AddPhase(project_id=project, name="write"))
    await story.when(
        AddAgent(project_id=project, phase="write", name="writer", prompt="Write {{ inputs.topic }}", retries=1)
    )
    added, defined = story.then("project.agent_added", "agent.defined")
    assert added["agent_id"] == str(agent_id(project, "writer"))
    assert (added["depends_on"], added["on_failure"], added["retries"]) == ([], "block", 1)
    assert await story.unsealed(defined["prompt"]) == "Write {{ inputs.topic }}"
    assert defined["instructions"] is None


@pytest.mark.parametrize(
    ("kind", "code", "saying", "over"),
    [
        (Refused, "unknown_agent", "known are writer", {"depends_on": ["wrtier"]}),
        (Refused, "cycle", "editor -> editor", {"depends_on": ["editor"]}),
        (Refused, "unknown_phase", "known are write, check", {"phase": "chekc"}),
        (Refused, "later_phase", "later phase check", {"phase": "write", "depends_on": ["checker"]}),
        (Conflict, "conflict", "already an agent called writer", {"name": "writer"}),
    ],
)
async def test_an_agent_must_fit_into_the_graph(
    story: Story, kind: type[Refused], code: str, saying: str, over: dict[str, object]
) -> None:
    project = await build(story, {"write": {"writer": []}, "check": {"checker": ["writer"]}}, initialized=False)
    facts: dict[str, object] = {"project_id": project, "phase": "check", "name": "editor"}
    await story.when(AddAgent.model_validate(facts | over))
    story.then_refused(kind, code=code, saying=saying)


async def test_an_agent_of_no_phase_at_all_is_told_so(story: Story) -> None:
    project = await build(story, {}, initialized=False)
    await story.when(AddAgent(project_id=project, phase="write", name="writer"))
    story.then_refused(Refused, code="unknown_phase", saying="there are none yet")


async def test_many_names_are_not_all_listed(story: Story) -> None:
    project = await build(story, {"write": {f"writer-{n}": [] for n in range(9)}}, initialized=False)
    await story.when(AddAgent(project_id=project, phase="write", name="editor", depends_on=["nobody"]))
    refusal = story.then_refused(Refused, code="unknown_agent", saying="writer-7, ...")
    assert "writer-8" not in str(refusal)


async def test_phases_have_names_of_their_own_and_a_ceiling(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    project = await build(story, ONE, initialized=False)
    await story.when(AddPhase(project_id=project, name="write"))
    story.then_refused(Conflict, saying="already a phase called write")
    monkeypatch.setattr("domain.projects.project.MAX_PHASES", 1)
    await story.when(AddPhase(project_id=project, name="check"))
    story.then_refused(Refused, code="too_many_phases")


async def test_agents_have_a_ceiling(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    project = await build(story, ONE, initialized=False)
    monkeypatch.setattr("domain.projects.graph.MAX_AGENTS", 1)
    await story.when(AddAgent(project_id=project, phase="write", name="editor"))
    story.then_refused(Refused, code="too_many_agents")


async def test_an_agent_that_others_need_is_not_removed(story: Story) -> None:
    project = await build(story, DIAMOND)
    await story.when(RemoveAgent(agent_id=agent_id(project, "top")))
    story.then_refused(Refused, code="agent_needed", saying="left, right depend on top")
    await story.when(RemoveAgent(agent_id=agent_id(project, "join")))
    _, removed = story.then("agent.removed", "project.agent_removed")
    assert removed == {"agent_id": str(agent_id(project, "join")), "name": "join"}
    assert list(the_project(story).agents) == ["top", "left", "right"]
    await story.when(RemoveAgent(agent_id=agent_id(project, "join")))
    story.then_refused(NotFound)


async def test_the_name_of_a_removed_agent_can_be_given_again(story: Story) -> None:
    project = await build(story, {"write": {"writer": [], "editor": []}, "check": {"checker": []}})
    await story.given(RemoveAgent(agent_id=agent_id(project, "editor")))
    await story.when(AddAgent(project_id=project, phase="check", name="editor", depends_on=["writer"], retries=0))
    story.then("project.agent_added", "agent.redefined")
    editor = an_agent(story, "editor")
    assert (editor.status, editor.phase, editor.run, editor.definition.retries) == ("defined", "check", 2, 0)


async def test_a_project_without_work_is_not_initialized(story: Story) -> None:
    project = await build(story, {}, initialized=False)
    await story.when(InitializeProject(project_id=project))
    story.then_refused(Refused, code="nothing_to_run", saying="no phases")
    await story.given(AddPhase(project_id=project, name="write"))
    await story.when(InitializeProject(project_id=project))
    story.then_refused(Refused, code="nothing_to_run", saying="phase write has no agents")


async def test_inputs_are_sealed_and_named_once(story: Story) -> None:
    project = await build(story, ONE, initialized=False)
    twice = [GivenInput(name="topic", text="tides"), GivenInput(name="topic", text="moon")]
    await story.when(InitializeProject(project_id=project, inputs=twice))
    story.then_refused(Refused, code="input_given_twice")
    await story.when(InitializeProject(project_id=project, inputs=twice[:1]))
    (said,) = story.then("project.initialized")
    assert await story.unsealed(said["inputs"][0]["text"]["sealed"]) == "tides"
    assert the_project(story).inputs[0].name == "topic"
    stored = the_project(story).inputs[0].text.model_copy(update={"sealed": None})
    await story.when(InitializeProject(project_id=project, inputs=[GivenInput(name="notes", kind="file", text=stored)]))
    (said,) = story.then("project.initialized")
    assert said["inputs"][0]["text"] == {"digest": stored.digest, "size": 5, "sealed": None}
    await story.when(InitializeProject(project_id=project, inputs=[GivenInput(name="notes", text="x" * 20_000)]))
    story.then_refused(Refused, code="text_too_long")


async def test_a_project_runs_pauses_and_goes_on(story: Story) -> None:
    project = await build(story, ONE)
    await story.when(PauseProject(project_id=project))
    story.then_refused(Refused, code="wrong_status", saying="it must be running to be paused")
    await story.when(StartProject(project_id=project))
    assert story.then("project.started") == [{"phase": "write", "key_id": None}]
    await story.when(PauseProject(project_id=project, note="lunch"))
    (paused,) = story.then("project.paused")
    assert paused["reason"] == "requested"
    assert await story.unsealed(paused["note"]) == "lunch"
    await story.when(StartProject(project_id=project))
    story.then_refused(Refused, code="wrong_status")
    await story.when(ResumeProject(project_id=project))
    story.then("project.resumed")
    assert the_project(story).status == "running"
    await story.when(ResumeProject(project_id=project))
    story.then_refused(Refused, code="wrong_status")


async def test_a_started_project_keeps_its_graph(story: Story) -> None:
    project = await build(story, ONE, started=True)
    for command in (
        AddPhase(project_id=project, name="more"),
        AddAgent(project_id=project, phase="write", name="editor"),
        RemoveAgent(agent_id=agent_id(project, "writer")),
        InitializeProject(project_id=project),
    ):
        await story.when(command)
        story.then_refused(Refused, code="wrong_status")


async def test_what_was_changed_after_initializing_is_checked_again_at_the_start(story: Story) -> None:
    project = await build(story, ONE)
    await story.given(RemoveAgent(agent_id=agent_id(project, "writer")))
    await story.when(StartProject(project_id=project))
    story.then_refused(Refused, code="nothing_to_run")


@pytest.mark.parametrize(
    ("own", "ai", "saying"),
    [
        (AiConfig(), AiConfig(), "no provider"),
        (AiConfig(), AiConfig(provider="scripted"), "no model"),
        (AiConfig(provider="openai"), SCRIPTED, "openai but no model of its own"),
    ],
)
async def test_no_project_starts_with_an_agent_without_a_model(
    story: Story, own: AiConfig, ai: AiConfig, saying: str
) -> None:
    project = await build(story, ONE, writer={"ai": own})
    await story.given(ChangeAiConfig(project_id=project, ai=ai))
    await story.when(StartProject(project_id=project))
    refusal = story.then_refused(Refused, code="ai_config_missing", saying=saying)
    assert refusal.details["agent"] == "writer"


async def test_an_agents_own_model_is_enough(story: Story) -> None:
    project = await build(story, ONE, writer={"ai": SCRIPTED})
    await story.given(ChangeAiConfig(project_id=project, ai=AiConfig()))
    await story.when(StartProject(project_id=project))
    story.then("project.started")
    await story.when(ChangeAiConfig(project_id=project, ai=AiConfig(provider="openai")))
    story.then("project.ai_config_changed")


async def test_a_project_under_way_keeps_a_model_for_every_agent(story: Story) -> None:
    project = await build(story, ONE, started=True)
    await story.when(ChangeAiConfig(project_id=project, ai=AiConfig()))
    story.then_refused(Refused, code="ai_config_missing")
    await story.when(ChangeAiConfig(project_id=project, ai=SCRIPTED))
    story.then()


async def test_settings_change_as_a_whole_and_only_when_they_differ(story: Story) -> None:
    project = await build(story, ONE)
    await story.when(ChangeProjectSettings(project_id=project))
    story.then()
    await story.when(ChangeProjectSettings(project_id=project, description="New"))
    (said,) = story.then("project.settings_changed")
    assert await story.unsealed(said["description"]) == "New"
    settings = ProjectSettings(priority=7, job_attempts=1)
    await story.when(ChangeProjectSettings(project_id=project, name="Moon", settings=settings))
    story.then("project.settings_changed")
    assert (the_project(story).name, the_project(story).settings) == ("Moon", settings)


async def test_quality_settings_name_agents_that_exist(story: Story) -> None:
    project = await build(story, {}, initialized=False)
    early = QualitySettings(checkpoints=["editor"], retries=0)
    await story.when(ChangeQualitySettings(project_id=project, quality=early))
    story.then("project.quality_settings_changed")
    await story.given(AddPhase(project_id=project, name="write"))
    await story.given(AddAgent(project_id=project, phase="write", name="writer"))
    await story.when(InitializeProject(project_id=project))
    story.then_refused(Refused, code="unknown_agent", saying="editor")
    await story.given(ChangeQualitySettings(project_id=project, quality=QualitySettings(checkpoints=["writer"])))
    await story.given(InitializeProject(project_id=project))
    await story.when(ChangeQualitySettings(project_id=project, quality=early))
    story.then_refused(Refused, code="unknown_agent")
    await story.when(ChangeQualitySettings(project_id=project, quality=the_project(story).quality))
    story.then()
    assert the_project(story).wants_review("writer")


async def test_cancelling_stops_every_agent_at_work_in_the_same_append(story: Story) -> None:
    project = await build(story, DIAMOND, started=True)
    await story.given(MarkReadyAgents(project_id=project), StartAgent(agent_id=agent_id(project, "top"), run=1))
    await story.given(FinishAgentByHand(agent_id=agent_id(project, "top")), MarkReadyAgents(project_id=project))
    await story.given(StartAgent(agent_id=agent_id(project, "left"), run=1))
    job = an_agent(story, "left").job_id
    await story.when(CancelProject(project_id=project, note="too dear"))
    project_said, left, right = story.then("project.cancelled", "agent.cancelled", "agent.cancelled")
    assert await story.unsealed(project_said["note"]) == "too dear"
    assert (left["reason"], left["job_id"]) == ("project_cancelled", str(job))
    assert right["job_id"] is None
    assert statuses(story) == {"top": "completed", "left": "cancelled", "right": "cancelled", "join": "defined"}
    await story.when(CancelProject(project_id=project))
    story.then_refused(Refused, code="wrong_status")
    await story.when(CancelAgent(agent_id=agent_id(project, "join"), project_id=project))
    story.then_refused(Refused, code="wrong_status")


async def test_only_what_has_ended_is_archived_and_then_it_stays_as_it_is(story: Story) -> None:
    project = await build(story, ONE)
    await story.when(ArchiveProject(project_id=project))
    story.then_refused(Refused, code="wrong_status")
    await story.given(CancelProject(project_id=project))
    await story.when(ArchiveProject(project_id=project))
    story.then("project.archived")
    await story.when(ChangeProjectSettings(project_id=project, name="Late"))
    story.then_refused(Refused, code="wrong_status", saying="archived")


@pytest.mark.parametrize("asked", [MarkReadyAgents, CheckPhase])
async def test_reactions_leave_a_project_alone_that_does_not_run(
    story: Story, asked: type[MarkReadyAgents | CheckPhase]
) -> None:
    project = await build(story, ONE)
    await story.when(asked(project_id=project))
    story.then_refused(Refused, code="not_due")


async def test_a_projects_state_survives_a_snapshot(story: Story) -> None:
    project = await build(story, DIAMOND, started=True, join={"ai": SCRIPTED, "checkpoint": {"title": "Look"}})
    for found in (the_project(story), an_agent(story, "join")):
        assert type(found).from_snapshot(found.id, found.version, found.snapshot()) == found
    assert story.state(Project, project).ancestors_of("join") == ["top", "left", "right"]
    with pytest.raises(NotFound):
        story.state(Project, project).node("nobody")
