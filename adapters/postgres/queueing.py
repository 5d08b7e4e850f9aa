"""The queue of LLM jobs in Postgres, shared by any number of workers: whose turn it is, and who holds which slots."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

import orjson
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.following import LEASE_SECONDS, UNHURRIED, OverPool
from domain.following import LostJob, ReadyJob
from domain.llm_jobs import slots_of
from domain.queueing import Lane, Turns, room_of, shares_of

RULES: Final[dict[str, int]] = {"weight": 1, "ageing_seconds": 60}
"""What holds while nobody has chosen execution settings."""
KINDS: Final = ("provider", "model", "project", "key")
_CLAIM: Final = "select job_id, granted from claim_calls(%s::jsonb, %s, %s)"
# What a crash of the server takes back of these is done again, by somebody else or when a lease has run out: no commit
# of them has to wait for the disk, where the log's own commits would wait behind it.
_RENEW: Final = (
    "update leases set heartbeat_at = clock_timestamp()"
    f" from unnest(%s::uuid[], %s::bigint[]) as own (resource, fence), {UNHURRIED}"
    " where leases.resource = own.resource and leases.fence = own.fence"
    " and heartbeat_at >= clock_timestamp() - make_interval(secs => %s) returning leases.resource"
)
_RELEASE: Final = (
    f"with ended as (delete from leases using unnest(%s::uuid[], %s::bigint[]) as own (resource, fence), {UNHURRIED}"
    " where leases.resource = own.resource and leases.fence = own.fence returning share, weight, granted_at)"
    " insert into queue_shares as known (share, spent, began)"
    " select share, sum(extract(epoch from clock_timestamp() - granted_at) / weight), 0 from ended"
    " where share is not null group by share order by share"  # in one order, so that nobody waits in a circle
    " on conflict (share) do update set spent = known.spent + excluded.spent"
)
_SWEEP: Final = (
    "with dead as (delete from leases where heartbeat_at < clock_timestamp() - make_interval(secs => %(seconds)s)),"
    " behind as (delete from queue_shares where spent < (select max(began) from queue_shares)"
    " and not exists (select from leases where leases.share = queue_shares.share))"
    " delete from queue_lanes where served_at < clock_timestamp() - make_interval(secs => %(seconds)s)"
)
# One step along the index for each lane that has a queued job, however many jobs there are.
_LANES: Final = (
    "with recursive heads as ("
    "(select lane, ready_at from llm_jobs where status = 'queued' order by lane, ready_at limit 1)"
    " union all select next.lane, next.ready_at from heads cross join lateral ("
    "select lane, ready_at from llm_jobs where status = 'queued' and lane > heads.lane order by lane, ready_at limit 1"
    ") as next)"
    " select lane, share, priority, way.provider, way.model, llm_job_lanes.project_id, key_id, coalesce(spent, 0),"
    " extract(epoch from now.at - ready_at)::float8,"
    " extract(epoch from now.at - greatest(ready_at, served_at))::float8"
    " from heads join llm_job_lanes using (lane) left join queue_shares using (share)"
    " left join queue_lanes using (share, priority) cross join (select log_clock() as at) as now"
    # To the first target that no circuit keeps its jobs from; there they need slots.
    " cross join lateral (select provider, model from rows from (jsonb_to_recordset(targets)"
    " as (provider text, model text)) with ordinality as target (provider, model, turn)"
    " where not exists (select from open_circuits as circuit where circuit.provider = target.provider"
    " and circuit.model in ('', target.model) and circuit.blocked_until > now.at and not circuit.spares_last)"
    " order by turn limit 1) as way"
    " where ready_at <= now.at"
    " and not exists (select from idle_projects as idle where idle.project_id = llm_job_lanes.project_id)"
)
_CALLS: Final = (
    "select share, extract(epoch from clock_timestamp() - granted_at)::float8, weight, occupies from leases"
    " where heartbeat_at >= clock_timestamp() - make_interval(secs => %s)"
)
_RULES: Final = "select name, number from queue_rules"
_FLOOR: Final = "select coalesce(max(began), 0) from queue_shares"
_JOBS: Final = (
    "select wanted.lane, found.job_id from unnest(%s::uuid[], %s::integer[]) as wanted (lane, many) cross join lateral"
    " (select job_id from llm_jobs where status = 'queued' and llm_jobs.lane = wanted.lane"
    " and ready_at <= (select log_clock()) and job_id <> all(%s::uuid[]) and not exists (select from leases"
    " where resource = job_id and heartbeat_at >= clock_timestamp() - make_interval(secs => %s))"
    " order by ready_at, queued_position limit wanted.many) as found"
)
_NEXT: Final = (
    "select extract(epoch from min(ready_at) - (select log_clock()))::float8 from llm_jobs"
    " where status = 'queued' and ready_at > (select log_clock())"
)
_LOST: Final = (
    "select job_id, attempt from llm_jobs where status = 'running'"
    " and greatest(started_at, (select heartbeat_at from leases where resource = job_id))"
    " < clock_timestamp() - make_interval(secs => %s) limit 200"
)


class PostgresLeases(OverPool):
    """Leases by the database's clock, with the slots that they take."""

    async def claim(self, jobs: Sequence[ReadyJob], holder: str, stale_after: float) -> Mapping[UUID, int]:
        """What is free or stale becomes the holder's, as far as there are slots for it."""
        wanted = orjson.dumps([{**asdict(each), "job": each.job_id} for each in jobs]).decode()
        return dict(await self._rows(_CLAIM, [wanted, holder, stale_after]))

    async def renew(self, grants: Mapping[UUID, int], stale_after: float) -> set[UUID]:
        """The holder lives, and these are still its own; what is stale may be somebody else's at any moment."""
        return {row[0] for row in await self._rows(_RENEW, [list(grants), list(grants.values()), stale_after])}

    async def release(self, grants: Mapping[UUID, int]) -> None:
        """The holder is done with these; what their shares had of them is written down."""
        await self._run(_RELEASE, [list(grants), list(grants.values())])

    async def sweep(self, stale_for: float) -> None:
        """What nobody gave back and nobody else took; a lease as stale as that means the same as none."""
        await self._run(_SWEEP, {"seconds": stale_for})


@dataclass(frozen=True, slots=True)
class _Rules:
    """Execution settings, as the queue's read model tells them."""

    numbers: Mapping[str, int]

    def weight(self, share: UUID) -> int:
        return self.numbers.get(f"weight {share}", self.numbers["weight"])

    def limits(self, occupies: Iterable[str]) -> dict[str, int]:
        """Of those resources that are limited: by their own name, else by their kind's."""
        found = {name: self.numbers.get(name, self.numbers.get(f"each {name.partition(' ')[0]}")) for name in occupies}
        return {name: most for name, most in found.items() if most is not None}


class PostgresJobQueue(OverPool):
    """The queue as the read model `llm_jobs` tells it."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, lease_seconds: float = LEASE_SECONDS) -> None:
        super().__init__(pool)
        self._lease_seconds = lease_seconds

    async def ready(self, limit: int, *, skipping: Collection[UUID] = ()) -> Sequence[ReadyJob]:
        """Jobs that may start now, whose turn it is; those of a project that does not run are not tried in vain."""
        waiting, calls, chosen, floor = await self._all_rows(
            (_LANES, ()), (_CALLS, [self._lease_seconds]), (_RULES, ()), (_FLOOR, ())
        )
        if not waiting:
            return []
        rules = _Rules(RULES | dict(chosen))
        lanes = {
            lane: Lane(lane, share, priority, age, waited, tuple(slots_of(provider, model, project_id, key_id)))
            for lane, share, priority, provider, model, project_id, key_id, _, age, waited in waiting
        }
        limits = rules.limits({name for lane in lanes.values() for name in lane.occupies})
        turns = Turns(
            lanes.values(),
            shares_of(
                (call[:3] for call in calls if call[0]),
                {row[1]: row[7] for row in waiting},
                {row[1]: rules.weight(row[1]) for row in waiting},
                floor[0][0],
            ),
            room_of(limits, (call[3] for call in calls)),
            ageing=rules.numbers["ageing_seconds"],
        )
        found = await self._fill(turns, limit, skipping)
        return [
            ReadyJob(
                job_id,
                share=lanes[lane].share,
                weight=rules.weight(lanes[lane].share),
                priority=lanes[lane].priority,
                occupies=lanes[lane].occupies,
                limits={name: limits[name] for name in lanes[lane].occupies if name in limits},
            )
            for lane, job_id in found
        ]

    async def _fill(self, turns: Turns, limit: int, skipping: Collection[UUID]) -> list[tuple[UUID, UUID]]:
        """A job for each turn. Lanes may have fewer than they are given turns for: those turns go to others."""
        found: list[tuple[UUID, UUID]] = []
        known = set(skipping)
        while taken := turns.take(limit - len(found)):
            many = Counter(taken)
            values = [list(many), list(many.values()), list(known), self._lease_seconds]
            jobs: dict[UUID, list[UUID]] = {lane: [] for lane in many}
            for lane, job_id in await self._rows(_JOBS, values):
                jobs[lane].append(job_id)
            missing = {lane: count - len(jobs[lane]) for lane, count in many.items() if len(jobs[lane]) < count}
            found += [(lane, jobs[lane].pop(0)) for lane in taken if jobs[lane]]
            if not missing:
                break
            known.update(job_id for _, job_id in found)
            turns.close(missing)
        return found

    async def seconds_to_next(self) -> float | None:
        """By the database's clock."""
        return (await self._rows(_NEXT))[0][0]

    async def lost(self, stale_after: float) -> Sequence[LostJob]:
        """Running jobs whose worker is silent."""
        return [LostJob(*row) for row in await self._rows(_LOST, [stale_after])]
