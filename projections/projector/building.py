"""A projection built anew beside the live one, from position 0, while the live one goes on serving."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from domain.errors import Refused, Unavailable
from domain.log import LogReader
from projections.projector.advancing import Slice, advance, read_slice
from projections.projector.comparing import USE, Comparison
from projections.projector.connecting import Connection, Connections
from projections.projector.locking import building
from projections.projector.partitions import partition_rows
from projections.projector.positions import Generation, Superseded, generation, scratch_schema
from projections.projector.projection import Projection
from projections.projector.switching import place, switch

SWITCH_PATIENCE = 60.0
"""Seconds for which a finished build waits for long readers of the old tables."""

_ADD: Final = "insert into projection_positions (projection, version, status) values (%s, %s, 'building')"
_FORGET: Final = "delete from projection_positions where projection = %s and status = 'building'"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is. `rate` is in positions a second, `eta` in seconds; None until there is a rate."""

    projection: str
    version: int
    position: int
    head: int
    rate: float
    eta: float | None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A finished build that readers see now, and how it compared with the one before."""

    generation: Generation
    comparison: Comparison


def quietly(progress: Progress) -> None:
    """Show nothing."""


def whatever(comparison: Comparison) -> bool:  # noqa: ARG001 -- the answer of whoever does not look
    """Switch in any result."""
    return True


async def rebuild(
    connections: Connections,
    reader: LogReader,
    projection: Projection,
    *,
    progress: Callable[[Progress], None] = quietly,
    accept: Callable[[Comparison], bool] = whatever,
) -> Rebuilt:
    """Build the projection in a schema of its own, compare it with the live one, and switch in one transaction.

    A build that was interrupted is taken up where it stood. `accept` sees the comparison under the locks of the
    switch: with False everything stays as it was and the build is dropped (Refused). Unavailable while another process
    builds it, when a newer version is live, or when readers hold the old tables for over a minute.
    """
    async with building(connections, projection.name) as connection:
        build = await _begin(connection, projection)
        meter = Meter(projection, build.position, progress)
        blocked_since: float | None = None
        while True:
            build = await _catch_up(connection, reader, projection, build, meter)
            try:
                return Rebuilt(*await switch(connection, reader, projection, build, accept))
            except psycopg.errors.LockNotAvailable as held:
                blocked_since = blocked_since or time.monotonic()
                if time.monotonic() - blocked_since > SWITCH_PATIENCE:
                    msg = f"projection {projection.name} is rebuilt, but readers hold its old tables: try again later"
                    raise Unavailable(msg, code="rebuild_blocked") from held
                await asyncio.sleep(0.2)
            except Refused:
                async with connection.transaction():
                    await _forget(connection, projection)
                raise


class Meter:
    """Turns positions into progress: where, how fast, how long yet."""

    def __init__(self, projection: Projection, start: int, show: Callable[[Progress], None]) -> None:
        self._projection = projection
        self._start = start
        self._since = time.monotonic()
        self._show = show

    def tell(self, position: int, head: int) -> None:
        """Show where the build stands."""
        passed = max(time.monotonic() - self._since, 1e-6)
        rate = (position - self._start) / passed
        eta = (head - position) / rate if rate else None
        self._show(Progress(self._projection.name, self._projection.version, position, head, rate, eta))


async def _begin(connection: Connection, projection: Projection) -> Generation:
    """The build of this version that was interrupted, or a new one with empty tables."""
    live = await generation(connection, projection.name, "live")
    if live and live.version > projection.version:
        msg = (
            f"projection {projection.name} is live in version {live.version} and this program makes version "
            f"{projection.version}: upgrade it"
        )
        raise Unavailable(msg, code="newer_projection")
    begun = await generation(connection, projection.name, "building")
    if begun is None or begun.version != projection.version:
        async with connection.transaction():
            await _forget(connection, projection)
            schema = scratch_schema(projection.name)
            _, path = await place(connection)
            await connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
            await connection.execute(USE, [f"{schema}, {path}"])
            await connection.execute(projection.ddl().encode())  # bytes: the script is ours, of several statements
            await connection.execute(_ADD, [projection.name, projection.version])
        begun = await generation(connection, projection.name, "building")
    if begun is None:
        msg = f"the build of projection {projection.name} was dropped by another process; this one stops"
        raise Superseded(msg)
    return begun


async def _forget(connection: Connection, projection: Projection) -> None:
    schema = sql.Identifier(scratch_schema(projection.name))
    await connection.execute(sql.SQL("drop schema if exists {} cascade").format(schema))
    await connection.execute(_FORGET, [projection.name])


async def _target(connection: Connection, reader: LogReader, projection: Projection) -> int:
    """How far to build: where the live one of the same version is, so that both can be compared; else the head.

    The head also for one that is made from Kafka: should something be missing there, the build has it behind it.
    """
    live = await generation(connection, projection.name, "live")
    same = live is not None and live.version == projection.version
    if live and same and not await partition_rows(connection, live):
        return live.position
    return await reader.head()


async def _catch_up(
    connection: Connection, reader: LogReader, projection: Projection, build: Generation, meter: Meter
) -> Generation:
    while build.position < (target := await _target(connection, reader, projection)):
        async with aclosing(_slices(reader, projection, build.position, target)) as slices:
            async for batch in slices:
                while build.position < batch.up_to:  # twice where an event from the future stops it half-way
                    build = (await advance(connection, projection, build, batch)).generation
                meter.tell(build.position, target)
    return build


async def _slices(reader: LogReader, projection: Projection, after: int, target: int) -> AsyncGenerator[Slice]:
    """The log up to the target, the next slice being read while the last one is written."""
    ahead = asyncio.create_task(read_slice(reader, projection, after, target))
    try:
        while (batch := await ahead).up_to < target:
            ahead = asyncio.create_task(read_slice(reader, projection, batch.up_to, target))
            yield batch
        yield batch
    finally:
        ahead.cancel()
