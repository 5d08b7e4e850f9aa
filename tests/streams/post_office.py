"""Deliveries to webhooks over a real database: subscribe, let things happen, look at what was written down."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from adapters.postgres.envelopes import PostgresEnvelopes
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresLeadership
from adapters.postgres.keyring import PostgresKeyring
from adapters.postgres.webhooks import PostgresDeliveries
from adapters.security.envelopes import WEBHOOKS
from adapters.security.sealing import KEY_BYTES
from adapters.webhooks.addresses import networks
from adapters.webhooks.poster import HttpPoster
from commands.handling import Caller, Command, Commands
from commands.projects import CreateProject
from commands.sequencer import Sequencer
from commands.webhooks import RotateWebhookSecret, SubscribeWebhook
from domain.log import StoredEvent
from domain.posting import DeliveryStanding
from domain.signing import SECRET_BYTES, secret_of
from streams.webhooks import Courier, Postman, Sender, WebhookPace
from tests.support.story import OWNER
from toybox.inventory import load

load()
MASTER = bytes(range(KEY_BYTES))
QUICK = WebhookPace(first_pause=0.02, factor=2.0, longest_pause=0.1, tries=4, save_seconds=0.05)


@dataclass
class PostOffice:
    """Everything that deliveries are made of, and a few hands to make things happen."""

    pool: AsyncConnectionPool[Any]
    conninfo: str
    store: PostgresStore
    commands: Commands
    keyring: PostgresKeyring
    secrets: PostgresEnvelopes
    deliveries: PostgresDeliveries
    pace: WebhookPace = QUICK
    ahead: timedelta = timedelta()
    """How far the clock that signs is ahead of the world's."""
    posters: list[HttpPoster] = field(default_factory=list[HttpPoster])
    _calls: int = 0

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def send(self, command: Command) -> int:
        """A command that must succeed; the position it led to."""
        self._calls += 1
        answer = await self.commands.send(command, Caller(OWNER, "cli", f"call-{self._calls}"))
        return answer.position or 0

    async def subscribe(self, url: str, *types: str, **more: Any) -> tuple[UUID, str]:
        """A webhook, and the secret that its receiver is given."""
        webhook_id, kept = uuid4(), await self._secret()
        secret_id, secret = kept
        kept_at = await self.secrets.keep(secret_id, webhook_id, secret)
        facts = {"webhook_id": webhook_id, "url": url, "types": types or ("project.*",)}
        await self.send(SubscribeWebhook(secret_id=secret_id, kept_at=kept_at, **facts, **more))
        return webhook_id, secret.get_secret_value()

    async def rotate(self, webhook_id: UUID, overlap: int = 60) -> str:
        """Its next secret."""
        secret_id, secret = await self._secret()
        kept_at = await self.secrets.keep(secret_id, webhook_id, secret)
        facts = {"webhook_id": webhook_id, "overlap_seconds": overlap}
        await self.send(RotateWebhookSecret(secret_id=secret_id, kept_at=kept_at, **facts))
        return secret.get_secret_value()

    async def happen(self, times: int = 1) -> list[int]:
        """Projects are created; the positions that say so."""
        return [await self.send(CreateProject(project_id=uuid4(), name="one")) for _ in range(times)]

    async def events(self, *types: str) -> list[StoredEvent]:
        return list(await self.store.read(0, 10_000, types=types or None))

    async def standing(self, webhook_id: UUID) -> DeliveryStanding:
        return (await self.deliveries.standings([webhook_id]))[webhook_id]

    async def until(self, webhook_id: UUID, **wanted: object) -> DeliveryStanding:
        """As soon as its standing is so."""
        async with asyncio.timeout(15):
            while True:
                found = (await self.deliveries.standings([webhook_id])).get(webhook_id)
                if found and all(getattr(found, name) == value for name, value in wanted.items()):
                    return found
                await asyncio.sleep(0.02)

    async def happened(self, kind: str) -> StoredEvent:
        """As soon as an event of this type is in the log."""
        async with asyncio.timeout(15):
            while True:
                if found := await self.events(kind):
                    return found[-1]
                await asyncio.sleep(0.02)

    async def secrets_kept(self, count: int) -> None:
        """As soon as so many are left."""
        async with asyncio.timeout(15):
            while True:
                if len(await self.secrets.kept()) == count:
                    return
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def open(
        self, *, courier: type[Courier] = Courier, pace: WebhookPace | None = None, whole_seconds: float = 5.0
    ) -> AsyncIterator[Postman]:
        """Deliver, until the block ends: as abruptly as a process that dies, for nothing is written on the way out."""
        poster = HttpPoster(networks(["127.0.0.0/8"]), now=self.now, whole_seconds=whole_seconds)
        sender = Sender(self.secrets, self.keyring, poster, self.now)
        postman = Postman(
            reader=self.store,
            commands=self.commands,
            leadership=PostgresLeadership(self.conninfo),
            deliveries=self.deliveries,
            sender=sender,
            pace=pace or self.pace,
            courier=courier,
        )
        task = asyncio.create_task(postman.run())
        try:
            yield postman
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await poster.aclose()

    async def _secret(self) -> tuple[UUID, Any]:
        return uuid4(), secret_of(os.urandom(SECRET_BYTES))


@asynccontextmanager
async def post_office(conninfo: str) -> AsyncIterator[PostOffice]:
    """Over one database."""
    async with pool(conninfo) as connections:
        store = PostgresStore(conninfo, connections)
        store.listen()
        sequencer = Sequencer(store)
        sequencer.start()
        keyring = PostgresKeyring(connections, MASTER)
        secrets = PostgresEnvelopes(connections, MASTER, WEBHOOKS)
        made = PostOffice(
            connections,
            conninfo,
            store,
            Commands(sequencer, keyring),
            keyring,
            secrets,
            PostgresDeliveries(connections),
        )
        try:
            yield made
        finally:
            await sequencer.stop()
            await store.close()
