"""Webhooks as the settings want them: who delivers, who answers what became of it, who keeps the secrets."""

from dataclasses import dataclass
from typing import Any

from psycopg_pool import AsyncConnectionPool

from adapters.clock import now
from adapters.postgres.envelopes import PostgresEnvelopes
from adapters.postgres.following import PostgresLeadership
from adapters.postgres.webhooks import PostgresDeliveries
from adapters.security.envelopes import WEBHOOKS
from adapters.webhooks.addresses import networks
from adapters.webhooks.poster import HttpPoster
from commands.handling import Commands
from commands.ports import Keyring
from domain.log import LogReader
from streams.webhooks import Courier, Postman, Sender, WebhookPace, WebhookTester
from toybox.settings import Settings
from toybox.version import VERSION


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Everything of webhooks in one process; the postman does not run yet."""

    postman: Postman
    deliveries: PostgresDeliveries
    secrets: PostgresEnvelopes
    poster: HttpPoster
    tester: WebhookTester


def webhooks_of(  # noqa: PLR0913 -- one for each thing that it plugs together
    settings: Settings,
    pool: AsyncConnectionPool[Any],
    conninfo: str,
    master: bytes,
    reader: LogReader,
    commands: Commands,
    keyring: Keyring,
    *,
    pace: WebhookPace,
    courier: type[Courier] = Courier,
) -> Webhooks:
    """Put together; nothing is sent before the postman runs."""
    poster = HttpPoster(networks(settings.webhooks_allow_private), now=now, version=VERSION)
    deliveries, secrets = PostgresDeliveries(pool), PostgresEnvelopes(pool, master, WEBHOOKS)
    sender = Sender(secrets, keyring, poster, now)
    postman = Postman(
        reader=reader,
        commands=commands,
        leadership=PostgresLeadership(conninfo),
        deliveries=deliveries,
        sender=sender,
        pace=pace,
        courier=courier,
    )
    return Webhooks(postman, deliveries, secrets, poster, WebhookTester(reader, sender))
