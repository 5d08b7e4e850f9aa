"""When an agent's job has its answer, the attempt has its result."""

from collections.abc import Iterable

from commands.agents import FinishAgentAttempt
from commands.handling import Command
from domain.kernel import Event
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from streams.reacting import reaction


@reaction(LlmJob.Completed)
def finish_agent_attempts(_happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """Jobs without an agent are refused quietly."""
    yield FinishAgentAttempt(job_id=stored.stream_id)
