"""The queue in Postgres: turns of projects within priorities, slots with fences, past whatever has none."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID

import pytest

from adapters.postgres import queueing
from adapters.postgres.connections import pool
from adapters.postgres.queueing import PostgresJobQueue, PostgresLeases
from domain.following import ReadyJob
from domain.llm_jobs import ExecutionRules
from domain.llm_jobs.settings import KeyCalls, ModelCalls, ProjectCalls, ProjectWeight, ProviderCalls
from tests.adapters.queue_tables import Pool, age, asked, choose, job, make_tables, project, put, queue

A, B, C = (project(name) for name in "abc")


@pytest.fixture
async def opened(database: str) -> AsyncIterator[Pool]:
    """A database with the queue's own tables."""
    async with pool(database, size=8) as made:
        await make_tables(made)
        yield made


async def ready(opened: Pool, limit: int = 10, *skipping: int, lease: float = 10) -> list[UUID]:
    """Whose turn it is."""
    found = await PostgresJobQueue(opened, lease_seconds=lease).ready(limit, skipping=[job(each) for each in skipping])
    return [each.job_id for each in found]


async def work(opened: Pool, slots: int, worker: str = "one") -> dict[UUID, int]:
    """What a worker with so many slots takes."""
    found = await PostgresJobQueue(opened).ready(slots)
    return dict(await PostgresLeases(opened).claim(found, worker, 10)) if found else {}


def jobs(*numbers: int, limits: Mapping[str, int] | None = None) -> list[ReadyJob]:
    """Jobs whose turn it is, with the slots that they take."""
    return [ReadyJob(job(each), occupies=tuple(limits or ()), limits=limits or {}) for each in numbers]


# --- leases ---


async def test_a_lease_has_one_holder_until_it_is_stale(opened: Pool) -> None:
    leases = PostgresLeases(opened)
    first = await leases.claim(jobs(1, 2), "one", 10)
    assert first.keys() == {job(1), job(2)}
    assert (await leases.claim(jobs(1, 3), "two", 10)).keys() == {job(3)}
    await age(opened, 11)
    again = await leases.claim(jobs(1), "two", 10)
    assert again.keys() == {job(1)}
    assert again[job(1)] > max(first.values()), "a fence is larger than every one before it"
    assert await leases.renew(first, 60) == {job(2)}


async def test_only_what_is_really_worked_on_is_renewed(opened: Pool) -> None:
    leases = PostgresLeases(opened)
    mine = await leases.claim(jobs(1, 2), "one", 10)
    await age(opened, 6)
    assert await leases.renew({job(1): mine[job(1)]}, 10) == {job(1)}
    await age(opened, 6)
    assert (await leases.claim(jobs(1, 2), "two", 10)).keys() == {job(2)}


async def test_a_stale_lease_cannot_be_renewed_by_a_worker_that_was_held_up(opened: Pool) -> None:
    leases = PostgresLeases(opened)
    mine = await leases.claim(jobs(1), "one", 10)
    await age(opened, 11)
    assert await leases.renew(mine, 10) == set(), "others may act on its silence already"
    assert (await leases.claim(jobs(1), "one", 10)).keys() == {job(1)}


async def test_nobody_gives_back_the_lease_of_another(opened: Pool) -> None:
    leases = PostgresLeases(opened)
    mine = await leases.claim(jobs(1), "one", 10)
    await leases.release({job(1): mine[job(1)] + 1})
    assert await leases.claim(jobs(1), "two", 10) == {}
    await leases.release({job(1): mine[job(1)]})
    assert (await leases.claim(jobs(1), "two", 10)).keys() == {job(1)}


async def test_leases_of_workers_that_died_long_ago_are_swept_and_no_others(opened: Pool) -> None:
    leases = PostgresLeases(opened)
    await leases.claim(jobs(1), "dead", 10)
    await age(opened, 100)
    await leases.claim(jobs(2), "alive", 10)
    await leases.sweep(99)
    assert await asked(opened, "select resource from leases") == [(job(2),)]


async def test_how_long_a_lease_lasts_is_the_installations_choice(opened: Pool) -> None:
    await queue(opened, [1])
    await PostgresLeases(opened).claim(jobs(1), "one", 10)
    await age(opened, 5)
    assert await ready(opened) == []
    assert await ready(opened, lease=3) == [job(1)]


async def test_a_running_job_is_lost_when_neither_its_start_nor_its_lease_is_recent(opened: Pool) -> None:
    for number, since in ((1, -1), (2, -60), (3, -60), (4, -60)):
        await queue(opened, [number], wait=since, status="running")
    leases = PostgresLeases(opened)
    mine = await leases.claim(jobs(2, 3), "one", 10)
    await age(opened, 9)
    await leases.renew({job(2): mine[job(2)]}, 10)
    await age(opened, 2)
    assert {each.job_id for each in await PostgresJobQueue(opened).lost(10)} == {job(3), job(4)}


# --- slots ---


async def test_a_limit_holds_whoever_asks_at_the_same_time(opened: Pool) -> None:
    leases, limits = PostgresLeases(opened), {"provider openai": 3, "project x": 5}
    taken = await asyncio.gather(
        *(leases.claim(jobs(*range(each * 4, each * 4 + 4), limits=limits), f"w{each}", 10) for each in range(8))
    )
    assert sum(map(len, taken)) == 3
    given_back, fence = next(iter(next(each for each in taken if each).items()))
    await leases.release({given_back: fence})
    assert len(await leases.claim(jobs(100, 101, limits=limits), "more", 10)) == 1


async def test_workers_that_want_the_same_jobs_in_opposite_orders_share_them(opened: Pool) -> None:
    leases, wanted = PostgresLeases(opened), list(range(40))
    for _ in range(10):
        forth, back = await asyncio.gather(
            leases.claim(jobs(*wanted), "one", 10), leases.claim(jobs(*reversed(wanted)), "two", 10)
        )
        assert not forth.keys() & back.keys()
        left = await leases.claim(jobs(*wanted), "three", 10)
        assert len(forth) + len(back) + len(left) == 40
        for each in (forth, back, left):
            await leases.release(each)


class ByHolder(PostgresLeases):
    """A planted bug: leases without fences, known by their holder alone."""

    async def renew(self, grants: Mapping[UUID, int], stale_after: float) -> set[UUID]:
        """Whatever is held by that worker."""
        update = "update leases set heartbeat_at = clock_timestamp() where resource = any(%s) returning resource"
        return {row[0] for row in await self._rows(update, [list(grants)])}

    async def release(self, grants: Mapping[UUID, int]) -> None:
        """Whatever it has become meanwhile."""
        await self._run("delete from leases where resource = any(%s) and holder = 'one'", [list(grants)])


async def stall(leases: PostgresLeases, opened: Pool) -> list[str]:
    """One worker stalls with the only slot; the job is taken again, by the same worker too. What goes wrong then."""
    limits, wrong = {"provider openai": 1}, list[str]()
    stalled = await leases.claim(jobs(1, limits=limits), "one", 10)
    if await leases.claim(jobs(2, limits=limits), "two", 10):
        wrong.append("two calls at once")
    await age(opened, 11)
    if await leases.renew(stalled, 10):
        wrong.append("a grant that ran out was renewed")
        await age(opened, 11)
    anew = await leases.claim(jobs(1, limits=limits), "one", 10)  # the slot came back; the worker's other half has it
    if await leases.renew(stalled, 10):
        wrong.append("the stalled half renewed what it no longer has")
    await leases.release({job(1): stalled[job(1)]})
    if await leases.claim(jobs(2, limits=limits), "two", 10):
        wrong.append("the stalled half gave back a slot that is in use")
    if anew and await leases.renew(anew, 10) != {job(1)}:
        wrong.append("the present holder lost its grant")
    return wrong


async def test_a_worker_that_stalled_can_neither_renew_nor_give_back_what_it_lost(opened: Pool) -> None:
    assert await stall(PostgresLeases(opened), opened) == []


async def test_leases_without_fences_are_caught(opened: Pool) -> None:
    assert await stall(ByHolder(opened), opened) == [
        "a grant that ran out was renewed",
        "the stalled half renewed what it no longer has",
        "the stalled half gave back a slot that is in use",
        "the present holder lost its grant",
    ]


async def test_slots_of_killed_workers_come_back_and_none_leaks(opened: Pool) -> None:
    await choose(opened, ExecutionRules(per_provider=4))
    await queue(opened, range(200))
    for round_ in range(10):
        assert len(await work(opened, 16, f"killed {round_}")) == 4
        assert await work(opened, 16, "another") == {}
        await age(opened, 11)
    alive = await work(opened, 16, "alive")
    assert len(alive) == 4
    await PostgresLeases(opened).release(alive)
    await PostgresLeases(opened).sweep(10)
    assert await asked(opened, "select count(*) from leases") == [(0,)]


async def test_jobs_without_a_slot_do_not_block_those_behind_them(opened: Pool) -> None:
    key = project("some key")
    await choose(
        opened,
        ExecutionRules(
            per_model=8,
            providers=[ProviderCalls(provider="full", most=2)],
            models=[ModelCalls(provider="openai", model="closed", most=0)],
            projects=[ProjectCalls(project_id=A, most=1)],
            keys=[KeyCalls(key_id=key, most=1)],
        ),
    )
    await queue(opened, range(50), provider="full", priority=9)
    await queue(opened, range(50, 100), model="closed", priority=9)
    await queue(opened, range(100, 150), of=A, priority=9)
    await queue(opened, range(150, 200), key=key, priority=9)
    await queue(opened, [200], priority=0)
    found = [await PostgresJobQueue(opened).ready(10)]
    taken = await PostgresLeases(opened).claim(found[0], "one", 10)
    assert {100, 150, 200} <= {number for number in range(201) if job(number) in taken}
    assert Counter("full" if job(each) in taken and each < 50 else None for each in range(50))["full"] == 2
    assert len(taken) == 5
    assert await ready(opened) == []


async def test_a_limit_of_a_kind_holds_for_each_that_is_not_named(opened: Pool) -> None:
    await choose(opened, ExecutionRules(per_project=1, projects=[ProjectCalls(project_id=B, most=3)]))
    for start, owner in ((0, A), (10, B), (20, C)):
        await queue(opened, range(start, start + 10), of=owner)
    owners = Counter(each.share for each in await PostgresJobQueue(opened).ready(30))
    assert owners == {A: 1, B: 3, C: 1}


# --- turns ---


async def test_the_most_urgent_jobs_come_first_and_those_that_are_leased_not_at_all(opened: Pool) -> None:
    await queue(opened, [1, 2, 3])
    await queue(opened, [4], priority=9)
    await queue(opened, [5], priority=9, wait=3600)
    await PostgresLeases(opened).claim(jobs(2), "one", 10)
    assert await ready(opened) == [job(4), job(1), job(3)]
    assert await ready(opened, 10, 1) == [job(4), job(3)]
    assert await ready(opened, 1) == [job(4)]
    assert await ready(opened, 2, 4) == [job(1), job(3)]


async def test_jobs_of_a_project_that_does_not_run_are_left_out_until_it_does(opened: Pool) -> None:
    await queue(opened, [1])
    await queue(opened, [2], of=A)
    await queue(opened, [3], of=B)
    await put(opened, "insert into idle_projects values (%s)", A)
    assert set(await ready(opened)) == {job(1), job(3)}
    await put(opened, "delete from idle_projects")
    assert set(await ready(opened)) == {job(1), job(2), job(3)}


async def test_a_job_for_later_is_awaited_until_its_moment(opened: Pool) -> None:
    found = PostgresJobQueue(opened)
    assert await found.seconds_to_next() is None
    await queue(opened, range(100), wait=3600)
    await queue(opened, [100], wait=0.3)
    left = await found.seconds_to_next()
    assert left is not None
    assert 0 < left <= 0.3
    assert await ready(opened) == []
    await asyncio.sleep(left + 0.005)
    assert await ready(opened) == [job(100)]


async def test_a_single_job_goes_before_a_flood_and_weights_share_the_rest(opened: Pool) -> None:
    await choose(opened, ExecutionRules(weights=[ProjectWeight(project_id=B, weight=3)]))
    await queue(opened, range(1000), of=A, wait=-500)
    await queue(opened, range(1000, 2000), of=B, wait=-400)
    assert len(await work(opened, 8)) == 8
    shares = Counter(row[0] for row in await asked(opened, "select share from leases"))
    assert shares == {A: 2, B: 6}
    await queue(opened, [5000], of=C)
    assert await ready(opened, 1) == [job(5000)]


async def test_a_share_that_was_idle_has_saved_up_no_credit(opened: Pool) -> None:
    await queue(opened, range(100), of=A)
    await queue(opened, range(100, 200), of=B)
    await put(opened, "insert into queue_shares values (%s, 5000, 4990)", A)
    taken = await PostgresJobQueue(opened).ready(20)
    owners = Counter(each.share for each in taken)
    assert owners[A] == 5, "ten seconds ahead of the floor, which is where B begins"
    assert owners[B] == 15
    await PostgresLeases(opened).claim(taken, "one", 10)
    known = dict(await asked(opened, "select share, spent from queue_shares"))
    assert known[B] == 4990


async def test_what_a_share_had_is_charged_by_time_and_weight_when_it_is_given_back(opened: Pool) -> None:
    await choose(opened, ExecutionRules(weight=4))
    await queue(opened, [1], of=A)
    mine = await work(opened, 1)
    await put(opened, "update leases set granted_at = granted_at - interval '40 s'")
    await PostgresLeases(opened).release(mine)
    ((spent,),) = await asked(opened, "select spent from queue_shares")
    assert 10 <= spent < 11
    await PostgresLeases(opened).sweep(10)
    assert await asked(opened, "select count(*) from queue_shares") == [(1,)], "it is ahead of the floor"


async def test_age_lifts_what_nobody_serves_and_not_a_flood_that_is_being_served(opened: Pool) -> None:
    await choose(opened, ExecutionRules(ageing_seconds=10))
    await queue(opened, range(100), of=A, priority=5, wait=-3600)
    await queue(opened, [200], of=B, priority=2, wait=-31)
    assert await ready(opened, 1) == [job(0)]
    await work(opened, 1)
    assert await ready(opened, 1) == [job(200)], "lifted to 5, and its share has had nothing"
    await queue(opened, [201], of=C, priority=5)
    await put(opened, "update llm_jobs set status = 'running' where queued_position = 200")
    assert await ready(opened, 1) == [job(201)], "the flood is old, but it was served a moment ago"


async def drained(opened: Pool, slots: int, count: int) -> Sequence[UUID]:
    """The shares of the first so many jobs that one worker takes and ends at once."""
    shares: list[UUID] = []
    while len(shares) < count:
        for each in await PostgresJobQueue(opened).ready(slots):
            grants = await PostgresLeases(opened).claim([each], "one", 10)
            await put(opened, "update llm_jobs set status = 'completed' where job_id = %s", each.job_id)
            await put(opened, "update leases set granted_at = granted_at - interval '1 s'")
            await PostgresLeases(opened).release(grants)
            shares.append(each.share)
    return shares


async def test_one_slot_is_shared_by_weight_over_time(opened: Pool) -> None:
    await choose(opened, ExecutionRules(weights=[ProjectWeight(project_id=B, weight=3)]))
    for start, owner in ((0, A), (100, B)):
        await queue(opened, range(start, start + 100), of=owner)
    served = Counter(await drained(opened, 1, 40))
    assert abs(served[B] - 30) <= 1


async def test_a_hundred_thousand_jobs_are_asked_by_index_in_milliseconds(opened: Pool) -> None:
    for each in range(50):
        await queue(opened, range(each * 2000, each * 2000 + 2000), of=project(f"p{each}"), wait=-each)
    await put(opened, "analyze llm_jobs")
    found = PostgresJobQueue(opened)
    looks: list[float] = []
    loop = asyncio.get_running_loop()
    for _ in range(7):
        began = loop.time()
        assert len(await found.ready(16)) == 16
        looks.append(loop.time() - began)
    assert sorted(looks)[3] < 0.1, f"far more than an index needs: {looks}"
    for query, values in ((queueing._LANES, ()), (queueing._JOBS, ([job(1)], [16], [], 10.0)), (queueing._NEXT, ())):
        async with opened.connection() as connection:
            rows = await (await connection.execute(f"explain {query}".encode(), values or None)).fetchall()
        plan = "\n".join(row[0] for row in rows)
        assert "Seq Scan on llm_jobs" not in plan, plan
        assert "llm_jobs_ready" in plan or "llm_jobs_coming" in plan, plan


# --- circuits ---


async def cut(opened: Pool, provider: str, model: str = "") -> None:
    """Open a circuit for an hour."""
    await put(
        opened,
        "insert into open_circuits values (%s, %s, 'test', clock_timestamp() + interval '1 hour', false)",
        provider,
        model,
    )


async def test_a_job_all_of_whose_targets_are_cut_off_is_not_offered(opened: Pool) -> None:
    await queue(opened, [1], provider="one")
    await queue(opened, [2], provider="one", fallbacks=[("two", "small")])
    assert await ready(opened) == [job(1), job(2)]
    await cut(opened, "one")
    assert await ready(opened) == [job(2)]
    await cut(opened, "two", "other")
    assert await ready(opened) == [job(2)], "another model's circuit is of no interest"
    await cut(opened, "two", "small")
    assert await ready(opened) == []
    await put(opened, "update open_circuits set spares_last = true where model = 'small'")
    assert await ready(opened) == [job(2)], "the last target may be tried all the same"
    await put(opened, "update open_circuits set blocked_until = clock_timestamp()")
    assert await ready(opened) == [job(1), job(2)], "one of them may probe"


async def test_a_job_that_goes_elsewhere_takes_its_slots_there(opened: Pool) -> None:
    await choose(opened, ExecutionRules(providers=[ProviderCalls(provider="two", most=1)]))
    await queue(opened, [1, 2], provider="one", fallbacks=[("two", "small")])
    await cut(opened, "one")
    assert list(await work(opened, 4)) == [job(1)]
