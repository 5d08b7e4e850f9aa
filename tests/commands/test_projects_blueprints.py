"""Stories of projects made from blueprints: everything in one append, or nothing."""

from decimal import Decimal
from typing import Any

import pytest

from commands.projects import CreateProject, CreateProjectFromBlueprint, GivenInput, StartProject
from domain.blueprints import Blueprint
from domain.budgets import Budget
from domain.errors import Conflict, Refused
from domain.ids import Scope, agent_id, budget_id
from tests.commands.projects_stage import an_agent, the_project
from tests.support.story import Story

PANEL: dict[str, Any] = {
    "blueprint": 1,
    "name": "review-panel",
    "description": "Two reviewers and a verdict",
    "inputs": {"diff": {"type": "text", "description": "What changed"}},
    "budget": {"limit": "1.50"},
    "defaults": {"provider": "scripted", "model": "scripted-small", "temperature": Decimal("0.2")},
    "quality": {"checkpoints": ("security",), "retries": 1, "minimum_score": Decimal("0.5")},
    "phases": (
        {
            "name": "review",
            "budget": {"limit": "1"},
            "agents": (
                {
                    "name": "verdict",
                    "instructions": "Decide",
                    "prompt": "{{ outputs.security }} {{ outputs.style }}",
                    "depends_on": ("security", "style"),
                    "checkpoint": {"title": "Merge?", "question": "Is it good?", "expires_in": "2h"},
                    "output": {"asset": "verdict.md"},
                    "budget": {"limit": "0.25"},
                    "ai": {"max_output_tokens": 100},
                },
                {"name": "security", "instructions": "Attack", "prompt": "{{ inputs.diff }}", "on_failure": "skip"},
                {"name": "style", "instructions": "Nag", "prompt": "{{ inputs.diff }}", "checkpoint": True},
            ),
        },
    ),
}
DIFF = GivenInput(name="diff", text="- a\n+ b")


def from_blueprint(story: Story, **over: Any) -> CreateProjectFromBlueprint:
    """The panel, as a project."""
    facts: dict[str, Any] = {"blueprint": Blueprint.model_validate(PANEL), "inputs": [DIFF]}
    return CreateProjectFromBlueprint(project_id=story.id("project"), **(facts | over))


async def test_a_blueprint_becomes_a_project_that_can_be_started(story: Story) -> None:
    await story.when(from_blueprint(story))
    said = story.then(
        "project.created",
        "project.phase_added",
        *["project.agent_added"] * 3,
        "project.initialized",
        *["agent.defined"] * 3,
        *["budget.opened"] * 3,
    )
    created = said[0]
    assert (created["name"], created["blueprint_name"]) == ("review-panel", "review-panel")
    assert created["blueprint_digest"] == Blueprint.model_validate(PANEL).digest
    assert await story.unsealed(created["description"]) == "Two reviewers and a verdict"
    assert created["quality"] == {"checkpoints": ["security"], "retries": 1, "minimum_score": "0.5"}
    assert [each["name"] for each in said[2:5]] == ["security", "style", "verdict"], "dependencies come first"
    assert await story.unsealed(said[5]["inputs"][0]["text"]["sealed"]) == "- a\n+ b"
    await story.when(StartProject(project_id=story.id("project")))
    story.then("project.started")


async def test_an_agent_is_defined_as_the_blueprint_says(story: Story) -> None:
    await story.given(from_blueprint(story))
    verdict = an_agent(story, "verdict").definition
    assert verdict.checkpoint is not None
    assert (verdict.checkpoint.title, verdict.checkpoint.expires_in_seconds) == ("Merge?", 7200)
    assert (verdict.output_name, verdict.media_type, verdict.ai.max_output_tokens) == (
        "verdict.md",
        "text/markdown",
        100,
    )
    assert verdict.prompt is not None
    assert await story.unsealed(verdict.prompt) == "{{ outputs.security }} {{ outputs.style }}"
    style = an_agent(story, "style").definition
    assert style.checkpoint is not None
    assert (style.checkpoint.expires_in_seconds, style.retries, style.output_name) == (None, None, None)
    assert an_agent(story, "security").definition.on_failure == "skip"
    assert the_project(story).ai.temperature == Decimal("0.2")


async def test_its_limits_become_budgets_of_their_scopes(story: Story) -> None:
    await story.given(from_blueprint(story))
    project = story.id("project")
    limits = [
        (Scope(kind="project", project_id=project), "1.5"),
        (Scope(kind="phase", project_id=project, phase="review"), "1"),
        (Scope(kind="agent", project_id=project, agent_id=agent_id(project, "verdict")), "0.25"),
    ]
    for scope, limit in limits:
        assert story.state(Budget, budget_id(scope)).limit == Decimal(limit)


async def test_a_limit_and_a_name_given_at_the_start_come_before_the_blueprints(story: Story) -> None:
    await story.given(from_blueprint(story, budget_limit=Decimal(3), name="Panel for 42"))
    scope = Scope(kind="project", project_id=story.id("project"))
    assert story.state(Budget, budget_id(scope)).limit == 3
    assert the_project(story).name == "Panel for 42"


async def test_without_limits_nothing_is_limited(story: Story) -> None:
    agent = {"name": "writer", "instructions": "Write", "prompt": "Now"}
    plain = {"blueprint": 1, "name": "plain", "description": "One", "phases": ({"name": "write", "agents": (agent,)},)}
    await story.when(from_blueprint(story, blueprint=Blueprint.model_validate(plain), inputs=[]))
    story.then("project.created", "project.phase_added", "project.agent_added", "project.initialized", "agent.defined")


@pytest.mark.parametrize(
    ("inputs", "code", "saying"),
    [
        ([], "input_missing", "diff"),
        ([DIFF, GivenInput(name="dif", text="?")], "unknown_input", "dif"),
        ([DIFF, DIFF], "input_given_twice", "same name"),
        ([GivenInput(name="diff", text="x" * 20_000)], "text_too_long", "store it first"),
    ],
)
async def test_a_refusal_leaves_nothing_behind(story: Story, inputs: list[GivenInput], code: str, saying: str) -> None:
    await story.when(from_blueprint(story, inputs=inputs))
    story.then_refused(Refused, code=code, saying=saying)


async def test_a_project_is_made_once(story: Story) -> None:
    await story.given(CreateProject(project_id=story.id("project"), name="Other"))
    await story.when(from_blueprint(story))
    story.then_refused(Conflict)


async def test_the_same_key_makes_the_same_project_once(story: Story) -> None:
    first = await story.send(from_blueprint(story), key="k")
    again = await story.send(from_blueprint(story), key="k")
    assert (again.repeated, again.position) == (True, first.position)


async def test_a_large_blueprint_is_one_quick_append(story: Story) -> None:
    agents = tuple(
        {
            "name": f"agent-{n}",
            "instructions": "Do",
            "prompt": "It",
            "depends_on": tuple(f"agent-{each}" for each in range(max(0, n - 2), n)),
        }
        for n in range(300)
    )
    large = {"blueprint": 1, "name": "large", "description": "Many", "phases": ({"name": "work", "agents": agents},)}
    await story.when(from_blueprint(story, blueprint=Blueprint.model_validate(large), inputs=[]))
    assert len(story.events) == 3 + 2 * 300
    assert {each.command_id for each in story.events} == {story.events[0].command_id}
