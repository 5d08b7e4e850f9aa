"""When an agent has ended, its project goes on to the next phase, or to its end, if nothing else is left."""

from collections.abc import Iterable

from commands.handling import Command
from commands.projects import CheckPhase
from domain.agents import Agent
from domain.kernel import Event
from domain.log import StoredEvent
from domain.projects import Project
from streams.reacting import reaction

OF_PROJECTS = (Project.Started, Project.Resumed, Project.PhaseAdvanced)


@reaction(*OF_PROJECTS, Agent.Completed, Agent.Skipped, Agent.Failed, Agent.Cancelled)
def advance_finished_phases(happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """A phase may also be through when it begins: its agents were passed over, or kept their results in a reset."""
    if stored.project_id:
        ended = None if isinstance(happened, OF_PROJECTS) else stored.stream_id
        yield CheckPhase(project_id=stored.project_id, agent_id=ended)
