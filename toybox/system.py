"""Plugs everything together for the roles of one process: database, sequencer, followers, dispatcher."""

import asyncio
import contextlib
import importlib
import os
import pkgutil
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from adapters.blueprints import outputs_used, render
from adapters.clock import now
from adapters.llm.keys import StoredKeys
from adapters.llm.prices import load_prices
from adapters.llm.recording import Responses
from adapters.llm.registry import ModelRegistry
from adapters.objects.local import LocalObjects
from adapters.postgres.connections import pool
from adapters.postgres.drafts import PostgresAudience, PostgresDrafts
from adapters.postgres.embedded import EmbeddedPostgres, make_data_dir
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresCursors, PostgresDueTable, PostgresLeadership
from adapters.postgres.guards import check_durability
from adapters.postgres.keyring import PostgresKeyring
from adapters.postgres.migrate import migrate
from adapters.postgres.provider_secrets import PostgresSecrets
from adapters.postgres.queueing import PostgresJobQueue, PostgresLeases
from adapters.security.master_key import master_key
from commands.handling import Commands
from commands.sequencer import BatchReport, Sequencer
from domain.errors import Unavailable
from streams.deadlines import Deadlines
from streams.dispatcher import Dispatcher, Pace, Spending
from streams.dispatcher.drafting import Drafter
from streams.follower import Follower
from streams.partitioned import KafkaReactions, KafkaViews
from streams.partitioned.state import ConsumptionState
from streams.price_book import PriceBook
from streams.products.progress import ProductsState
from streams.products.publisher import StatePublisher
from streams.prompts import Prompts
from streams.provider_health import HealthWatch
from streams.reacting import REACTIONS
from streams.reactor import Reactor
from streams.relay import Relay
from streams.sweeping import SecretSweeper
from streams.watching import Watch
from streams.webhooks import Courier, WebhookPace
from toybox.following import follower_of, reactor_of
from toybox.log import hide
from toybox.publishing import publisher_of
from toybox.relaying import relay_of
from toybox.settings import ALL_ROLES, Role, Settings, environment
from toybox.supervising import keep_running
from toybox.tracing import recorder_of
from toybox.webhooks import Webhooks, webhooks_of

REGISTERING = ("domain", "commands", "projections", "streams.reactions")
"""Packages whose modules register something when they are imported; routes are the HTTP application's own."""
DRAIN_SECONDS = 20.0
"""How long model calls in flight may go on after a request to stop."""
READ_BY_WORKERS = ("llm_jobs", "deadlines")
TABLES_SECONDS = 10.0
"""How long workers wait in silence for the read models they need; then they say so."""
log = structlog.get_logger("toybox")


@dataclass(frozen=True, slots=True)
class System:
    """One running process of toybox."""

    settings: Settings
    conninfo: str
    pool: AsyncConnectionPool[Any]
    store: PostgresStore
    keyring: PostgresKeyring
    provider_secrets: PostgresSecrets
    sweeper: SecretSweeper
    drafts: PostgresDrafts
    drafter: Drafter
    audience: PostgresAudience
    sequencer: Sequencer
    commands: Commands
    objects: LocalObjects
    prices: PriceBook
    cursors: PostgresCursors
    follower: Follower | KafkaViews
    reactor: Reactor | KafkaReactions
    dispatcher: Dispatcher
    webhooks: Webhooks
    relay: Relay | None
    """Where Kafka is named and this process has the role."""
    publisher: StatePublisher | None
    """Of the state products, beside the relay."""
    roles: frozenset[Role]

    @property
    def duties(self) -> Mapping[str, ProductsState | ConsumptionState]:
        """How those stand who work with Kafka in this process, but for the relay."""
        found: dict[str, ProductsState | ConsumptionState] = {}
        if self.publisher:
            found["products"] = self.publisher.state
        if "projector" in self.roles and isinstance(self.follower, KafkaViews):
            found["views"] = self.follower.state
        if "worker" in self.roles and isinstance(self.reactor, KafkaReactions):
            found["reactions"] = self.reactor.state
        return found


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    roles: Collection[Role] = ALL_ROLES,
    environ: Mapping[str, str] | None = None,
    observe: Callable[[BatchReport], None] = lambda _: None,
    pace: Pace = Pace(),  # noqa: B008 -- frozen
    dispatcher: type[Dispatcher] = Dispatcher,
    webhook_pace: WebhookPace = WebhookPace(),  # noqa: B008 -- frozen
    courier: type[Courier] = Courier,
) -> AsyncGenerator[System]:
    """Everything that the roles need, started in order and stopped in the opposite order.

    Campaigns that break things on purpose shorten the pace, and bring a dispatcher or courier with a bug to catch.
    """
    _register()
    data_dir = make_data_dir(settings.data_dir)
    async with AsyncExitStack() as stack:
        conninfo = await _database(settings, data_dir, stack)
        await _prepare(settings, conninfo)
        opened = await stack.enter_async_context(pool(conninfo, size=settings.pool_size))
        master = master_key(data_dir, settings.master_key)
        keyring, provider_secrets = PostgresKeyring(opened, master), PostgresSecrets(opened, master)
        await keyring.check_master_key()
        store = PostgresStore(conninfo, opened)
        store.listen()
        stack.push_async_callback(store.close)
        sequencer = Sequencer(store, queue_limit=settings.queue_limit, observe=observe)
        sequencer.start()
        commands = Commands(sequencer, keyring)
        sweeper = SecretSweeper(provider_secrets, reader=store, commands=commands, now=now)
        models = ModelRegistry(
            store,
            environment() if environ is None else environ,
            StoredKeys(store, provider_secrets, on_secret=hide),
            on_first_use=sweeper.note_use,
            now=now,
            responses=Responses.parse(settings.model_responses),
        )
        stack.push_async_callback(models.aclose)
        stack.push_async_callback(sequencer.stop)
        objects = LocalObjects(settings.data_dir / "objects", keyring)
        await asyncio.to_thread(objects.sweep)
        prices = PriceBook(load_prices(settings.data_dir / "prices"), store)
        await prices.renew()
        cursors, leadership = PostgresCursors(opened), PostgresLeadership(conninfo)
        drafts = PostgresDrafts(conninfo, opened)
        stack.push_async_callback(drafts.close)
        drafter = Drafter(drafts, keyring)
        spending = Spending(
            commands=commands,
            reader=store,
            prompts=Prompts(store, keyring, objects, render, outputs_used),
            models=models,
            prices=prices,
            objects=objects,
            now=now,
            pace=pace,
            draft=drafter.begin,
            new_prices=prices.renew,
        )
        webhooks = webhooks_of(
            settings, opened, conninfo, master, store, commands, keyring, pace=webhook_pace, courier=courier
        )
        stack.push_async_callback(webhooks.poster.aclose)
        recorder, relays = recorder_of(settings, opened), settings.kafka and "relay" in roles
        if relays:  # it outlives the relay, whose last transactions it writes down
            stack.push_async_callback(_end, asyncio.create_task(keep_running("recorder", recorder.run)))
        system = System(
            settings=settings,
            conninfo=conninfo,
            pool=opened,
            store=store,
            keyring=keyring,
            provider_secrets=provider_secrets,
            sweeper=sweeper,
            drafts=drafts,
            drafter=drafter,
            audience=PostgresAudience(opened),
            sequencer=sequencer,
            commands=commands,
            objects=objects,
            prices=prices,
            cursors=cursors,
            follower=follower_of(settings, store, opened),
            reactor=reactor_of(
                settings,
                opened,
                Reactor(REACTIONS, reader=store, commands=commands, cursors=cursors, leadership=leadership),
                store,
            ),
            dispatcher=dispatcher(
                worker=_unique(settings.worker_name or f"{socket.gethostname()}-{os.getpid()}"),
                spending=spending,
                queue=PostgresJobQueue(opened, lease_seconds=pace.lease_seconds),
                leases=PostgresLeases(opened),
                slots=settings.worker_slots,
            ),
            webhooks=webhooks,
            relay=relay_of(settings, store, conninfo, observe=recorder.observe) if relays else None,
            publisher=publisher_of(settings, store, opened, conninfo, keyring) if relays else None,
            roles=frozenset(roles),
        )
        await _follow(system, stack)
        yield system


async def _database(settings: Settings, data_dir: Path, stack: AsyncExitStack) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    embedded = EmbeddedPostgres(data_dir, on_restart=lambda: log.warning("the embedded database was restarted"))
    await stack.enter_async_context(embedded)
    return embedded.conninfo


async def _prepare(settings: Settings, conninfo: str) -> None:
    try:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await check_durability(connection, allow_data_loss=settings.allow_data_loss)
    except psycopg.OperationalError as error:
        reason = str(error).strip().partition("\n")[0]
        raise Unavailable(
            f"the database does not answer ({reason}): start it, or correct TOYBOX_DATABASE_URL", code="database_away"
        ) from error
    for name in await migrate(conninfo):
        log.info("migrated", migration=name)


def _register() -> None:
    for name in REGISTERING:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(found.name)


def _unique(name: str) -> str:
    """A worker's earlier lives had other names: what they asked for and what they leased is not this one's."""
    return f"{name}.{secrets.token_hex(3)}"


async def _follow(system: System, stack: AsyncExitStack) -> None:
    if system.relay:  # first in, last out: it takes to Kafka what the others still do while they stop
        task = asyncio.create_task(keep_running("relay", system.relay.run), name="relay")
        stack.push_async_callback(_end, task)
    if system.publisher:
        task = asyncio.create_task(keep_running("products", system.publisher.run), name="products")
        stack.push_async_callback(_end, task)
    if "projector" in system.roles:
        system.follower.start()
    stack.push_async_callback(system.follower.stop)
    if "worker" in system.roles:
        deadlines = Deadlines(
            PostgresDueTable(system.pool),
            reader=system.store,
            commands=system.commands,
            leadership=PostgresLeadership(system.conninfo),
        )
        watch = HealthWatch(
            reader=system.store,
            commands=system.commands,
            leadership=PostgresLeadership(system.conninfo),
            now=now,
        )
        for name, run in (
            ("provider health", watch.run),
            ("reactions", system.reactor.run),
            ("deadlines", deadlines.run),
            ("dispatcher", system.dispatcher.run),
            ("provider keys", system.sweeper.run),
            ("drafts", system.drafter.run),
            ("watch", Watch(system.drafts, system.audience, system.commands).run),
            ("prices", system.prices.run),
        ):
            task = asyncio.create_task(_once_tables_stand(system, name, run), name=name)
            stack.push_async_callback(_end, task)
        task = asyncio.create_task(keep_running("webhooks", system.webhooks.postman.run), name="webhooks")
        stack.push_async_callback(_end, task)
        stack.push_async_callback(system.dispatcher.drain, DRAIN_SECONDS)


async def _once_tables_stand(system: System, name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Workers read the queue and the deadlines from read models; on a first start those are a moment away."""
    with contextlib.suppress(Unavailable):
        await system.follower.wait_for(READ_BY_WORKERS, 0, TABLES_SECONDS)
    await keep_running(name, run)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
