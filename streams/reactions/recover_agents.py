"""When a job loses its worker and goes on elsewhere, its agent says so."""

from collections.abc import Iterable

from commands.agents import RecoverAgent
from commands.handling import Command
from domain.kernel import Event
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from streams.reacting import reaction


@reaction(LlmJob.AttemptLost)
def recover_agents(happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """Jobs without an agent are refused quietly."""
    if isinstance(happened, LlmJob.AttemptLost):
        yield RecoverAgent(job_id=stored.stream_id, job_attempt=happened.attempt)
