"""When an agent is stopped or reset in mid-run, nobody wants its job's answer any more."""

from collections.abc import Iterable

from commands.handling import Command
from commands.llm_jobs import CancelLlmJob
from domain.agents import Agent
from domain.kernel import Event
from domain.log import StoredEvent
from streams.reacting import reaction


@reaction(Agent.Cancelled, Agent.Reset)
def cancel_jobs_of_stopped_agents(happened: Event, _stored: StoredEvent) -> Iterable[Command]:
    """A call in flight is aborted."""
    if isinstance(happened, Agent.Cancelled) and happened.job_id:
        yield CancelLlmJob(job_id=happened.job_id, reason=happened.reason)
    if isinstance(happened, Agent.Reset) and happened.job_id:
        yield CancelLlmJob(job_id=happened.job_id, reason="agent_reset")
