"""The graph of a project's agents, against graphs made at random and a second, slower way to walk them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Refused
from domain.projects import AgentNode, NewAgent
from domain.projects.graph import ancestors, dependents, grown
from domain.values import derived_id

PHASES = ("one", "two", "three")


def an_agent(name: str, phase: str, needs: Sequence[str]) -> NewAgent:
    """An agent that joins."""
    return NewAgent(agent_id=derived_id(name), name=name, phase=phase, depends_on=list(needs))


@st.composite
def sound_graphs(draw: st.DrawFn) -> list[NewAgent]:
    """Agents whose dependencies all lie before them, in a shuffled order."""
    count = draw(st.integers(1, 12))
    phases = sorted(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    agents: list[NewAgent] = []
    for n in range(count):
        earlier = [each.name for each in agents]
        needs = draw(st.sets(st.sampled_from(earlier), max_size=3)) if earlier else set[str]()
        agents.append(an_agent(f"a{n}", PHASES[phases[n]], sorted(needs)))
    return draw(st.permutations(agents))


def reaches(nodes: Mapping[str, AgentNode], start: str, goal: str) -> bool:
    """Whether one agent waits for another, tried path by path."""
    return any(each == goal or reaches(nodes, each, goal) for each in nodes[start].depends_on)


@given(sound_graphs())
def test_a_sound_graph_is_taken_in_an_order_that_can_be_run(agents: list[NewAgent]) -> None:
    order = grown(PHASES, {}, agents)
    assert sorted(node.name for node in order) == sorted(node.name for node in agents)
    seen: set[str] = set()
    for node in order:
        assert seen.issuperset(node.depends_on)
        seen.add(node.name)
    assert [node.phase for node in order] == sorted((node.phase for node in order), key=PHASES.index)


@given(sound_graphs())
def test_dependents_and_ancestors_are_everything_that_can_be_reached(agents: list[NewAgent]) -> None:
    nodes = {node.name: node for node in grown(PHASES, {}, agents)}
    for name in nodes:
        assert dependents(nodes, [name]) == [each for each in nodes if reaches(nodes, each, name)]
        assert ancestors(nodes, name) == [each for each in nodes if reaches(nodes, name, each)]


@given(sound_graphs(), st.data())
def test_a_circle_is_refused_and_shown(agents: list[NewAgent], data: st.DataObject) -> None:
    nodes = {node.name: node.model_copy(update={"phase": "one"}) for node in agents}
    last = data.draw(st.sampled_from(sorted(nodes)))
    first = data.draw(st.sampled_from([last, *(name for name in sorted(nodes) if reaches(nodes, last, name))]))
    broken = nodes[first].model_copy(update={"depends_on": [*nodes[first].depends_on, last]})
    with pytest.raises(Refused, match="wait for each other") as refusal:
        grown(PHASES, {}, [*(node for node in nodes.values() if node.name != first), broken])
    assert refusal.value.code == "cycle"
    circle = str(refusal.value).partition(": ")[2].partition(";")[0].split(" -> ")
    needs = {node.name: node.depends_on for node in [*nodes.values(), broken]}
    assert circle[0] == circle[-1]
    assert all(wanted in needs[name] for name, wanted in pairwise(circle))
