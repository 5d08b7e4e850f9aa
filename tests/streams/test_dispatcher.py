"""Workers: one request an attempt, every outcome in the log, no job lost, none held for ever."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from commands.handling import Command
from commands.llm_jobs import AdmitLlmJob, CancelLlmJob, CompleteAttempt, LoseAttempt, ReportFirstToken
from commands.models import ModelError
from commands.projects import ResumeProject
from domain.errors import Refused, Unavailable
from domain.ids import attempt_id
from domain.pricing import Quote
from domain.values import NAMESPACE
from streams.dispatcher import AttemptRun, Dispatcher, Pace
from tests.commands.staging import PauseStage, StageAgentJob
from tests.streams.workshop import QUICK, OnePrice, Workshop


@dataclass
class Asked(OnePrice):
    """Remembers of which days prices were asked for."""

    days: list[date] = field(default_factory=list[date])

    def quote(self, provider: str, model: str, at: date) -> Quote:
        self.days.append(at)
        return super().quote(provider, model, at)


async def test_a_queued_job_is_admitted_asked_once_and_settled(shop: Workshop) -> None:
    job = await shop.queue_job()
    shop.model.go.set()
    async with shop.worker():
        await shop.until("llm_job.completed")
    assert [each.attempt_id for each in shop.model.asked] == [attempt_id(job, 1)]
    assert (shop.budget.settled, shop.budget.held) == (Decimal("0.000005"), 0)
    assert not shop.leases.held


async def test_a_job_that_its_read_model_still_shows_as_queued_is_not_looked_at_in_a_circle(shop: Workshop) -> None:
    job = await shop.queue_job()
    shop.model.go.set()
    shop.queue.stale = (job,)
    async with shop.worker():
        await shop.until("llm_job.completed")
        before = shop.queue.looks
        await asyncio.sleep(0.6)
    assert shop.queue.looks - before < 40
    assert len(shop.model.asked) == 1


async def test_the_first_token_is_told_while_the_answer_goes_on(shop: Workshop) -> None:
    job = await shop.queue_job()
    shop.model.pause = asyncio.Event()
    shop.model.go.set()
    async with shop.worker():
        await shop.until("llm_job.first_token")
        assert shop.job(job).status == "running"
        shop.model.pause.set()
        await shop.until("llm_job.completed")
    told = {each.type: each.payload() for each in shop.story.events}
    assert told["llm_job.first_token"]["attempt_id"] == str(attempt_id(job, 1))
    assert told["llm_job.first_token"]["first_token_ms"] == told["llm_job.completed"]["first_token_ms"]


async def test_an_answer_does_not_wait_for_the_log_to_take_its_first_token(shop: Workshop) -> None:
    job = await shop.queue_job()

    async def away(command: Command) -> None:
        if isinstance(command, ReportFirstToken):
            raise Unavailable("away")

    shop.door.before = away
    shop.model.go.set()
    await (await shop.attempt(job)).run()
    assert shop.job(job).status == "completed"
    assert "llm_job.first_token" not in {each.type for each in shop.story.events}


async def test_an_attempt_is_priced_by_the_day_on_which_it_is_sent(shop: Workshop) -> None:
    job = await shop.queue_job()
    queued = shop.story.clock.now.date()
    shop.story.clock.advance(10 * 86_400)
    shop.model.go.set()
    asked = Asked()
    dear = replace(shop, spending=replace(shop.spending, prices=asked))
    await (await dear.attempt(job)).run()
    assert shop.job(job).status == "completed"
    assert set(asked.days) == {queued + timedelta(days=10)}


async def test_a_cancel_aborts_the_call_and_what_it_may_cost_counts(shop: Workshop) -> None:
    job = await shop.queue_job()
    async with shop.worker():
        await shop.model.begun.wait()
        held = shop.budget.held
        await shop.story.given(CancelLlmJob(job_id=job, reason="enough"))
        await shop.until("cost.recorded")
    assert shop.job(job).status == "cancelled"
    assert (shop.budget.settled, shop.budget.held) == (held, 0)


async def test_a_cancel_between_admission_and_call_sends_nothing_and_frees_the_hold(shop: Workshop) -> None:
    job = await shop.queue_job()
    attempt = await shop.attempt(job)
    prepared = await attempt._prepare()
    assert await attempt._send(prepared.admission, "admit")
    attempt.abort()
    await attempt._call(prepared, 0)
    assert not shop.model.asked
    assert (shop.budget.settled, shop.budget.held) == (0, 0)


async def test_a_job_cancelled_right_behind_its_admission_is_not_sent_by_a_worker_that_has_heard_of_it(
    shop: Workshop,
) -> None:
    job = await shop.queue_job()
    async with shop.worker() as worker:

        async def cancel(command: Command) -> None:
            if isinstance(command, AdmitLlmJob):
                await shop.story.given(CancelLlmJob(job_id=job, reason="enough"))
                while not ((attempt := worker._running[job]) and attempt._aborted):  # noqa: ASYNC110 -- it tells nobody
                    await asyncio.sleep(0.01)

        shop.door.behind = cancel
        shop.model.go.set()
        await shop.until("llm_job.late_usage")
    assert shop.job(job).status == "cancelled"
    assert not shop.model.asked
    assert (shop.budget.settled, shop.budget.held) == (0, 0)


async def test_behind_an_admission_that_is_answered_once_more_the_log_is_asked_what_happened_since(
    shop: Workshop,
) -> None:
    job = await shop.queue_job()
    attempt = await shop.attempt(job)

    async def lose_the_first_answer(command: Command) -> None:
        if isinstance(command, AdmitLlmJob):
            shop.door.before = None
            await attempt._send(command, f"admit|{job}|{attempt.job.version}")
            await shop.story.given(CancelLlmJob(job_id=job, reason="enough"))

    shop.door.before = lose_the_first_answer
    shop.model.go.set()
    await attempt.run()
    assert shop.job(job).status == "cancelled"
    assert not shop.model.asked
    assert (shop.budget.settled, shop.budget.held) == (0, 0)


async def test_a_cancel_while_the_outcome_is_on_its_way_does_not_keep_it_from_the_log(shop: Workshop) -> None:
    job = await shop.queue_job()
    shop.model.go.set()
    attempt = await shop.attempt(job)
    record = attempt._record

    async def abort_first(*outcome: object) -> bool:
        attempt.abort()
        return await record(*outcome)  # type: ignore[arg-type]

    attempt._record = abort_first  # type: ignore[method-assign]
    await asyncio.create_task(attempt.run())
    assert shop.job(job).status == "completed"
    assert shop.budget.held == 0


async def test_the_loss_of_an_earlier_attempt_does_not_abort_the_one_that_runs(shop: Workshop) -> None:
    job = await shop.queue_job()
    lost = await shop.attempt(job, worker="dead")
    assert await lost._send((await lost._prepare()).admission, "admit")
    async with shop.worker() as made:
        # The worker learns of the loss only after it has taken the job over.
        await shop.story.given(LoseAttempt(job_id=job, attempt=1))
        await shop.model.begun.wait()
        events = shop.story.events
        loss = next(each for each in events if each.type == "llm_job.attempt_lost")
        made.heard(loss)
        shop.model.go.set()
        await shop.until("llm_job.completed")
    assert [each.attempt_id for each in shop.model.asked] == [attempt_id(job, 2)]


async def test_a_worker_that_was_held_up_for_longer_than_its_lease_does_not_send(shop: Workshop) -> None:
    job = await shop.queue_job()
    attempt = await shop.attempt(job, leased=False)
    await attempt.run()
    assert not shop.model.asked
    assert shop.job(job).failure == "lease_lost"
    assert shop.job(job).status == "retrying"
    assert shop.budget.held == 0


@pytest.mark.parametrize(("leased", "failure"), [(False, "lease_lost"), (True, "unreachable")])
async def test_a_request_that_was_withheld_at_the_last_moment_says_nothing_of_its_provider(
    shop: Workshop, *, leased: bool, failure: str
) -> None:
    job = await shop.queue_job()
    attempt = await AttemptRun.of(shop.spending, "one", job, is_leased=lambda: leased or not shop.model.asked)
    shop.model.fails = [ModelError("unreachable", "given up before anything was sent", sent=False)]
    shop.model.go.set()
    await attempt.run()
    assert shop.job(job).failure == failure
    assert (shop.job(job).status, shop.budget.held) == ("retrying", 0)


async def test_leases_are_renewed_for_the_jobs_that_are_worked_on_and_no_others(shop: Workshop) -> None:
    job = await shop.queue_job()
    forgotten = shop.story.id("a job whose lease could not be given back")
    shop.leases.held[forgotten] = "one"
    async with shop.worker():
        await shop.model.begun.wait()
        await asyncio.sleep(0.2)
    assert shop.leases.renewed
    assert all(each == {job} for each in shop.leases.renewed)


async def test_leases_that_dead_workers_left_behind_are_swept(shop: Workshop) -> None:
    async with shop.worker():
        await asyncio.sleep(0.1)
    assert min(shop.leases.swept) > 100 * Pace().lease_seconds


async def test_a_resumed_project_need_not_wait_for_what_was_left_alone(shop: Workshop) -> None:
    stage = StageAgentJob(project_id=shop.story.id("p"))
    await shop.story.given(stage, PauseStage(project_id=stage.project_id))
    patient = replace(shop.spending, pace=replace(QUICK, again_seconds=60))
    slow = replace(shop, spending=patient)
    slow.model.go.set()
    async with slow.worker() as made:
        await asyncio.sleep(0.3)
        assert made._left_alone
        await shop.story.given(ResumeProject(project_id=stage.project_id))
        await slow.until("llm_job.started")


async def test_an_answer_that_comes_after_the_key_was_destroyed_is_not_kept_but_its_cost_is(shop: Workshop) -> None:
    job = await shop.queue_job()
    running = asyncio.create_task((await shop.attempt(job)).run())
    await shop.model.begun.wait()
    await shop.story.keyring.destroy(job)
    shop.model.go.set()
    await running
    assert (shop.job(job).status, shop.job(job).failure) == ("failed", "not_kept")
    assert shop.budget.settled == Decimal("0.000005")


async def test_a_long_answer_that_finds_no_place_is_not_asked_for_again(shop: Workshop) -> None:
    job = await shop.queue_job()
    shop.model.text = "word " * 10_000
    running = asyncio.create_task((await shop.attempt(job)).run())
    await shop.model.begun.wait()
    await shop.story.keyring.destroy(job)
    shop.model.go.set()
    await running
    assert (shop.job(job).status, shop.job(job).failure) == ("failed", "not_kept")
    assert len(shop.model.asked) == 1


async def test_a_job_whose_key_was_destroyed_is_denied_instead_of_tried_for_ever(shop: Workshop) -> None:
    job = await shop.queue_job()
    await shop.story.keyring.destroy(job)
    async with shop.worker():
        await shop.until("llm_job.denied")
    assert shop.job(job).failure == "erased"


async def test_an_outcome_waits_until_the_log_takes_it(shop: Workshop) -> None:
    job = await shop.queue_job()
    refusals = [Unavailable("away"), Unavailable("still away")]

    async def away(command: Command) -> None:
        if isinstance(command, CompleteAttempt) and refusals:
            raise refusals.pop()

    shop.door.before = away
    shop.model.go.set()
    await (await shop.attempt(job)).run()
    assert shop.job(job).status == "completed"
    assert not refusals


async def test_a_failed_attempt_is_reported_as_its_provider_put_it(shop: Workshop) -> None:
    job = await shop.queue_job()
    shop.model.go.set()
    shop.model.fails.append(ModelError("rate_limited", "slow down", sent=True, may_cost=False, retry_after=7))
    await (await shop.attempt(job)).run()
    assert (shop.job(job).status, shop.job(job).failure) == ("retrying", "rate_limited")
    said = next(each.payload() for each in shop.story.events if each.type == "llm_job.retry_scheduled")
    assert await shop.story.unsealed(said["note"]) == "slow down"
    assert (shop.budget.settled, shop.budget.held) == (0, 0)


async def test_a_worker_that_drains_lets_its_calls_end_and_takes_no_more(shop: Workshop) -> None:
    first = await shop.queue_job("first")
    async with shop.worker(slots=1) as made:
        await shop.model.begun.wait()
        second = await shop.queue_job("second")
        draining = asyncio.create_task(made.drain(5))
        await asyncio.sleep(0.1)
        shop.model.go.set()
        began = time.monotonic()
        await draining
        assert time.monotonic() - began < 2
    assert (shop.job(first).status, shop.job(second).status) == ("completed", "queued")


def test_a_lease_that_two_heartbeats_outlast_is_refused() -> None:
    with pytest.raises(Refused, match="two heartbeats"):
        Pace(lease_seconds=2, heartbeat_seconds=1)


async def test_an_unknown_job_is_nobodys_business(shop: Workshop) -> None:
    made = Dispatcher(worker="one", spending=shop.spending, queue=shop.queue, leases=shop.leases)
    assert not made._is_leased(NAMESPACE)
    assert made.busy == 0
