"""The relay when nobody can tell whether a transaction was committed, on a real broker: nothing twice, nothing lost.

One guard is taken away to see that it is the one: a relay that believes its memory instead of Kafka doubles events.
"""

import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from adapters.kafka.transactions import Transactions
from domain.relaying import Record
from tests.streams.relaying import Stage, open_store, running, until, write

EVENTS = 500


class Doubtful(Transactions):
    """Goes wrong in the third transaction of the process, once."""

    done = 0

    def due(self) -> bool:
        Doubtful.done += 1
        return Doubtful.done == 3


class Unwritten(Doubtful):
    """Dies with half of the records on their way."""

    def write(self, records: Sequence[Record]) -> list[int]:
        if self.due():
            super().write(records[: len(records) // 2])
            raise ConnectionError("died while writing")
        return super().write(records)


class Uncommitted(Doubtful):
    """Dies before the commit."""

    def commit(self) -> None:
        if self.due():
            raise ConnectionError("died before the commit")
        super().commit()


class Unanswered(Doubtful):
    """Commits, and the answer is lost."""

    def commit(self) -> None:
        super().commit()
        if self.due():
            raise ConnectionError("died after the commit")


class Hung(Doubtful):
    """Commits, and never returns."""

    free: threading.Event

    def commit(self) -> None:
        super().commit()
        if self.due():
            Hung.free.wait(60)


class Remembering(KafkaOutlet):
    """Knows what it was told is committed, and does not ask Kafka what else is."""

    marker: bytes | None = None

    async def send(self, records: Sequence[Record]) -> Sequence[int]:
        offsets = await super().send(records)
        self.marker = records[-1].value
        return offsets

    async def last(self, topic: str, key: bytes) -> bytes | None:
        return self.marker


@pytest.fixture
async def stage(database: str, kafka_server: str, kafka_prefix: str) -> AsyncIterator[Stage]:
    """A log and topics of this test's own."""
    Doubtful.done, Hung.free = 0, threading.Event()
    async with open_store(database) as store:
        yield Stage(database, store, kafka_server, kafka_prefix)
    Hung.free.set()


def an_outlet(stage: Stage, kind: type[Transactions], outlet: type[KafkaOutlet] = KafkaOutlet) -> KafkaOutlet:
    made = outlet(Cluster(stage.address), f"{stage.prefix}.relay", watchdog_seconds=1.0)
    made.transactions = kind
    return made


@pytest.mark.parametrize("kind", [Unwritten, Uncommitted, Unanswered, Hung])
async def test_whatever_became_of_a_transaction_everything_is_there_once(
    stage: Stage, kind: type[Transactions]
) -> None:
    await write(stage.store, EVENTS)
    relay = stage.relay(an_outlet(stage, kind))
    async with running(relay):
        await until(lambda: relay.state.position == EVENTS)
    assert relay.state.discarded == 1
    assert not await stage.complaints()


async def test_a_relay_that_does_not_ask_kafka_doubles_what_was_committed_without_an_answer(stage: Stage) -> None:
    await write(stage.store, EVENTS)
    relay = stage.relay(an_outlet(stage, Unanswered, Remembering))
    async with running(relay):
        await until(lambda: relay.state.position == EVENTS)
    said = await stage.complaints()
    assert any("are doubled" in each for each in said), said


async def test_what_was_made_ready_ahead_is_forgotten_when_the_transaction_before_it_fails(stage: Stage) -> None:
    await write(stage.store, 3 * EVENTS)
    made: list[int] = []
    relay = stage.relay(
        an_outlet(stage, Uncommitted), batch=50, most=400, observe=lambda relayed: made.append(relayed.up_to)
    )
    async with running(relay):
        await until(lambda: relay.state.position == 3 * EVENTS)
    assert relay.state.discarded == 1
    assert made == [400, 800, 1200, 1500]
    assert not await stage.complaints()
