"""Views that stood back on Kafka follow again, also where the database was away while they were looked at."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from domain.consuming import Taker
from domain.relaying import TopicFacts
from projections.projector import Leadership, rebuild
from streams.partitioned import KafkaViews
from streams.partitioned import views as views_module
from streams.topics import Topics
from tests.projections.samples import Tallies, Teams
from tests.streams.kafka_following import standing, until_true
from tests.streams.relaying import open_store


class Lending:
    """A pool whose database is away now and then."""

    def __init__(self, lent: AsyncConnectionPool[Any]) -> None:
        self._lent = lent
        self.away = False
        self.refused = asyncio.Event()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        if self.away:
            self.refused.set()
            raise psycopg.OperationalError("away")
        async with self._lent.connection() as connection:
            yield connection


@dataclass
class Broker:
    """Topics that are there, and a consumer that has nothing to bring."""

    begun: int = 0

    async def describe(self, names: Collection[str]) -> Mapping[str, TopicFacts]:
        return {each: TopicFacts(each, 1, 1, {}, each) for each in names}

    async def create(self, topics: Sequence[TopicFacts]) -> None:
        raise NotImplementedError("they are there")

    async def run(self, taker: Taker) -> None:
        self.begun += 1
        await taker.resume([])
        await asyncio.Event().wait()

    async def send(self, topic: str, key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> None:
        raise NotImplementedError("nothing is foreign")

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        raise NotImplementedError("nothing was followed before")


async def test_a_view_that_stood_back_follows_again_after_the_database_was_away(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_module, "LOOK_SECONDS", 0.02)
    async with open_store(database) as store, pool(database, size=8) as lent:
        for each in (Tallies(), Teams()):
            await rebuild(lent, store, each)
        other = Leadership(lent)
        assert await other.take(Teams.name)
        lending, broker = Lending(lent), Broker()
        views = KafkaViews(
            broker,
            broker,
            reader=store,
            connections=lending,
            topics=Topics.named(),
            projections=[Tallies(), Teams()],
        )

        async def follows() -> bool:
            return (await standing(views, Teams.name)).state == "following"

        async def stands_by() -> bool:
            found = [(await standing(views, each)).state for each in (Tallies.name, Teams.name)]
            return found == ["following", "standby"]

        views.start()
        try:
            await until_true(stands_by, 5)
            lending.away = True
            await lending.refused.wait()
            await asyncio.sleep(0.1)
            lending.away = False
            await other.close()
            await until_true(follows, 5)
        finally:
            await views.stop()
            await other.close()
    assert broker.begun == 2
