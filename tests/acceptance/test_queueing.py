"""The queue of a whole installation: delayed starts, deadlines, slots that workers share, dead letters put back."""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from commands.llm_jobs import ChangeExecutionSettings, ChatMessage, QueueLlmJob, RequeueDeadLetters
from commands.providers import RegisterProvider
from domain.errors import Conflict
from domain.llm_jobs import LlmJob
from domain.llm_jobs.settings import ProviderCalls
from domain.log import StoredEvent
from streams.dispatcher import Pace
from tests.acceptance.product import FAST, Product, product

LAZY = Pace(poll_seconds=30, lease_seconds=10, heartbeat_seconds=3)
"""A worker that would look again only after half a minute."""


async def chat(toybox: Product, said: str = "Hello", **more: Any) -> UUID:
    """A chat with the scripted provider."""
    job = uuid4()
    facts: dict[str, Any] = {"provider": "scripted", "model": "scripted-1", "max_output_tokens": 50, **more}
    await toybox.send(QueueLlmJob(job_id=job, messages=[ChatMessage(role="user", content=said)], **facts))
    return job


async def scripted(toybox: Product) -> datetime:
    """Its moment, with the scripted provider registered."""
    with suppress(Conflict):
        await toybox.send(RegisterProvider(name="scripted", kind="scripted"))
    return (await toybox.log())[-1].recorded_at


def most_at_once(log: list[StoredEvent]) -> int:
    """The most calls that were under way at any position of the log."""
    under_way, most = set[UUID](), 0
    for each in log:
        if each.type == LlmJob.Started.TYPE:
            under_way.add(each.stream_id)
        elif each.type in (LlmJob.Completed.TYPE, LlmJob.Failed.TYPE, LlmJob.AttemptLost.TYPE):
            under_way.discard(each.stream_id)
        most = max(most, len(under_way))
    return most


async def test_a_job_for_later_starts_at_its_moment_though_nothing_else_happens(database: str, tmp_path: Path) -> None:
    async with product(database, tmp_path, pace=LAZY) as toybox:
        await scripted(toybox)
        await toybox.quiet(1.0)
        moment = datetime.now(UTC) + timedelta(seconds=2.5)
        await chat(toybox, not_before=moment)
        (started,) = await toybox.came("llm_job.started", seconds=15)
        late = (started.recorded_at - moment).total_seconds()
        assert 0 <= late < 0.75, f"{late} s late"


async def test_a_job_that_did_not_start_by_its_deadline_is_a_dead_letter_that_can_be_put_back(
    database: str, tmp_path: Path
) -> None:
    async with product(database, tmp_path) as toybox:
        now = await scripted(toybox)
        await toybox.send(ChangeExecutionSettings(providers=(ProviderCalls(provider="scripted", most=0),)))
        await toybox.quiet(0.5)
        job = await chat(toybox, deadline=now + timedelta(seconds=4))
        (dead,) = await toybox.came("llm_job.dead_lettered")
        assert dead.payload()["kind"] == "deadline_exceeded"
        assert (dead.recorded_at - now).total_seconds() >= 4
        await toybox.send(RequeueDeadLetters(job_ids=(job,)))
        await toybox.send(ChangeExecutionSettings())
        (done,) = await toybox.came("llm_job.completed")
        assert done.stream_id == job


async def test_workers_share_the_slots_of_a_provider_and_those_of_a_stopped_one_come_back(
    database: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as leaving:
        one = await leaving.enter_async_context(product(database, tmp_path))
        await scripted(one)
        limit = ChangeExecutionSettings(providers=(ProviderCalls(provider="scripted", most=2),))
        settled = await one.send(limit)
        await one.system.follower.wait_for(["llm_jobs"], settled.position, 10)
        await asyncio.gather(*(chat(one, "#scripted: delay 0.5\n#scripted: text Yes.") for _ in range(30)))
        await one.came("llm_job.admitted", 2, seconds=30)
        async with product(database, tmp_path, pace=replace(FAST, poll_seconds=0.1)) as two:
            await asyncio.sleep(1)  # both want the two slots
            await leaving.aclose()
            await two.came("llm_job.completed", 30, seconds=60)
            log = await two.log()
            assert most_at_once(log) == 2
            assert len({each.payload()["worker"] for each in log if each.type == LlmJob.Admitted.TYPE}) == 2
