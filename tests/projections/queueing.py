"""What a queue goes through besides: deadlines, dead letters, execution settings."""

from datetime import timedelta
from typing import Any

from commands.llm_jobs import (
    ChangeExecutionSettings,
    ChatMessage,
    DenyLlmJob,
    ExpireLlmJob,
    QueueLlmJob,
    RequeueDeadLetters,
)
from domain.llm_jobs.settings import ModelCalls
from tests.projections.playing import Play


async def choosing(play: Play) -> None:
    """Before anything else, so that there is something to see at every moment."""
    models = (ModelCalls(provider="scripted", model="big", most=1),)
    await play.send(ChangeExecutionSettings(per_provider=4, models=models))


async def queueing(play: Play) -> None:
    """At the end of a town, so that towns stay as they were."""
    late, dead = play.story.id("late"), play.story.id("dead")
    said: dict[str, Any] = {"messages": [ChatMessage(role="user", content="whispered")], "model": "scripted-small"}
    soon = play.story.clock.now + timedelta(minutes=1)
    for command in (
        ChangeExecutionSettings(weight=2, per_provider=8),
        QueueLlmJob(job_id=late, provider="scripted", deadline=soon, **said),
        QueueLlmJob(job_id=dead, provider="scripted", **said),
        DenyLlmJob(job_id=dead, attempt=1, kind="price_unknown"),
        RequeueDeadLetters(job_ids=(dead,), attempts=2, seconds=60),
    ):
        await play.send(command)
    play.story.clock.advance(61)
    await play.send(ExpireLlmJob(job_id=late))
    await play.send(ExpireLlmJob(job_id=dead))
    await play.send(RequeueDeadLetters(job_ids=(dead,)))
    await play.react()
