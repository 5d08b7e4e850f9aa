"""An hour in which everything happens to two providers that can happen to their health; part of every town."""

from collections.abc import Awaitable, Callable
from typing import Any

from commands.handling import Command
from commands.llm_jobs import CancelLlmJob, LoseAttempt, ReportFirstToken, RequeueLlmJob
from commands.provider_health import ChangeHealthSettings, CloseCircuit, FollowProviderHealth, OpenCircuit
from domain.provider_health import HealthRules
from domain.values import Target
from tests.commands.staging import admit, complete, fail, queue
from tests.support.story import Story

FIRST = Target(provider="openai", model="gpt")
SECOND = Target(provider="anthropic", model="claude")


async def outage(story: Story, send: Callable[[Command], Awaitable[Any]], said: str) -> None:
    """Every job in it comes to its end."""
    job, other, last = (story.id("outage", number) for number in range(3))
    degraded = FollowProviderHealth(name="openai", level="degraded", error_rate="0.36", samples=2, through=1, seen=0)  # type: ignore[arg-type]
    refused: dict[str, Any] = {"retryable": True, "sent": False}
    for step in (
        ChangeHealthSettings(rules=HealthRules(tries_per_target=3)),
        ChangeHealthSettings(rules=HealthRules(tries_per_target=2)),
        degraded,
        queue(job, **dict(FIRST), fallbacks=[SECOND], max_attempts=9),
        admit(job, "0.01", 1, **dict(FIRST)),
        fail(job, None, 1, kind="rate_limited", retry_after_seconds=5, **refused),
        10,
        RequeueLlmJob(job_id=job),
        admit(job, "0.01", 2, **dict(FIRST)),
        fail(job, None, 2, kind="credit_exhausted", sent=False, retryable=False),
        admit(job, "0.01", 3, **dict(SECOND)),
        ReportFirstToken(job_id=job, attempt=3, first_token_ms=5),
        complete(job, "0.001", 3),
        1000,
        queue(other, **dict(FIRST)),
        admit(other, "0.01", 1, **dict(FIRST)),
        LoseAttempt(job_id=other, attempt=1),
        admit(other, "0.01", 2, **dict(FIRST)),
        complete(other, "0.001", 2),
        OpenCircuit(name="anthropic", reason=said),
        OpenCircuit(name="openai", model="gpt"),
        queue(last, **dict(FIRST), fallbacks=[SECOND]),
        CloseCircuit(name="openai", model="gpt", reason=said),
        CancelLlmJob(job_id=last),
    ):
        if isinstance(step, int):
            story.clock.advance(step)
        else:
            await send(step)
