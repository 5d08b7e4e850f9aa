"""The reactor: every event is answered at least once, from where it stopped, whatever refuses or is away."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from commands.handling import Command
from commands.llm_jobs import CancelLlmJob
from domain.errors import Unavailable
from domain.following import ParkedReaction
from domain.kernel import Event
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from streams.reacting import React, Reaction
from streams.reactor import Reactor
from tests.streams.test_deadlines import Alone
from tests.streams.workshop import Workshop

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Cursors:
    """Positions and what was set aside, in memory."""

    positions: dict[str, int] = field(default_factory=dict[str, int])
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)
    aside: list[ParkedReaction] = field(default_factory=list[ParkedReaction])

    async def load(self, reactions: Collection[str]) -> Mapping[str, int]:
        return {name: at for name, at in self.positions.items() if name in reactions}

    async def advance(self, positions: Mapping[str, int]) -> None:
        async with self.moved:
            self.positions.update(positions)
            self.moved.notify_all()

    async def reached(self, position: int) -> None:
        """Return when the reaction of these tests has come so far."""
        async with asyncio.timeout(5), self.moved:
            await self.moved.wait_for(lambda: self.positions.get("a_sentence", 0) >= position)

    async def park(self, reaction: str, key: UUID, position: int, reason: str) -> None:
        await self.unpark(reaction, position)
        self.aside.append(ParkedReaction(reaction, key, position, reason, NOON))

    async def parked(self) -> Sequence[ParkedReaction]:
        return list(self.aside)

    async def unpark(self, reaction: str, position: int) -> None:
        self.aside = [each for each in self.aside if each.position != position]


def cancel(_happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """Nobody wants anything."""
    yield CancelLlmJob(job_id=stored.stream_id, reason="never_mind")


def fail(_happened: Event, _stored: StoredEvent) -> Iterable[Command]:
    """A bug."""
    raise ZeroDivisionError


def made(shop: Workshop, cursors: Cursors, react: React = cancel, *, patience: float = 30) -> Reactor:
    """A reactor with one reaction to queued jobs."""
    reaction = Reaction("a_sentence", frozenset({LlmJob.Queued.TYPE}), react)
    return Reactor(
        {reaction.name: reaction},
        reader=shop.story.store,
        commands=shop.door,
        cursors=cursors,
        leadership=Alone(),
        patience=patience,
    )


@asynccontextmanager
async def running(reactor: Reactor) -> AsyncIterator[None]:
    """Let it follow."""
    task = asyncio.create_task(reactor.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_where_no_reaction_ever_ran_everything_is_still_to_be_answered(shop: Workshop) -> None:
    await shop.queue_job()
    async with running(made(shop, Cursors())):
        await shop.until("llm_job.cancelled")


async def test_a_reaction_that_is_new_beside_others_begins_at_the_head(shop: Workshop) -> None:
    old = await shop.queue_job("old")
    cursors = Cursors({"another": 1})
    reactor = made(shop, cursors)
    reactor._reactions["another"] = Reaction("another", frozenset({"never.happens"}), cancel)
    async with running(reactor):
        await cursors.reached(1)
        new = await shop.queue_job("new")
        await shop.until("llm_job.cancelled")
    assert (shop.job(old).status, shop.job(new).status) == ("queued", "cancelled")


async def test_the_cursor_waits_while_the_write_side_is_away_and_the_event_is_answered_later(shop: Workshop) -> None:
    await shop.queue_job()
    cursors, refusals = Cursors(), [Unavailable("away", retry_after=0.05) for _ in range(4)]

    async def away(_command: Command) -> None:
        if refusals:
            raise refusals.pop()

    shop.door.before = away
    async with running(made(shop, cursors, patience=0.05)):
        await shop.until("llm_job.cancelled")
    assert not refusals
    assert not cursors.aside


async def test_an_event_that_a_reaction_fails_on_is_set_aside_and_the_next_one_is_answered(shop: Workshop) -> None:
    await shop.queue_job()
    cursors = Cursors()
    async with running(made(shop, cursors, fail)):
        await cursors.reached(len(shop.story.events))
    assert [each.position for each in cursors.aside] == [2]
    repaired = made(shop, cursors)
    assert await repaired.retry_parked() == 1
    assert not cursors.aside
    assert shop.story.events[-1].type == "llm_job.cancelled"


async def test_one_that_still_fails_keeps_no_other_from_being_tried_again(shop: Workshop) -> None:
    broken = await shop.queue_job("broken")
    sound = await shop.queue_job("sound")
    cursors = Cursors()
    async with running(made(shop, cursors, fail)):
        await cursors.reached(len(shop.story.events))

    def half_repaired(happened: Event, stored: StoredEvent) -> Iterable[Command]:
        if stored.stream_id == broken:
            raise KeyError("still broken")
        yield from cancel(happened, stored)

    assert await made(shop, cursors, half_repaired).retry_parked() == 1
    assert {each.reason for each in cursors.aside} == {"KeyError('still broken')"}
    assert (shop.job(broken).status, shop.job(sound).status) == ("queued", "cancelled")


def twice(_happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """Two commands that cannot be told apart by what they are about."""
    yield CancelLlmJob(job_id=stored.stream_id, reason="never_mind")
    yield CancelLlmJob(job_id=stored.stream_id, reason="on_second_thoughts")


async def test_commands_are_known_by_what_they_are_about_not_by_their_order(shop: Workshop) -> None:
    other = await shop.queue_job("other")
    await shop.queue_job()
    stored = shop.story.events[-1]

    def both(_happened: Event, stored: StoredEvent) -> Iterable[Command]:
        yield CancelLlmJob(job_id=stored.stream_id)
        yield CancelLlmJob(job_id=other)

    def turned(happened: Event, stored: StoredEvent) -> Iterable[Command]:
        yield from reversed(list(both(happened, stored)))

    for react in (both, turned):
        cursors = Cursors()
        reactor = made(shop, cursors, react)
        await reactor.answer(reactor._reactions["a_sentence"], stored)
        assert not cursors.aside
    assert sum(each.type == "llm_job.cancelled" for each in shop.story.events) == 2


async def test_a_command_that_is_taken_for_another_one_is_a_bug_and_set_aside(shop: Workshop) -> None:
    await shop.queue_job()
    cursors = Cursors()
    async with running(made(shop, cursors, twice)):
        await cursors.reached(len(shop.story.events))
    assert [each.position for each in cursors.aside] == [2]
    assert "Idempotency-Key" in cursors.aside[0].reason
