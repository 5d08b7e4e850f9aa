"""When a project is resumed, what became due during the pause begins."""

from collections.abc import Iterable

from commands.agents import StartReadyAgents
from commands.handling import Command
from domain.kernel import Event
from domain.log import StoredEvent
from domain.projects import Project
from streams.reacting import reaction


@reaction(Project.Resumed)
def start_agents_held_by_a_pause(_happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """Agents that were ready, and retries whose time came."""
    yield StartReadyAgents(project_id=stored.stream_id)
