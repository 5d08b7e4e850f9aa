"""The graph of a project's agents: who waits for whom, and whether that can ever be run."""

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Literal
from uuid import UUID

from pydantic import Field

from domain.errors import Conflict, Refused
from domain.values import Slug, Value

OnFailure = Literal["block", "skip"]
MAX_AGENTS = 1_000
MAX_PHASES = 100


class AgentNode(Value):
    """An agent, as far as the graph is concerned."""

    agent_id: UUID
    name: Slug
    phase: Slug
    depends_on: list[Slug] = Field(default_factory=list[Slug])


class NewAgent(AgentNode):
    """An agent that joins the graph, with what the log says of it besides."""

    on_failure: OnFailure = "block"
    retries: int | None = None


def grown(phases: Sequence[str], existing: Mapping[str, AgentNode], added: Sequence[NewAgent]) -> Sequence[NewAgent]:
    """The added agents, dependencies first; refused when they do not fit in with the phases and the others."""
    nodes = dict(existing)
    for node in added:
        if node.name in nodes:
            raise Conflict(f"there is already an agent called {node.name}: choose another name")
        if node.phase not in phases:
            raise Refused(
                f"agent {node.name} is put into phase {node.phase}, which does not exist: "
                f"add the phase first ({_listed(phases, 'there are none yet')})",
                code="unknown_phase",
            )
        nodes[node.name] = node
    if len(nodes) > MAX_AGENTS:
        raise Refused(f"a project has at most {MAX_AGENTS} agents: split the work", code="too_many_agents")
    phase_of = {name: phases.index(node.phase) for name, node in nodes.items()}
    for node in added:
        for wanted in node.depends_on:
            _check_dependency(node, wanted, nodes, phase_of)
    rank = _ranks(nodes)
    return sorted(added, key=lambda node: (phase_of[node.name], rank[node.name]))


def dependents(nodes: Mapping[str, AgentNode], names: Iterable[str]) -> Sequence[str]:
    """Everything that waits for one of these, however far on; `nodes` stand dependencies first."""
    reached = set(names)
    found: list[str] = []
    for node in nodes.values():
        if node.name not in reached and not reached.isdisjoint(node.depends_on):
            reached.add(node.name)
            found.append(node.name)
    return found


def ancestors(nodes: Mapping[str, AgentNode], name: str) -> Sequence[str]:
    """Everything that this agent waits for, however far back, dependencies first."""
    wanted = set(nodes[name].depends_on)
    for node in reversed(list(nodes.values())):
        if node.name in wanted:
            wanted.update(node.depends_on)
    return [each for each in nodes if each in wanted]


def _check_dependency(
    node: AgentNode, wanted: str, nodes: Mapping[str, AgentNode], phase_of: Mapping[str, int]
) -> None:
    if wanted not in nodes:
        raise Refused(
            f"agent {node.name} depends on {wanted}, which does not exist: add {wanted} first "
            f"({_listed(nodes, 'there are none yet')})",
            code="unknown_agent",
        )
    if phase_of[wanted] > phase_of[node.name]:
        raise Refused(
            f"agent {node.name} of phase {node.phase} depends on {wanted} of the later phase {nodes[wanted].phase}: "
            f"move {node.name} there, or remove the dependency",
            code="later_phase",
        )


def _ranks(nodes: Mapping[str, AgentNode]) -> Mapping[str, int]:
    try:
        order = TopologicalSorter({name: node.depends_on for name, node in nodes.items()}).static_order()
        return {name: at for at, name in enumerate(order)}
    except CycleError as error:
        # graphlib names each agent before the one that waits for it; people read the other way round.
        circle = " -> ".join(error.args[1][::-1])
        raise Refused(f"agents wait for each other: {circle}; remove one of these dependencies", code="cycle") from None


def _listed(names: Iterable[str], none: str) -> str:
    known = list(names)
    more = ", ..." if len(known) > 8 else ""
    return f"known are {', '.join(known[:8])}{more}" if known else none
