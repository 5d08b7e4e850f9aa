"""LLM jobs as rows: what the dispatcher finds there, what is shown of a job, its attempts and the queue."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from adapters.postgres.queueing import PostgresJobQueue
from commands.budgets import ChangeBudgetLimit, OpenBudget
from commands.llm_jobs import CancelLlmJob, DeliverLlmResult, DenyLlmJob, LoseAttempt, RequeueLlmJob
from commands.projects import CancelProject, ResumeProject
from domain.budgets import Window
from domain.following import LostJob
from domain.ids import attempt_id, job_id
from domain.llm_jobs import LlmJob
from projections.costs import Costs
from projections.llm_jobs import JobFilter, JobView, LlmJobs, attempts_of, job, jobs, queue_depth
from projections.projector import Connections, reading, rebuild
from tests.commands.staging import EVERYTHING, GLOBAL, PauseStage, StageAgentJob, admit, complete, fail, queue
from tests.projections.playing import Play, follow
from tests.projections.town import busy
from tests.support.story import telling

ONE, TWO, THREE = UUID(int=1), UUID(int=2), UUID(int=3)


async def shown(connections: Connections, play: Play, *streams: UUID) -> list[JobView]:
    await follow(connections, play, LlmJobs())
    async with reading(connections, LlmJobs) as read:
        found = [await job(read.connection, stream) for stream in streams]
        return [each for each in found if each]


async def test_an_answer_is_shown_with_its_usage_its_times_and_its_cost(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        await play.do(queue(ONE, priority=3), admit(ONE), complete(ONE), DeliverLlmResult(job_id=ONE, to="somebody"))
        (view,) = await shown(connections, play, ONE)
        assert (view.status, view.attempt, view.priority, view.worker) == ("completed", 1, 3, "worker-1")
        assert view.output
        assert (view.output.model, view.output.cost, view.output.size) == ("scripted-small-1", Decimal("0.4"), 12)
        assert await story.unsealed(str(view.output.sealed)) == "Hello to you"
        assert (view.input_tokens, view.output_tokens, view.delivered_to) == (10, 20, "somebody")
        assert view.timing
        assert (view.timing.queue_ms, view.timing.first_token_ms, view.timing.total_ms) == (5, 7, 9)
        assert (view.version, view.position) == (play.all(LlmJob)[ONE].version, len(story.events))


async def test_a_parked_job_shows_the_figures_of_the_limit(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        await play.do(OpenBudget(scope=GLOBAL, limit=Decimal(2)), queue(ONE), admit(ONE, "5"))
        (view,) = await shown(connections, play, ONE)
        assert view.status == "parked"
        assert view.parked
        assert (view.parked.name, view.parked.unit, view.parked.retry_at) == ("usd-lifetime", "usd", None)
        assert (view.parked.budget_id, view.parked.scope, view.parked.limit, view.parked.requested) == (
            EVERYTHING,
            "global",
            2,
            5,
        )
        await play.do(ChangeBudgetLimit(budget_id=EVERYTHING, limit=Decimal(9)))
        (view,) = await shown(connections, play, ONE)
        assert (view.status, view.parked) == ("queued", None)


async def test_a_job_that_waits_for_tokens_says_so_and_when_the_window_ends(connections: Connections) -> None:
    async with telling() as story:
        play, window = Play(story), Window(kind="day", time_zone="Asia/Kolkata")
        await play.do(OpenBudget(scope=GLOBAL, limit=Decimal(300), unit="total_tokens", window=window))
        await play.do(queue(ONE), admit(ONE), queue(TWO), admit(TWO))
        (view,) = await shown(connections, play, TWO)
        assert view.parked
        assert (view.parked.name, view.parked.unit) == ("total-tokens-day-asia-kolkata", "total_tokens")
        assert view.parked.retry_at
        assert (view.parked.retry_at.hour, view.parked.retry_at.minute) == (18, 30)
        (wait,) = view.waiting_for
        assert (wait.kind, wait.until) == ("budget", view.parked.retry_at)


async def test_attempts_tell_each_try_with_what_it_cost(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        await play.do(queue(ONE), admit(ONE), fail(ONE, "0.1"))
        (view,) = await shown(connections, play, ONE)
        assert view.note
        assert await story.unsealed(view.note) == "busy"
        story.clock.advance(60)
        await play.do(
            RequeueLlmJob(job_id=ONE),
            admit(ONE, attempt=2),
            LoseAttempt(job_id=ONE, attempt=2),
            admit(ONE, attempt=3),
            CancelLlmJob(job_id=ONE, reason="enough"),
            complete(ONE, "0.2", 2),
        )
        (view,) = await shown(connections, play, ONE)
        assert (view.status, view.reason, view.note, view.output) == ("cancelled", "enough", None, None)
        await rebuild(connections, story.store, Costs())
        async with reading(connections, LlmJobs, Costs) as read:
            tries = await attempts_of(read.connection, ONE)
            assert [(each.attempt, each.status, each.cost, each.reported_late) for each in tries] == [
                (1, "failed", Decimal("0.1"), False),
                (2, "lost", Decimal("0.2"), True),
                (3, "cancelled", None, False),
            ]
            assert (tries[0].failure, tries[0].reason) == ("overloaded", "the provider is overloaded")
            assert tries[0].note
            assert (await story.unsealed(tries[0].note), tries[1].input_tokens) == ("busy", 10)
            assert [each.attempt_id for each in tries] == [attempt_id(ONE, number) for number in (1, 2, 3)]
            assert await attempts_of(read.connection, TWO) == []
            assert await job(read.connection, TWO) is None


async def test_a_job_that_loses_its_last_attempt_fails_and_the_attempt_stays_lost(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        await play.do(queue(ONE, max_attempts=1), admit(ONE), LoseAttempt(job_id=ONE, attempt=1))
        (view,) = await shown(connections, play, ONE)
        assert (view.status, view.failure) == ("failed", "lost")
        await rebuild(connections, story.store, Costs())
        async with reading(connections, LlmJobs, Costs) as read:
            assert [each.status for each in await attempts_of(read.connection, ONE)] == ["lost"]


async def test_the_dispatcher_finds_the_most_urgent_first(
    connections: AsyncConnectionPool[Any],
) -> None:
    async with telling() as story:
        play = Play(story)
        later = story.clock.now.replace(year=2999)
        await play.do(
            queue(ONE),
            queue(TWO, priority=9),
            queue(THREE),
            queue(UUID(int=4), not_before=later),
            queue(UUID(int=5)),
            DenyLlmJob(job_id=UUID(int=5), attempt=1, kind="price_unknown"),
            queue(UUID(int=6)),
            admit(UUID(int=6)),
        )
        await rebuild(connections, story.store, LlmJobs())
        found = PostgresJobQueue(connections)
        assert [each.job_id for each in await found.ready(10)] == [TWO, ONE, THREE]
        assert [each.job_id for each in await found.ready(1)] == [TWO]
        assert list(await found.lost(-(10.0**9))) == [LostJob(UUID(int=6), 1)]
        async with reading(connections, LlmJobs) as read:
            assert await queue_depth(read.connection) == {"queued": 4, "running": 1, "parked": 0, "retrying": 0}


async def test_every_job_of_a_town_agrees_with_its_aggregate(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, LlmJobs())
    known = busy().all(LlmJob)
    async with reading(connections, LlmJobs) as read:
        seen: dict[UUID, JobView] = {}
        cursor = None
        while True:
            page = await jobs(read.connection, cursor=cursor, limit=200)
            seen |= {each.job_id: each for each in page.items}
            cursor = page.next
            if cursor is None:
                break
        assert seen.keys() == known.keys()
        for stream, view in seen.items():
            own = known[stream]
            assert (view.status, view.attempt, view.version) == (own.status, own.attempt, own.version)
            assert (view.failure if view.status == "failed" else None) == (
                own.failure if own.status == "failed" else None
            )
            assert (view.parked and view.parked.budget_id) == own.parked_on
            assert (view.output and view.output.digest) == (own.output and own.output.digest)
            assert view.delivered_to == own.delivered_to
            assert (view.due_at if view.status == "retrying" else None) == (
                own.due_at if own.status == "retrying" else None
            )


async def test_jobs_are_listed_by_project_agent_and_status(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, LlmJobs())
    known = busy().all(LlmJob)
    some = next(each for each in known.values() if each.agent_id)
    async with reading(connections, LlmJobs) as read:
        wanted = JobFilter(project_id=some.project_id, agent_id=some.agent_id, provider="scripted")
        own = await jobs(read.connection, wanted, limit=200)
        assert {each.job_id for each in own.items} == {
            each.id for each in known.values() if each.agent_id == some.agent_id
        }
        done = await jobs(read.connection, JobFilter(status=["completed"]), limit=200)
        assert {each.status for each in done.items} == {"completed"}
        positions = [each.queued_at for each in done.items]
        assert positions == sorted(positions, reverse=True)
        assert (await jobs(read.connection, JobFilter(model="unheard-of"))).items == []


async def test_the_queue_shows_jobs_of_projects_that_run_and_of_no_project(
    connections: AsyncConnectionPool[Any],
) -> None:
    async with telling() as story:
        play, stage = Play(story), StageAgentJob(project_id=story.id("p"))
        of_project, waiting = job_id(stage.agent_id, 1, 1), PostgresJobQueue(connections)
        for command, ready in (
            (queue(ONE), {ONE}),
            (stage, {ONE, of_project}),
            (PauseStage(project_id=stage.project_id), {ONE}),
            (ResumeProject(project_id=stage.project_id), {ONE, of_project}),
            (CancelProject(project_id=stage.project_id), {ONE}),
        ):
            await play.do(command)
            await follow(connections, play, LlmJobs())
            assert {each.job_id for each in await waiting.ready(10)} == ready
