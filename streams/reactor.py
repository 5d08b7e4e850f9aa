"""Runs the reactions: follows the log, answers each event with commands, at least once and with the same ids."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

import structlog

from commands.handling import Caller, Command, Commands, Principal
from domain.errors import ToyboxError, Unavailable
from domain.following import Cursors, Leadership
from domain.kernel import load_event
from domain.log import LogReader, StoredEvent
from streams.reacting import Reaction, key_of

BATCH = 500
POLL_SECONDS = 5.0
PATIENCE_SECONDS = 30.0
"""How long an event is tried again while the system says Unavailable, before its lead is given up."""
KEY_REUSED = "idempotency_key_reused"
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
log = structlog.get_logger("toybox.reactions")


def principal(name: str) -> Principal:
    """A reaction acts for nobody: its permissions were given when its cause was allowed."""
    return Principal(f"reaction:{name}", frozenset({"*"}))


def caller_of(name: str, command: Command, stored: StoredEvent) -> Caller:
    """As whom a reaction asks for a command because of an event: what its command id comes from."""
    return Caller(
        principal(name),
        "reaction",
        key_of(command, stored),
        correlation_id=stored.correlation_id,
        causation_id=stored.command_id,
        trace_id=stored.trace_id,
    )


class Reactor:
    """All reactions of one process. Whoever leads does the work; the others stand by."""

    def __init__(
        self,
        reactions: Mapping[str, Reaction],
        *,
        reader: LogReader,
        commands: Commands,
        cursors: Cursors,
        leadership: Leadership,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._reactions = dict(reactions)
        self._reader = reader
        self._commands = commands
        self._cursors = cursors
        self._leadership = leadership
        self._patience = patience
        self.positions: dict[str, int] = {}
        """How far each reaction is, for metrics."""

    async def run(self) -> None:
        """Lead whenever possible, until cancelled."""
        while True:
            try:
                async with self._leadership.leading("reactions"):
                    await self._follow()
            except Unavailable as away:
                log.warning("reactions wait", reason=str(away))
                await asyncio.sleep(away.retry_after)

    async def _follow(self) -> None:
        self.positions = await self.start_positions()
        types = frozenset[str]().union(*(each.types for each in self._reactions.values()))
        while True:
            at = min(self.positions.values())
            head = await self._reader.wait(at, POLL_SECONDS)
            if head <= at:
                await self._leadership.check("reactions")
                continue
            events = await self._reader.read(at, BATCH, types=types, up_to=head)
            await self.answer_all(events, self._beyond)
            reached = events[-1].position if len(events) == BATCH else head
            moved = {name: reached for name, position in self.positions.items() if position < reached}
            self.positions.update(moved)
            # Only after something was answered: an idle log should cost no writes. Seeing an event again is harmless.
            if events:
                await self._cursors.advance(moved)

    async def start_positions(self) -> dict[str, int]:
        """Where each reaction goes on, those included that never ran."""
        known = await self._cursors.load(self._reactions)
        fresh = [name for name in self._reactions if name not in known]
        # Where no reaction ever ran, nothing was answered yet: what was asked for before the first worker came must be.
        head = await self._reader.head() if fresh and known else 0
        started = {name: 0 if self._reactions[name].from_start else head for name in fresh}
        if started:
            await self._cursors.advance(started)
        return {name: known.get(name, started.get(name, 0)) for name in self._reactions}

    def _beyond(self, reaction: Reaction, stored: StoredEvent) -> bool:
        return stored.position > self.positions[reaction.name]

    async def answer_all(self, events: Sequence[StoredEvent], due: Callable[[Reaction, StoredEvent], bool]) -> None:
        """Keys side by side, the events of one key in order, each by the reactions for which it is due."""
        by_key: dict[UUID, list[StoredEvent]] = defaultdict(list)
        for stored in events:
            by_key[Reaction.key(stored)].append(stored)
        try:
            async with asyncio.TaskGroup() as group:
                for of_one_key in by_key.values():
                    group.create_task(self._answer_key(of_one_key, due))
        except ExceptionGroup as failures:
            away, others = failures.split(Unavailable)
            if away is None or others is not None:
                raise
            refusals = [each for each in away.exceptions if isinstance(each, Unavailable)]
            raise Unavailable(
                f"{len(by_key)} keys wait for the write side ({refusals[0]})",
                retry_after=max(each.retry_after for each in refusals),
            ) from failures

    async def _answer_key(self, events: Iterable[StoredEvent], due: Callable[[Reaction, StoredEvent], bool]) -> None:
        for stored in events:
            for reaction in self._reactions.values():
                if stored.type in reaction.types and due(reaction, stored):
                    await self.answer(reaction, stored)

    async def answer(self, reaction: Reaction, stored: StoredEvent) -> None:
        """Send what one event asks for. A refusal is an answer; a bug is set aside for people to look at."""
        loop = asyncio.get_running_loop()
        give_up, attempt = loop.time() + self._patience, 0
        while True:
            try:
                await self._send(reaction, stored)
            except Unavailable as away:
                if loop.time() > give_up:
                    raise
                await asyncio.sleep(max(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)], away.retry_after / 10))
                attempt += 1
            except Exception as bug:  # noqa: BLE001 -- one event must not keep all later ones waiting
                await self._set_aside(reaction, stored, bug)
                return
            else:
                return

    async def _set_aside(self, reaction: Reaction, stored: StoredEvent, bug: Exception) -> None:
        log.error("a reaction failed", reaction=reaction.name, position=stored.position, exc_info=bug)
        await self._cursors.park(reaction.name, Reaction.key(stored), stored.position, repr(bug)[:500])

    async def _send(self, reaction: Reaction, stored: StoredEvent) -> None:
        for command in reaction.react(load_event(stored), stored):
            try:
                await self._commands.send(command, caller_of(reaction.name, command, stored))
            except Unavailable:
                raise
            except ToyboxError as refusal:
                if refusal.code == KEY_REUSED:
                    raise  # two of its commands have one id, so one of them was never carried out: a bug
                # Nothing to do any more, or somebody else was first: either way this event is answered.
                log.debug("not needed", reaction=reaction.name, position=stored.position, because=refusal.code)

    async def retry_parked(self) -> int:
        """Answer again what was set aside; how many are through now."""
        done = 0
        for parked in await self._cursors.parked():
            reaction = self._reactions.get(parked.reaction)
            events = await self._reader.read(parked.position - 1, 1, up_to=parked.position)
            if reaction is None or not events:
                continue
            try:
                await self._send(reaction, events[0])
            except Unavailable:
                raise
            except Exception as bug:  # noqa: BLE001 -- what still fails must not keep those behind it waiting
                await self._set_aside(reaction, events[0], bug)
            else:
                await self._cursors.unpark(parked.reaction, parked.position)
                done += 1
        return done
