"""Tells one webhook of its events: in order, each until it has arrived or is given up, and never two at a time."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from commands.handling import Caller, Commands, Principal
from commands.webhooks import DisableWebhook
from domain.errors import ToyboxError, Unavailable
from domain.log import LogReader, StoredEvent
from domain.posting import Attempt, Deliveries, Tally
from streams.envelope import id_of, seal
from streams.webhooks.pace import WebhookPace
from streams.webhooks.sending import Sender
from streams.webhooks.subscription import Subscription

PRINCIPAL = Principal("webhooks", frozenset({"*"}))
BATCH = 100
GONE = 410
AGAIN_SECONDS = 5.0
"""Pause after an error that should not have happened."""
PRUNE_EVERY = 100
log = structlog.get_logger("toybox.webhooks")


@dataclass(frozen=True, slots=True)
class Bag:
    """What every courier works with."""

    reader: LogReader
    commands: Commands
    deliveries: Deliveries
    sender: Sender
    pace: WebhookPace
    slots: asyncio.Semaphore
    tally: Tally


class Stop(Exception):
    """Nothing more is to be delivered until the log says otherwise."""


class Courier:
    """One webhook's deliveries, from the place that is written down on. Its events come from two sides.

    What happens now is offered to it. What lies further back it reads for itself, up to where the offers begin; when
    it is slow and too many offers wait, it takes no more and reads again.
    """

    def __init__(self, bag: Bag, subscription: Subscription, source: str, tail: Callable[[], int]) -> None:
        self.subscription = subscription
        self._bag = bag
        self._source = source
        self._tail = tail
        self._id = subscription.webhook.id
        self._fence = subscription.told_at
        self._log = log.bind(webhook=str(self._id), origin=subscription.webhook.origin)
        self._waiting: deque[StoredEvent] = deque()
        self._news = asyncio.Event()
        self._after = 0
        self._attempts = 0
        self._wait = 0.0
        self._follows = False
        self._busy = True
        self._tried = 0

    def offer(self, stored: StoredEvent) -> None:
        """Something that has just happened."""
        if self._follows and stored.position > self._after and self.subscription.takes(stored):
            self._waiting.append(stored)
            self._follows = len(self._waiting) < self._bag.pace.window
            self._news.set()

    @property
    def passed(self) -> tuple[int, int] | None:
        """The fence, and the position up to which nothing is to be delivered; None while there may be something."""
        return (self._fence, self._tail()) if self._follows and not self._busy and not self._waiting else None

    async def run(self) -> None:
        """Until cancelled, whatever goes wrong; nobody else is kept waiting by it."""
        while True:
            try:
                await self._deliver_all()
            except Stop:
                return
            except Unavailable as away:
                self._log.warning("a webhook waits", reason=str(away))
                await asyncio.sleep(away.retry_after)
            except Exception:  # noqa: BLE001 -- it is in the log, with its traceback
                # A bug in one webhook's deliveries must not stop those of the others; it is in the log.
                self._log.exception("deliveries to a webhook failed and begin again")
                await asyncio.sleep(AGAIN_SECONDS)

    async def _deliver_all(self) -> None:
        self._fence = self.subscription.told_at
        place = await self._bag.deliveries.begin(self._id, self.subscription.beginning)
        self._after, self._attempts, self._wait = place.position, place.attempts, place.wait_seconds
        self._waiting.clear()
        self._follows, self._busy = False, True
        for position in await self._bag.deliveries.requeued(self._id):
            await self._once_more(position)
        while True:
            for stored in await self._next():
                self._bag.tally.due[self._id] = stored.recorded_at
                try:
                    await self._deliver(stored)
                finally:
                    del self._bag.tally.due[self._id]
                self._after = stored.position

    async def _next(self) -> Sequence[StoredEvent]:
        """What is to be delivered next; waits until there is something."""
        while not self._waiting:
            if self._follows:
                self._busy = False
                self._news.clear()
                await self._news.wait()
                self._busy = True
                continue
            tail = self._tail()
            found = await self._read(self._after, tail)
            if found:
                return found
            # No step between the two: what is offered from here on is the event behind the tail.
            if tail == self._tail():
                self._follows = True
            self._after = max(self._after, tail)
        return [self._waiting.popleft()]

    async def _read(self, after: int, up_to: int) -> Sequence[StoredEvent]:
        if after >= up_to:
            return ()
        subscription = self.subscription
        return await self._bag.reader.read(
            after, BATCH, types=subscription.types, project_id=subscription.webhook.project_id, up_to=up_to
        )

    async def _deliver(self, stored: StoredEvent) -> None:
        """Try until it has arrived, or is given up."""
        bag = self._bag
        while True:
            if self._wait > 0:
                await asyncio.sleep(self._wait)
            self._wait = 0.0
            attempt = await self._try(stored, self._attempts + 1)
            if attempt.posted.problem is None:
                await bag.deliveries.delivered(self._id, self._fence, attempt)
                bag.tally.tries["delivered"] += 1
                self._attempts = 0
                return
            dead = attempt.number >= bag.pace.tries and attempt.posted.status != GONE
            bag.tally.tries["dead" if dead else "failed"] += 1
            if dead:
                failing = await bag.deliveries.died(self._id, self._fence, attempt)
                self._log.warning("a delivery is given up", position=stored.position, reason=attempt.posted.problem)
                self._attempts, self._after = 0, stored.position
            else:
                pause = bag.pace.pause(self._id, stored.position, attempt.number, attempt.posted.retry_after)
                failing = await bag.deliveries.failed(self._id, self._fence, attempt, pause)
                self._attempts, self._wait = attempt.number, pause
            await self._stop_if_gone(attempt)
            if failing >= bag.pace.disable_seconds:
                how_long = f"{failing / 3600:.0f} hours" if failing >= 3600 else f"{failing:.0f} seconds"
                await self._disable("failing", f"nothing has arrived for {how_long}: {attempt.posted.problem}")
            if dead:
                return

    async def _once_more(self, position: int) -> None:
        """A dead letter gets one try; then it has arrived or is dead again."""
        events = await self._bag.reader.read(position - 1, 1, up_to=position)
        for stored in events:
            attempt = await self._try(stored, 1)
            if attempt.posted.problem is None:
                await self._bag.deliveries.delivered(self._id, self._fence, attempt)
                self._bag.tally.tries["delivered"] += 1
            else:
                await self._bag.deliveries.died(self._id, self._fence, attempt)
                self._bag.tally.tries["dead"] += 1
                await self._stop_if_gone(attempt)

    async def _try(self, stored: StoredEvent, number: int) -> Attempt:
        async with self._bag.slots:
            body = seal(stored, 0, self._source)
            posted = await self._bag.sender.send(self.subscription.webhook, id_of(stored), body)
        self._tried += 1
        if self._tried % PRUNE_EVERY == 1:  # the first one too: many a courier does not live to see a hundred
            await self._bag.deliveries.prune(self._id, self._bag.pace.kept_attempts)
        level = self._log.debug if posted.problem is None else self._log.info
        level("told a webhook", position=stored.position, number=number, status=posted.status, problem=posted.problem)
        return Attempt(stored.position, id_of(stored), stored.type, number, posted)

    async def _stop_if_gone(self, attempt: Attempt) -> None:
        if attempt.posted.status == GONE:
            await self._disable("gone", "it answered 410: gone for ever")

    async def _disable(self, reason: str, detail: str) -> None:
        command = DisableWebhook(webhook_id=self._id, reason=reason, detail=detail[:200])
        caller = Caller(PRINCIPAL, "worker", f"disable|{self._id}|{self._fence}")
        try:
            await self._bag.commands.send(command, caller)
        except Unavailable:
            raise
        except ToyboxError as refusal:
            self._log.debug("not disabled", because=refusal.code)
        self._log.warning("a webhook is disabled", reason=reason, detail=detail)
        raise Stop
