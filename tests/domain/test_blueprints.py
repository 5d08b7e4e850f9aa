"""Blueprints as values: a graph that cannot run is refused, with names; what is left out is inherited."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.blueprints import AIConfig, Blueprint, BlueprintError, Problem, Review

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
Agents = dict[str, list[str]]


def agent(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "instructions": "Be brief.", "prompt": "Go.", "depends_on": depends_on, **fields}


def fields_of(*phases: tuple[dict[str, Any], ...], **fields: Any) -> dict[str, Any]:
    listed = tuple({"name": f"phase-{index}", "agents": agents} for index, agents in enumerate(phases, 1))
    return {"blueprint": 1, "name": "example", "description": "An example", "phases": listed, **fields}


def blueprint(*phases: tuple[dict[str, Any], ...], **fields: Any) -> Blueprint:
    return Blueprint.model_validate(fields_of(*phases, **fields))


def problems(*phases: tuple[dict[str, Any], ...], **fields: Any) -> list[str]:
    with pytest.raises(BlueprintError) as refused:
        blueprint(*phases, **fields)
    return [f"{problem.message}; {problem.fix}" for problem in refused.value.problems]


def test_a_diamond_over_two_phases_is_sound() -> None:
    made = blueprint((agent("a"), agent("b", "a"), agent("c", "a")), (agent("d", "b", "c"),))
    assert [each.name for each in made.agents] == ["a", "b", "c", "d"]
    assert made.ancestors("d") == {"a", "b", "c"}
    assert made.ancestors("a") == set()


def test_an_unknown_dependency_is_refused_with_the_name_that_was_meant() -> None:
    assert problems((agent("summary-draft"), agent("summary", "sumary-draft"))) == [
        "agent 'summary' depends on 'sumary-draft', which does not exist; did you mean 'summary-draft'?"
    ]


def test_an_unknown_dependency_without_a_likeness_is_refused_with_the_names_there_are() -> None:
    assert problems((agent("a"), agent("b", "xyz"))) == [
        "agent 'b' depends on 'xyz', which does not exist; known agents: a"
    ]


def test_a_circle_is_named_agent_by_agent() -> None:
    found = problems((agent("a", "c"), agent("b", "a"), agent("c", "b")))
    assert found == [
        "agents wait for each other: a -> c -> b -> a; remove one of these dependencies, for instance 'c' from 'a'"
    ]


def test_two_circles_are_both_named() -> None:
    found = problems((agent("a", "b"), agent("b", "a"), agent("x", "x")))
    assert sorted(text.partition(";")[0] for text in found) == [
        "agents wait for each other: a -> b -> a",
        "agents wait for each other: x -> x",
    ]


def test_of_many_circles_the_first_ten_are_named() -> None:
    assert len(problems(tuple(agent(f"a{index}", f"a{index}") for index in range(15)))) == 10


def test_a_blueprint_has_at_most_a_thousand_agents() -> None:
    phases = [tuple(agent(f"a{phase}-{index}") for index in range(501)) for phase in range(2)]
    assert problems(*phases) == [
        "the blueprint has 1002 agents; 1000 are allowed; split the work into several projects"
    ]


def test_an_agent_cannot_wait_for_a_later_phase() -> None:
    assert problems((agent("a", "b"),), (agent("b"),)) == [
        (
            "agent 'a' of phase 'phase-1' depends on 'b' of the later phase 'phase-2'; "
            "move 'a' to phase 'phase-2', or remove the dependency"
        )
    ]


def test_names_are_used_once_also_across_phases() -> None:
    assert problems((agent("a"),), (agent("a"),)) == ["two agents are called 'a'; give each agent a name of its own"]


def test_two_phases_cannot_share_a_name() -> None:
    phase = {"name": "same", "agents": (agent("a"),)}
    with pytest.raises(BlueprintError, match="two phases are called 'same'"):
        Blueprint.model_validate(fields_of() | {"phases": (phase, {**phase, "agents": (agent("b"),)})})


def test_an_empty_phase_and_an_empty_blueprint_are_refused() -> None:
    assert problems(()) == ["phase 'phase-1' has no agents; add an agent, or remove the phase"]
    assert problems() == ["the blueprint has no phases; add at least one phase with an agent"]


def test_a_dependency_named_twice_is_refused() -> None:
    assert problems((agent("a"), agent("b", "a", "a"))) == ["agent 'b' names 'a' twice; name it once"]


def test_a_checkpoint_on_an_unknown_agent_is_refused() -> None:
    assert problems((agent("draft"),), quality={"checkpoints": ("drafts",)}) == [
        "quality.checkpoints names 'drafts', which is no agent of this blueprint; did you mean 'draft'?"
    ]


def test_two_agents_cannot_produce_the_same_asset() -> None:
    output = {"asset": "report.md"}
    assert problems((agent("a", output=output), agent("b", output=output))) == [
        "agents 'a' and 'b' both produce the asset 'report.md'; give each its own file name"
    ]
    of_b, fix = agent("a", output={"asset": "b.md"}), "give each its own file name"
    assert problems((of_b, agent("b"))) == [f"agents 'a' and 'b' both produce the asset 'b.md'; {fix}"]
    assert problems((agent("b"), of_b)) == [f"agents 'b' and 'a' both produce the asset 'b.md'; {fix}"]


def test_a_decision_is_waited_for_no_longer_than_ten_years() -> None:
    longest = blueprint((agent("a", checkpoint={"expires_in": "3650d"}),))
    assert [each.checkpoint and each.checkpoint.expires_after for each in longest.agents] == [timedelta(days=3650)]
    assert problems((agent("a", checkpoint={"expires_in": "999999h"}),)) == [
        "the checkpoint of agent 'a' would wait for 41666 days; wait for 3650d at most"
    ]


def test_another_provider_needs_a_model_of_its_own() -> None:
    assert problems((agent("a", ai={"provider": "openai"}),), defaults={"provider": "scripted", "model": "m"}) == [
        "agent 'a' changes the provider to 'openai' but names no model; add the model that 'openai' is to use"
    ]


def test_inputs_that_templates_could_not_tell_apart_are_refused() -> None:
    spec = {"type": "text", "description": "x"}
    found = problems((agent("a"),), inputs={"max-items": spec, "max_items": spec})
    assert found[0].startswith("inputs 'max-items' and 'max_items' differ only in dash and underscore")


def test_all_problems_are_reported_at_once() -> None:
    assert len(problems((agent("a", "nobody"), agent("a")), quality={"checkpoints": ("who",)})) == 3


def test_ai_settings_left_out_are_inherited() -> None:
    made = blueprint(
        (agent("a", ai={"temperature": Decimal("0.9")}),),
        defaults={"provider": "scripted", "model": "scripted-1", "temperature": Decimal("0.2")},
    )
    (only,) = made.agents
    assert made.ai_for(only) == AIConfig(provider="scripted", model="scripted-1", temperature=Decimal("0.9"))


def test_retries_come_from_the_agent_or_from_quality() -> None:
    made = blueprint((agent("a", retries=0), agent("b")), quality={"retries": 4})
    assert [made.retries_for(each) for each in made.agents] == [0, 4]


def test_a_checkpoint_is_true_a_question_or_named_by_quality() -> None:
    asked = {"title": "Publish?", "question": "Is it true?", "expires_in": "36h"}
    made = blueprint(
        (agent("a", checkpoint=True), agent("b", checkpoint=asked), agent("c"), agent("d", checkpoint=False)),
        quality={"checkpoints": ("c",)},
    )
    reviews = [made.review_for(each) for each in made.agents]
    assert reviews == [Review(), Review(title="Publish?", question="Is it true?", expires_in="36h"), Review(), None]
    assert [review and review.expires_after for review in reviews] == [None, timedelta(hours=36), None, None]


@pytest.mark.parametrize("limit", [Decimal("0.5"), 1, "0", "-1", "1e3", "0.50 USD", "", "0.0000000000001", "01", None])
def test_a_budget_is_a_positive_amount_written_as_text(limit: object) -> None:
    with pytest.raises(ValidationError):
        blueprint((agent("a"),), budget={"limit": limit})


def test_a_budget_keeps_every_digit() -> None:
    made = blueprint((agent("a"),), budget={"limit": "0.500000000001"})
    assert made.budget is not None
    assert made.budget.limit == Decimal("0.500000000001")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Draft"},
        {"name": "-a"},
        {"retries": 11},
        {"retries": True},
        {"on_failure": "ignore"},
        {"prompt": ""},
        {"timeout_seconds": 0},
        {"output": {"asset": "../x"}},
        {"checkpoint": {"expires_in": "soon"}},
        {"ai": {"temperature": Decimal("2.1")}},
        {"tools": ()},
    ],
)
def test_a_field_that_does_not_fit_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        blueprint(({**agent("a"), **fields},))


def test_the_digest_ignores_spelled_out_defaults_and_sees_every_change() -> None:
    plain = blueprint((agent("a"),))
    assert plain.digest == blueprint((agent("a", on_failure="block", checkpoint=False),)).digest
    assert plain.digest != blueprint((agent("a", on_failure="skip"),)).digest
    assert len(plain.digest) == 64


def test_a_blueprint_survives_json() -> None:
    made = blueprint(
        (agent("a", checkpoint=True, ai={"temperature": Decimal("0.20")}),),
        budget={"limit": "0.50"},
        inputs={"n": {"type": "number", "description": "How many", "default": Decimal("2.5")}},
    )
    again = Blueprint.model_validate_json(made.model_dump_json())
    assert again.digest == made.digest


def test_a_problem_says_where_it_stands() -> None:
    problem = Problem("no name", "add one", ("phases", 0, "agents", 2, "name"))
    assert str(problem) == "phases[0].agents[2].name: no name; add one"
    assert str(Problem("no name", "add one", source="x.yaml", line=3)) == "x.yaml:3: no name; add one"
    assert str(Problem("no name", "add one", source="x.yaml")) == "x.yaml: no name; add one"
    assert str(Problem("no name", "add one")) == "no name; add one"


@st.composite
def _graphs(draw: st.DrawFn) -> Agents:
    names = [f"a{index}" for index in range(draw(st.integers(1, 8)))]
    return {name: draw(st.lists(st.sampled_from(names), unique=True, max_size=4)) for name in names}


def _reaches(graph: Agents, start: str, goal: str) -> bool:
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        if (name := ahead.pop()) == goal:
            return True
        if name not in seen:
            seen.add(name)
            ahead += graph[name]
    return False


@UNHURRIED
@given(_graphs())
def test_a_graph_is_refused_exactly_when_some_agent_waits_for_itself(graph: Agents) -> None:
    agents = tuple(agent(name, *others) for name, others in graph.items())
    if any(_reaches(graph, name, name) for name in graph):
        assert all("agents wait for each other" in text for text in problems(agents))
    else:
        made = blueprint(agents)
        assert all(made.ancestors(name) == {o for o in graph if _reaches(graph, name, o)} for name in graph)
