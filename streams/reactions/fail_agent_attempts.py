"""When an agent's job has no answer, its attempt has failed."""

from collections.abc import Iterable

from commands.agents import FailAgentAttempt
from commands.handling import Command
from domain.kernel import Event
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from streams.reacting import reaction


@reaction(LlmJob.Failed, LlmJob.Cancelled)
def fail_agent_attempts(happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """The agent decides whether it tries again."""
    if isinstance(happened, LlmJob.Failed):
        yield FailAgentAttempt(job_id=stored.stream_id, kind=happened.kind)
    if isinstance(happened, LlmJob.Cancelled):
        yield FailAgentAttempt(job_id=stored.stream_id, kind="cancelled")
