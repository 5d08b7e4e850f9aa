"""How the queue stands: who waits for how long, what is under way, how many slots are taken."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from domain.llm_jobs import slots_of
from domain.values import Instant
from projections.llm_jobs.queries import queue_depth
from projections.projector import Connection
from projections.views import View

MOST_LINES: Final = 200
_WAITING: Final = (
    "select project_id, provider, priority, count(*) as jobs,"
    " count(*) filter (where ready_at > clock_timestamp()) as delayed,"
    " min(ready_at) filter (where ready_at <= clock_timestamp()) as oldest_at"
    " from llm_jobs where status = 'queued' group by project_id, provider, priority"
    " order by jobs desc, project_id, provider, priority limit %s"
)
_RUNNING: Final = (
    "select provider, model, project_id, key_id, count(*) from llm_jobs where status = 'running' group by 1, 2, 3, 4"
)
_RULES: Final = "select name, number from queue_rules"
_DEAD: Final = "select count(*) from llm_jobs where dead_lettered_at is not null"


class Waiting(View):
    """Queued jobs of one project, provider and priority."""

    project_id: UUID | None
    provider: str
    priority: int
    jobs: int
    delayed: int
    """Of these, how many may not start yet."""
    oldest_at: Instant | None
    """Since when the longest waiting of the others could have started."""


class Slots(View):
    """Calls under way of one provider, model, project or key."""

    name: str
    """`provider openai`, `model openai/gpt-5.1`, `project <id>`, `key <id>`."""
    in_flight: int
    limit: int | None


class QueueView(View):
    """The queue of LLM jobs at one moment."""

    queued: int
    running: int
    parked: int
    retrying: int
    dead_letters: int
    waiting: tuple[Waiting, ...]
    """The largest groups first, 200 at most."""
    slots: tuple[Slots, ...]
    """Of everything that has calls under way or a maximum of its own."""


async def queue(connection: Connection) -> QueueView:
    """How the queue stands. Reads LlmJobs."""
    depth = await queue_depth(connection)
    async with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        waiting = await (await cursor.execute(_WAITING, [MOST_LINES])).fetchall()
    running = await (await connection.execute(_RUNNING)).fetchall()
    rules = dict(await (await connection.execute(_RULES)).fetchall())
    dead = await (await connection.execute(_DEAD)).fetchone()
    return QueueView.model_validate(
        {**depth, "dead_letters": dead[0] if dead else 0, "waiting": waiting, "slots": _slots(running, rules)}
    )


def _slots(running: list[tuple[Any, ...]], rules: Mapping[str, int]) -> list[Slots]:
    used = Counter[str]()
    for provider, model, project_id, key_id, count in running:
        for name in slots_of(provider, model, project_id, key_id):
            used[name] += count
    chosen = {name for name in rules if name.partition(" ")[0] in KINDS and name not in KINDS}
    return [
        Slots(name=name, in_flight=used[name], limit=rules.get(name, rules.get(f"each {name.partition(' ')[0]}")))
        for name in sorted(used.keys() | chosen)
    ]


KINDS: Final = frozenset({"provider", "model", "project", "key"})
