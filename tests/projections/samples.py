"""Tiny events and projections for the tests of the engine itself, and one projection that breaks its rule."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from domain.kernel import Aggregate, Created, Event, event
from domain.log import StoredEvent
from domain.values import derived_id
from projections.documents import Column, Document
from projections.projector import Applied, Connection, on
from projections.tables import Tables
from tests.support.projections import Writing

UNLUCKY = 13
"""An amount that the folds below cannot stand while they are broken."""


class Tally(Aggregate):
    """A named sum."""

    TOPIC = "sample_tally"
    name: str

    class Opened(Created, type="sample_tally.opened"):
        """A tally was opened."""

        name: str

    class Added(Aggregate.Event, type="sample_tally.added"):
        """Something was added."""

        amount: int

    class Closed(Aggregate.Event, type="sample_tally.closed"):
        """It is no longer of interest."""

    @event(Opened)
    def __init__(self, id: UUID, name: str) -> None:
        self.name = name


class TallyView(BaseModel):
    """One tally."""

    model_config = ConfigDict(frozen=True)
    name: str
    total: int = 0
    last: int | None = None


class Tallies(Document[TallyView], registered=False):
    """Every open tally, by its stream."""

    name = "sample_tallies"
    columns: ClassVar[Mapping[str, Column]] = {"name": Column(), "total": Column("bigint"), "last": Column("bigint")}
    indexes: ClassVar[Sequence[Sequence[str]]] = (("name",), ("project_id", "total"))
    broken: ClassVar[bool] = False

    @on(Tally.Opened)
    def opened(self, view: TallyView | None, event: Tally.Opened, stored: StoredEvent) -> TallyView:
        return TallyView(name=event.name)

    @on(Tally.Added)
    def added(self, view: TallyView | None, event: Tally.Added, stored: StoredEvent) -> TallyView | None:
        if self.broken and event.amount == UNLUCKY:
            msg = "13 is not an amount"
            raise ValueError(msg)
        if view is None:
            return None
        return view.model_copy(update={"total": view.total + event.amount, "last": event.amount})

    @on(Tally.Closed)
    def closed(self, view: TallyView | None, event: Tally.Closed, stored: StoredEvent) -> None:
        return None


class BrokenTallies(Tallies, registered=False):
    """The same, before its bug was fixed."""

    name = "sample_tallies"
    broken = True


class TalliesTwo(Tallies, registered=False):
    """The same, in a later version."""

    name = "sample_tallies"
    version = 2


class TeamView(BaseModel):
    """What happened last in a project, and how often anything did."""

    model_config = ConfigDict(frozen=True)
    happened: int
    last: str


class Teams(Document[TeamView], registered=False):
    """By project, over all of its streams: depends on the order within the project, as it may."""

    name = "sample_teams"

    def key(self, stored: StoredEvent, event: Event) -> UUID | None:
        return stored.project_id

    @on(Tally.Opened, Tally.Added, Tally.Closed)
    def happened(self, view: TeamView | None, event: Event, stored: StoredEvent) -> TeamView:
        return TeamView(happened=view.happened + 1 if view else 1, last=f"{stored.type} {stored.stream_id}")


class LastOfAll(Document[TeamView], registered=False):
    """Planted bug: one view over all projects that keeps whatever came last."""

    name = "sample_last_of_all"

    def key(self, stored: StoredEvent, event: Event) -> UUID | None:
        return derived_id("all")

    @on(Tally.Opened, Tally.Added)
    def happened(self, view: TeamView | None, event: Event, stored: StoredEvent) -> TeamView:
        return TeamView(happened=0, last=str(stored.stream_id))


class Lines(Tables, registered=False):
    """Amounts as rows, and their sums."""

    name = "sample_lines"

    @on(Tally.Added)
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        rows = [
            (each.stored.position, each.stored.project_id, each.event.amount)
            for each in batch
            if isinstance(each.event, Tally.Added) and each.stored.project_id
        ]
        if not rows:
            return
        positions, projects, amounts = map(list, zip(*rows, strict=True))
        await connection.execute(
            "insert into sample_lines (position, project_id, amount)"
            " select * from unnest(%s::bigint[], %s::uuid[], %s::integer[])",
            [positions, projects, amounts],
        )
        await connection.execute(
            "insert into sample_sums (project_id, amount)"
            " select project_id, sum(amount) from unnest(%s::uuid[], %s::bigint[]) as new (project_id, amount)"
            " group by project_id on conflict (project_id) do update set amount = sample_sums.amount + excluded.amount",
            [projects, amounts],
        )

    async def totals(self, connection: Connection) -> Mapping[str, str]:
        row = await (await connection.execute("select coalesce(sum(amount), 0)::text from sample_lines")).fetchone()
        return {"amount": row[0] if row else "0"}


def some_log(events: int = 400, seed: int = 7, projects: int = 5) -> Writing:
    """A generated log: tallies of a few projects and of none, opened, fed, sometimes closed."""
    random, written = Random(seed), Writing()
    owners = [derived_id("project", number) for number in range(projects)] + [None]
    streams: dict[UUID, UUID | None] = {}
    while len(written.events) < events:
        if not streams or random.random() < 0.1:
            stream = derived_id("tally", seed, len(written.events))
            streams[stream] = random.choice(owners)
            written.add(Tally.Opened, stream, streams[stream], name=f"tally {random.randint(1, 50)}")
            continue
        stream = random.choice(list(streams))
        kind = random.random()
        if kind < 0.05:
            written.add(Tally.Closed, stream, streams.pop(stream))
        elif kind < 0.1:
            written.add_unknown(stream, streams[stream])
        else:
            written.add(Tally.Added, stream, streams[stream], amount=random.randint(1, 20))
    return written
