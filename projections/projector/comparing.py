"""What a rebuild is compared by before it is switched in: rows, totals and a digest of every table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from projections.projector.connecting import Connection
from projections.projector.projection import Projection

# The sum of the rows' hashes: no order, no sort, one pass.
_FIGURES: Final = "select count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text from {} t"
USE: Final = "select set_config('search_path', %s, true)"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one build of a projection holds at one position."""

    position: int
    rows: Mapping[str, int]
    """Rows by table."""
    digests: Mapping[str, str]
    """A number by table that is the same for the same rows, in whatever order they lie."""
    totals: Mapping[str, str]
    """What the projection itself counts."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The candidate beside what is live; `live` is None when there is nothing to compare with."""

    live: Figures | None
    built: Figures

    @property
    def comparable(self) -> bool:
        """Whether both stand at the same position, so that they ought to hold the same."""
        return self.live is not None and self.live.position == self.built.position

    @property
    def equal(self) -> bool:
        """Whether both hold the same rows, to the last column."""
        return self.live is not None and self.live.digests == self.built.digests

    def differences(self) -> Sequence[str]:
        """What differs, one line each."""
        if self.live is None:
            return []
        names = sorted({*self.live.digests, *self.built.digests})
        tables = [
            f"{name}: {self.live.rows.get(name, 'no')} rows live, {self.built.rows.get(name, 'no')} rows rebuilt"
            for name in names
            if self.live.digests.get(name) != self.built.digests.get(name)
        ]
        totals = [
            f"{name}: {self.live.totals.get(name)} live, {self.built.totals.get(name)} rebuilt"
            for name in sorted({*self.live.totals, *self.built.totals})
            if self.live.totals.get(name) != self.built.totals.get(name)
        ]
        return tables + totals


async def figures(
    connection: Connection, projection: Projection, tables: Sequence[str], *, search_path: str, position: int
) -> Figures:
    """Measure the tables that this search path finds; it stays set until the transaction ends."""
    await connection.execute(USE, [search_path])
    rows, digests = dict[str, int](), dict[str, str]()
    for table in tables:
        query = sql.SQL(_FIGURES).format(sql.Identifier(table))
        row = await (await connection.execute(query)).fetchone()
        if row:
            rows[table], digests[table] = row
    return Figures(position, rows, digests, await projection.totals(connection))
