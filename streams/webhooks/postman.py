"""Leads the deliveries to all webhooks: reads the log once for everybody, keeps a courier for each active one."""

import asyncio
import time
from collections.abc import Iterable
from uuid import UUID

import structlog

from commands.handling import Commands
from domain.errors import Unavailable
from domain.following import Leadership
from domain.log import LogReader, StoredEvent, leaf
from domain.posting import Deliveries, Tally
from domain.webhooks import Webhook, types_meant
from streams.envelope import source_of
from streams.webhooks.courier import Bag, Courier
from streams.webhooks.pace import WebhookPace
from streams.webhooks.sending import Sender
from streams.webhooks.subscription import Subscription

BATCH = 500
POLL_SECONDS = 5.0
ORPHAN_SECONDS = 15 * 60.0
"""How long a secret may lie there that no event speaks of: three times what a command may take that would."""
OWN = types_meant(["webhook.*"])
log = structlog.get_logger("toybox.webhooks")


class Postman:
    """All deliveries of one process. Whoever leads makes them; the others stand by."""

    def __init__(
        self,
        *,
        reader: LogReader,
        commands: Commands,
        leadership: Leadership,
        deliveries: Deliveries,
        sender: Sender,
        pace: WebhookPace = WebhookPace(),  # noqa: B008 -- frozen
        courier: type[Courier] = Courier,
    ) -> None:
        slots = asyncio.Semaphore(pace.at_once)
        self.tally = Tally()
        self._bag = Bag(reader, commands, deliveries, sender, pace, slots, self.tally)
        self._leadership = leadership
        self._courier = courier
        self._source = ""
        self._known: dict[UUID, Subscription] = {}
        self._couriers: dict[UUID, tuple[Courier, asyncio.Task[None]]] = {}
        self._wanted: frozenset[str] = OWN
        self._at = 0
        self._saved_at = 0.0
        self._passed: dict[UUID, tuple[int, int]] = {}

    async def run(self) -> None:
        """Lead whenever possible, until cancelled."""
        while True:
            try:
                async with self._leadership.leading("webhooks"):
                    try:
                        await self._lead()
                    finally:
                        await self._end(list(self._couriers))
            except Unavailable as away:
                log.warning("webhooks wait", reason=str(away))
                await asyncio.sleep(away.retry_after)

    async def _lead(self) -> None:
        bag = self._bag
        # First the head, then the histories: what is told in between is heard again, and changes nothing then.
        self._at = await bag.reader.head()
        known = await bag.deliveries.webhooks()
        histories = await bag.reader.read_streams(known)
        found = {each: Subscription.of(history) for each, history in histories.items()}
        self._known = {each: subscription for each, subscription in found.items() if subscription}
        await self._name_source()
        for each in self._known:
            await self._take_up(each)
        await self._sweep()
        while True:
            head = await bag.reader.wait(self._at, POLL_SECONDS)
            if head <= self._at:
                await self._leadership.check("webhooks")
            else:
                await self._hear(head)
            if time.monotonic() - self._saved_at > bag.pace.save_seconds:
                await self._save()

    async def _hear(self, head: int) -> None:
        events = await self._bag.reader.read(self._at, BATCH, types=self._wanted, up_to=head)
        await self._name_source()
        for stored in events:
            # Before anything is offered: a courier that takes up work in between reads up to here for itself.
            self._at = stored.position
            for courier, _ in self._couriers.values():
                courier.offer(stored)
            if stored.type in OWN:
                wanted = self._wanted
                await self._heard(stored)
                if not self._wanted <= wanted:  # this batch was read without what is wanted now
                    return
        if len(events) < BATCH:
            self._at = max(self._at, head)

    async def _heard(self, stored: StoredEvent) -> None:
        known = self._known.get(stored.stream_id)
        if known is None:
            found = Subscription.of(await self._bag.reader.read_stream(stored.stream_id, up_to=stored.position))
            if found is None:
                return
            self._known[stored.stream_id] = found
        else:
            before = known.told_at
            if known.then(stored).told_at == before:
                return
        await self._take_up(stored.stream_id)
        if stored.type in (Webhook.SecretRotated.TYPE, Webhook.Removed.TYPE):
            await self._sweep()

    async def _take_up(self, webhook_id: UUID) -> None:
        """A courier for it as it is now; what it had under way is told again."""
        await self._end([webhook_id])
        subscription = self._known[webhook_id]
        if subscription.active:
            courier = self._courier(self._bag, subscription, self._source, lambda: self._at)
            task = asyncio.create_task(courier.run(), name=f"webhook-{webhook_id}")
            self._couriers[webhook_id] = (courier, task)
        elif subscription.webhook.status == "removed":
            await self._bag.deliveries.forget(webhook_id)
        self._wanted = OWN.union(*(each.types for each in self._known.values() if each.active))

    async def _end(self, webhooks: Iterable[UUID]) -> None:
        ending = [self._couriers.pop(each)[1] for each in webhooks if each in self._couriers]
        for task in ending:
            task.cancel()
        if ending:
            # Not one by one behind a `suppress`: that would swallow the postman's own end as well.
            await asyncio.wait(ending)

    async def _save(self) -> None:
        """Write down where nothing was to be delivered, so that the next leader need not read it all again."""
        self._saved_at = time.monotonic()
        passed = {each: place for each, (courier, _) in self._couriers.items() if (place := courier.passed)}
        moved = {each: place for each, place in passed.items() if self._passed.get(each) != place}
        if moved:
            await self._bag.deliveries.passed(moved)
        self._passed = passed
        await self._sweep()

    async def _sweep(self) -> None:
        """Erase secrets that sign nothing any more, and those that no event ever spoke of."""
        secrets = self._bag.sender.secrets
        rows = await secrets.kept()
        now = self._bag.sender.now()
        live = {secret for each in self._known.values() for secret in each.webhook.secrets(now)}
        spoken_of = {secret for each in self._known.values() for secret in each.secrets}
        lying = {each.secret_id for each in rows}
        if ended := lying & spoken_of - live:
            await secrets.destroy(ended)
        if orphans := lying - spoken_of:  # young ones may be those of commands that are still under way
            await secrets.destroy(orphans, unless_kept_within=ORPHAN_SECONDS)

    async def _name_source(self) -> None:
        if not self._source and (first := await self._bag.reader.read(0, 1)):
            self._source = source_of(leaf(first[0]).hex())
