"""When a project or one of its agents gets further, agents whose dependencies are there become ready."""

from collections.abc import Iterable

from commands.handling import Command
from commands.projects import MarkReadyAgents
from domain.agents import Agent
from domain.kernel import Event
from domain.log import StoredEvent
from domain.projects import Project
from streams.reacting import reaction


@reaction(
    Project.Started,
    Project.Resumed,
    Project.PhaseAdvanced,
    Project.PhaseReopened,
    Agent.Completed,
    Agent.Skipped,
    Agent.Reset,
)
def mark_ready_agents(happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """An agent that ended concerns those that wait for it. Definitions of the library have no project."""
    if stored.project_id:
        ended = stored.stream_id if isinstance(happened, Agent.Completed | Agent.Skipped) else None
        yield MarkReadyAgents(project_id=stored.project_id, agent_id=ended)
