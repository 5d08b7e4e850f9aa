"""When an agent is ready, its first attempt begins."""

from collections.abc import Iterable

from commands.agents import StartAgent
from commands.handling import Command
from domain.agents import Agent
from domain.kernel import Event
from domain.log import StoredEvent
from streams.reacting import reaction


@reaction(Agent.Ready)
def start_ready_agents(happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """A paused project refuses; resuming it asks again."""
    if isinstance(happened, Agent.Ready):
        yield StartAgent(agent_id=stored.stream_id, run=happened.run)
