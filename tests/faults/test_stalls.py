"""What holds the log up must not hold it for ever, nor be paid for by a caller: stalls, and readers that hog."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from commands.handling import Caller, Commands
from commands.sequencer import Sequencer
from commands.work import UnitOfWork
from faults.crew.journals import Work, counter_id
from faults.crew.proxy import over_tcp
from faults.crew.sending import InstallationKeyring, insist, sending
from tests.commands.counter import OpenCounter
from tests.support.story import OWNER

STALL_SECONDS = 2.6
"""Longer than the server lets an idle holder of the lock live."""


async def open_counter(commands: Commands, number: int = 0) -> None:
    await commands.send(OpenCounter(counter_id=counter_id(number)), Caller(OWNER, "http", f"open {number}"))


@asynccontextmanager
async def reached(database: str, way: str, address: str) -> AsyncIterator[str]:
    """The database by its socket or over TCP."""
    if way == "tcp":
        async with over_tcp(database, address) as conninfo:
            yield conninfo
    else:
        yield database


@pytest.mark.parametrize("way", ["socket", "tcp"])
async def test_a_process_that_stalls_in_a_decide_loses_the_lock_and_its_caller_still_gets_the_answer(
    database: str, loopback: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalls = [STALL_SECONDS]
    pending = UnitOfWork.pending

    def stall(self: UnitOfWork):
        if stalls:
            time.sleep(stalls.pop())
        return pending(self)

    async with reached(database, way, loopback) as conninfo, sending(conninfo) as (commands, store):
        await open_counter(commands)
        monkeypatch.setattr(UnitOfWork, "pending", stall)
        answer = await commands.send(Work("k", 0, 1).command, Work("k", 0, 1).caller)
        assert not stalls
        assert (answer.position, answer.versions) == (2, {counter_id(0): 2})
        assert await store.head() == 2


async def test_readers_that_hold_every_connection_do_not_hold_up_the_writer(database: str) -> None:
    async with pool(database, size=2) as opened:
        store = PostgresStore(database, opened)
        sequencer = Sequencer(store)
        sequencer.start()
        commands = Commands(sequencer, InstallationKeyring())
        async with opened.connection(), opened.connection(), asyncio.timeout(3):
            await open_counter(commands)
        await sequencer.stop()
        await store.close()


async def test_two_sequencers_over_one_store_take_turns(database: str) -> None:
    async with sending(database) as (one, store):
        other = Sequencer(store)
        other.start()
        two = Commands(other, InstallationKeyring())
        await open_counter(one)

        async def call(commands: Commands, name: str) -> None:
            for number in range(40):
                await insist(commands, Work(f"{name}-{number}", 0, 1))

        await asyncio.gather(*(call(commands, f"{n}") for n, commands in enumerate((one, two) * 4)))
        await other.stop()
        versions = Counter(event.version for event in await store.read_stream(counter_id(0)))
    assert versions == Counter(range(1, 322))
