"""Why jobs do not go on: a circuit in the way of every target, a budget, a retry that is not due."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

from domain.llm_jobs import JobStatus
from domain.values import Instant, Target
from projections.projector import Connection
from projections.views import View

_CUT_OFF: Final = (
    "select provider, model, cause, nullif(blocked_until, 'infinity') from open_circuits"
    " where blocked_until > clock_timestamp() and not spares_last order by provider, model"
)


_JOBS_CUT_OFF: Final = (
    "select count(*) from llm_jobs where status = 'queued' and not exists"
    " (select from jsonb_to_recordset(jsonb_build_array(jsonb_build_object('provider', provider, 'model', model))"
    " || fallbacks) as target (provider text, model text) where not exists"
    " (select from open_circuits as circuit where circuit.provider = target.provider"
    " and circuit.model in ('', target.model)))"
)


class WaitsFor(View):
    """One thing that keeps a job from going on."""

    kind: Literal["circuit", "budget", "retry"]
    name: str
    """Which circuit or budget; why it is tried again."""
    cause: str | None = None
    """Why the circuit is open."""
    until: Instant | None
    """When it passes by itself; None where nobody knows, or somebody has to act."""


class CutOff(View):
    """A circuit that lets nobody pass now."""

    provider: str
    model: str
    cause: str
    until: Instant | None

    def stops(self, target: Target) -> bool:
        """Whether it stands in the way there."""
        return self.provider == target.provider and self.model in ("", target.model)


class Standing(View):
    """What has to be known of a job to say what it waits for."""

    status: JobStatus
    targets: tuple[Target, ...]
    budget: str | None
    due_at: datetime | None
    """Of its next try, or the end of the window of the limit that it waits for."""
    failure: str | None


async def cut_off(connection: Connection) -> list[CutOff]:
    """Circuits that let nobody pass now. Reads LlmJobs."""
    found = await (await connection.execute(_CUT_OFF)).fetchall()
    return [CutOff(provider=row[0], model=row[1], cause=row[2], until=row[3]) for row in found]


async def jobs_cut_off(connection: Connection) -> int:
    """How many queued jobs have a circuit that is not closed before each of their targets. Reads LlmJobs."""
    row = await (await connection.execute(_JOBS_CUT_OFF)).fetchone()
    return row[0] if row else 0


def waits(job: Standing, circuits: Sequence[CutOff]) -> tuple[WaitsFor, ...]:
    """What keeps this job from going on; nothing for one that runs, has ended, or is merely not at the front."""
    match job.status:
        case "parked":
            return (WaitsFor(kind="budget", name=job.budget or "", until=job.due_at),)
        case "retrying":
            return (WaitsFor(kind="retry", name=job.failure or "", until=job.due_at),)
        case "queued":
            return tuple(_behind(job.targets, circuits))
        case _:
            return ()


def _behind(targets: Sequence[Target], circuits: Sequence[CutOff]) -> Iterable[WaitsFor]:
    """The circuits of a job that has no free target left."""
    stopping = [next((each for each in circuits if each.stops(target)), None) for target in targets]
    if not targets or None in stopping:
        return
    for each in dict.fromkeys(stopping):
        assert each is not None  # noqa: S101 -- as just seen
        name = f"{each.provider}/{each.model}" if each.model else each.provider
        yield WaitsFor(kind="circuit", name=name, cause=each.cause, until=each.until)
