"""When an agent failed or was stopped, its policy decides about those that depend on it."""

from collections.abc import Iterable

from commands.agents import SettleFailedAgent
from commands.handling import Command
from domain.agents import Agent
from domain.kernel import Event
from domain.log import StoredEvent
from streams.reacting import reaction


@reaction(Agent.Failed, Agent.Cancelled)
def settle_failed_agents(happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """Where it blocks there is nothing to settle."""
    if isinstance(happened, Agent.Failed | Agent.Cancelled) and happened.on_failure == "skip" and stored.project_id:
        yield SettleFailedAgent(project_id=stored.project_id, agent_id=stored.stream_id)
