"""When a project is resumed, agents that were answered during the pause try again."""

from collections.abc import Iterable

from commands.agents import ApplyDecisionsHeldByPause
from commands.handling import Command
from domain.kernel import Event
from domain.log import StoredEvent
from domain.projects import Project
from streams.reacting import reaction


@reaction(Project.Resumed)
def apply_decisions_held_by_a_pause(_happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """Decisions that start nothing were applied at once."""
    yield ApplyDecisionsHeldByPause(project_id=stored.stream_id)
