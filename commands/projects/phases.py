"""What moves a project on: agents whose dependencies are there become ready, phases that are through make way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar
from uuid import UUID

from commands.handling import Command, handler
from commands.projects.stopping import AtWork, agents_of
from commands.work import UnitOfWork
from domain.agents import Agent
from domain.errors import Refused
from domain.projects import AgentNode, Project

T = TypeVar("T")
FIRST_LOOK = 16
"""Agents of a phase that are read before more of them are."""


class MarkReadyAgents(Command, permission="projects.advance"):
    """Make agents of the present phase ready whose dependencies are completed: all, or those after one agent."""

    project_id: UUID
    agent_id: UUID | None = None


class CheckPhase(Command, permission="projects.advance"):
    """Go on to the next phase, or end the project, when nothing of the present phase is left to run."""

    project_id: UUID
    agent_id: UUID | None = None
    """The agent that has ended: whatever else goes on is most likely found near it."""


@handler
def mark_ready_agents(command: MarkReadyAgents, work: UnitOfWork) -> None:
    """Those that wait for an agent that was passed over, or failed without blocking, are passed over too."""
    project, nodes = _present_phase(command.project_id, work)
    if command.agent_id:
        nodes = _behind(project, nodes, work.get(Agent, command.agent_id), work)
    outlooks = _outlooks(project, nodes, work)
    due = [each for each in outlooks if each.fate in ("can run", "will be skipped")]
    if not due:
        raise Refused(f"no agent of project {project.name} has become ready", code="not_due")
    for each in due:
        if each.fate == "can run":
            each.agent.make_ready()
        else:
            each.agent.skip(each.because)


def _behind(project: Project, nodes: Sequence[AgentNode], ended: Agent, work: UnitOfWork) -> list[AgentNode]:
    """Those that wait for the agent that has ended, but for those that certainly wait for others too.

    Of a thousand dependencies the ones next to each other tend to run at the same time: a few of them tell.
    """
    behind = [node for node in nodes if ended.name in node.depends_on]
    if ended.status != "completed":
        return behind
    near = {node.name: _around(node.depends_on, node.depends_on.index(ended.name), FIRST_LOOK) for node in behind}
    looked_at = {name for names in near.values() for name in names}
    agents = work.get_all(Agent, [project.node(name).agent_id for name in sorted(looked_at)])
    at_work = {agent.name for agent in agents if agent.is_open}
    return [node for node in behind if at_work.isdisjoint(near[node.name])]


def _around(these: Sequence[T], at: int, reach: int) -> Sequence[T]:
    return these[max(0, at - reach) : at + reach]


@handler
def check_phase(command: CheckPhase, work: UnitOfWork) -> None:
    """A failure that blocks ends the project only once nothing else can run: independent branches go to their end."""
    project, nodes = _present_phase(command.project_id, work)
    not_through = Refused(f"phase {project.current_phase} of project {project.name} is not through", code="not_due")
    at = next((at for at, node in enumerate(nodes) if node.agent_id == command.agent_id), len(nodes))
    if (
        _any_open(nodes, at, FIRST_LOOK, work)
        or _goes_on_behind(project, nodes, at, work)
        or _any_at_work(nodes, at, work)
    ):
        raise not_through
    outlooks = _outlooks(project, nodes, work)
    left = [each for each in outlooks if each.fate not in THROUGH]
    if not left:
        project.finish_phase()
        return
    if any(each.fate not in STUCK for each in left):
        raise not_through
    at_work = AtWork.of(agents_of(project, work), work)  # of later phases, when the project has gone back to this one
    culprits = [each.agent for each in left if each.fate == "blocks"]
    if culprits:
        project.fail(f"agent_{culprits[0].status}", culprits[0].name)
    else:
        project.fail("nothing_can_run", None)
    at_work.cancel("project_failed")


def _goes_on_behind(project: Project, nodes: Sequence[AgentNode], at: int, work: UnitOfWork) -> bool:
    """Whether one that waited for the agent at this place runs or is about to; the usual end of a check."""
    ended = {node.name for node in nodes[at : at + 1]}
    behind = [
        node for node in nodes[at:] if not ended.isdisjoint(node.depends_on) and len(node.depends_on) <= FIRST_LOOK
    ]
    return any(each.fate in GOES_ON for each in _outlooks(project, behind[:FIRST_LOOK], work))


def _any_at_work(nodes: Sequence[AgentNode], at: int, work: UnitOfWork) -> bool:
    """Whether a run has not ended, told by as few agents as possible: those near this place, then ever more of them."""
    seen = FIRST_LOOK
    while not _any_open(nodes, at, seen, work):
        if seen > at and at + seen >= len(nodes):
            return False
        seen *= 4
    return True


def _any_open(nodes: Sequence[AgentNode], at: int, seen: int, work: UnitOfWork) -> bool:
    near = [node.agent_id for node in _around(nodes, at, seen)]
    return any(agent.is_open for agent in work.get_all(Agent, near))


Fate = Literal["completed", "passed over", "blocks", "at work", "will be skipped", "is stuck", "can run", "waits"]
THROUGH: frozenset[Fate] = frozenset({"completed", "passed over"})
STUCK: frozenset[Fate] = frozenset({"blocks", "is stuck"})
GOES_ON: frozenset[Fate] = frozenset({"at work", "will be skipped", "can run"})
"""Certain also where no more is known than the agents that one depends on."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What has become of an agent, or will as things stand; `because` names the agent whose failure decided it."""

    agent: Agent
    fate: Fate
    because: str = ""

    @classmethod
    def of(cls, agent: Agent, needed: Iterable["Outlook"]) -> "Outlook":
        """An agent's outlook, from those of the agents that it depends on."""
        match agent.status:
            case "completed":
                return cls(agent, "completed")
            case "skipped":
                return cls(agent, "passed over", agent.skipped_because or agent.name)
            case "failed" | "cancelled":
                return cls(agent, "blocks" if agent.blocks else "passed over", agent.name)
            case "defined":
                return cls._waiting(agent, list(needed))
            case _:
                return cls(agent, "at work")

    @classmethod
    def _waiting(cls, agent: Agent, needed: list["Outlook"]) -> "Outlook":
        for each in needed:
            if each.fate in ("passed over", "will be skipped"):
                return cls(agent, "will be skipped", each.because)
        if any(each.fate in STUCK for each in needed):
            return cls(agent, "is stuck")
        return cls(agent, "can run" if all(each.fate == "completed" for each in needed) else "waits")


def _present_phase(project_id: UUID, work: UnitOfWork) -> tuple[Project, list[AgentNode]]:
    """The project and the agents of its present phase, not loaded yet; refused unless the project runs."""
    project = work.get(Project, project_id)
    project.check_runs()
    return project, project.agents_of(project.current_phase)


def _outlooks(project: Project, nodes: Sequence[AgentNode], work: UnitOfWork) -> list[Outlook]:
    """The outlook of each of these agents."""
    wanted = {name for node in nodes for name in (node.name, *node.depends_on)}
    known: dict[str, Outlook] = {}
    agents = work.get_all(Agent, [node.agent_id for node in project.agents.values() if node.name in wanted])
    for agent in agents:
        # Dependencies come first; what those depend on themselves matters only where it was asked for as well.
        needed = [known[name] for name in project.node(agent.name).depends_on if name in known]
        known[agent.name] = Outlook.of(agent, needed)
    return [known[node.name] for node in nodes]
