"""The HTTP application in a test: in memory for commands, on PostgreSQL with its followers for queries and feeds."""

import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from adapters.blueprints import blueprint_schema, parse_blueprint, resolve_inputs
from adapters.llm.prices import load_prices
from adapters.objects.local import LocalObjects
from adapters.postgres.connections import pool
from adapters.postgres.deliveries import PostgresLedger
from adapters.postgres.drafts import PostgresAudience, PostgresDrafts
from adapters.postgres.envelopes import PostgresEnvelopes
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresCursors
from adapters.postgres.keyring import PostgresKeyring
from adapters.postgres.log import PostgresLog
from adapters.postgres.provider_secrets import PostgresSecrets
from adapters.postgres.webhooks import PostgresDeliveries
from adapters.security.envelopes import WEBHOOKS, MemorySecrets
from adapters.security.sealing import KEY_BYTES, MemoryKeyring
from adapters.webhooks.addresses import networks
from adapters.webhooks.poster import HttpPoster
from api.app import close_feeds, create_app
from api.authentication import Authenticator
from api.metrics import Metrics
from api.services import Blueprints, Limits, Outgoing, Reactions, ReadModels, Services, Standing, WebhookDoor
from commands.handling import Caller, Command, Commands, Principal
from commands.identity.access_keys import IssueAccessKey
from commands.ports import EventStore
from commands.sequencer import Answer, Sequencer
from domain.blueprints import Blueprint
from domain.delivering import Trace, Tracer
from domain.drafting import Audience, Drafts
from domain.errors import Unavailable
from domain.following import ParkedReaction
from domain.identity.tokens import new_token, parse_token
from domain.keeping import ProviderSecrets
from domain.log import LogReader, StoredEvent
from projections.projector import PROJECTIONS, Connection, rebuild
from streams.follower import Follower
from streams.lines import COST_TYPES, cost_line, event_line
from streams.price_book import PriceBook
from streams.reacting import REACTIONS
from streams.topics import Topics
from streams.tracing import EventTracer
from streams.webhooks import Sender, WebhookTester
from tests.support.story import OWNER, Story
from toybox.inventory import load

load()
LIMITS = Limits(body_bytes=64 * 1024, blueprint_bytes=256 * 1024, upload_bytes=1024 * 1024)


class NoConnections:
    """There is no database here: whatever asks one is told so."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        raise Unavailable("these tests have no read models", code="database_away")


class NoReadModels:
    """Nothing is followed here."""

    async def wait_for(self, names: Collection[str], position: int, timeout: float) -> None:  # noqa: ASYNC109 -- as the port has it
        raise Unavailable(f"{', '.join(names)} will never show {position}", code="behind")

    async def standings(self) -> Sequence[Standing]:
        return []


class NoTracer:
    """Nobody has kept a ledger here."""

    async def trace(self, stored: StoredEvent) -> Trace:
        raise Unavailable(f"nobody knows where event {stored.position} went", code="database_away")


class Api:
    """An application, the owner's key to it, and what stands behind it."""

    def __init__(self, services: Services, store: EventStore, owner: str) -> None:
        self.services = services
        self.store = store
        self.owner = owner
        self.app: FastAPI = create_app(services)
        self.http = self.client(owner)
        self._calls = 0

    def client(self, token: str | None) -> httpx.AsyncClient:
        """A client with this key, or with none."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=transport, base_url="http://toybox.test", headers=headers)

    async def key(self, *permissions: str, label: str = "tester", expires_at: datetime | None = None) -> str:
        """A key with these permissions."""
        return await issue(self.services.commands, *permissions, label=label, expires_at=expires_at)

    async def send(self, command: Command) -> Answer:
        """What was done before, past HTTP."""
        self._calls += 1
        return await self.services.commands.send(command, Caller(OWNER, "cli", f"given-{self._calls}"))

    async def events(self) -> Sequence[StoredEvent]:
        """Every event that is not about keys."""
        return [each for each in await self.store.read(0, 10_000) if not each.type.startswith("access_key.")]

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """A query that must succeed."""
        answer = await self.http.get(path, params=params)
        assert answer.is_success, answer.text
        return answer

    async def post(self, path: str, body: Mapping[str, Any] | None = None, **headers: str) -> httpx.Response:
        """A command that must succeed."""
        answer = await self.http.post(path, json=body or {}, headers=headers)
        assert answer.is_success, answer.text
        return answer


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that was answered, checked for what every problem has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/problems/{code}")
    assert body["detail"]
    assert body["correlation_id"] == answer.headers["x-correlation-id"]
    return body


async def issue(commands: Commands, *permissions: str, label: str, expires_at: datetime | None = None) -> str:
    """A new key, straight into the log."""
    token = new_token(os.urandom)
    known = parse_token(token)
    assert known is not None
    command = IssueAccessKey(
        key_hash=known.key_hash, prefix=known.prefix, label=label, permissions=permissions, expires_at=expires_at
    )
    await commands.send(command, Caller(Principal("toybox", frozenset({"*"})), "cli", known.key_hash))
    return token


def services_over(
    commands: Commands,
    store: EventStore,
    keyring: MemoryKeyring | PostgresKeyring,
    folder: Path,
    *,
    connections: Any,
    read_models: ReadModels,
    now: Any,
    metrics: Metrics,
    cors_origins: Sequence[str] = (),
    tracer: Tracer | None = None,
    provider_secrets: ProviderSecrets | None = None,
    drafts: Drafts | None = None,
    audience: Audience | None = None,
    webhooks: WebhookDoor | None = None,
) -> Services:
    """The ports of an application over this store."""

    async def positions() -> Mapping[str, int]:
        return {"mark_ready_agents": 0}

    async def parked() -> Sequence[ParkedReaction]:
        return []

    async def retry() -> int:
        return 0

    def parse(text: str) -> Blueprint:
        return parse_blueprint(text, name="blueprint")

    def resolve(blueprint: Blueprint, given: Mapping[str, str]) -> Mapping[str, str | int | Decimal]:
        return resolve_inputs(blueprint, given, base_dir=None, files=False)

    return Services(
        commands=commands,
        reader=store,
        connections=connections,
        read_models=read_models,
        prices=PriceBook(load_prices(), store),
        reactions=Reactions(positions, parked, retry),
        keyring=keyring,
        objects=LocalObjects(folder / "objects", keyring),
        authenticate=Authenticator(store, now),
        blueprints=Blueprints(parse, resolve, blueprint_schema),
        outgoing=Outgoing(event=event_line, cost=cost_line, cost_types=COST_TYPES),
        tracer=tracer or NoTracer(),
        metrics=metrics,
        now=now,
        random=os.urandom,
        provider_secrets=provider_secrets,
        drafts=drafts,
        audience=audience,
        webhooks=webhooks,
        limits=LIMITS,
        cors_origins=cors_origins,
    )


def tracer_over(store: LogReader, opened: Any) -> EventTracer:
    """Who follows events on a database without Kafka, by its tables alone."""
    cursors = PostgresCursors(opened)

    async def positions() -> Mapping[str, int]:
        return await cursors.load(REACTIONS)

    return EventTracer(
        reader=store, connections=opened, ledger=PostgresLedger(opened), topic=Topics.named().events, finder=None,
        reactions=REACTIONS, positions=positions, parked=cursors.parked,
    )  # fmt: skip


@asynccontextmanager
async def api_in_memory(story: Story, folder: Path, *, cors_origins: Sequence[str] = ()) -> AsyncIterator[Api]:
    """The application over a story's log."""
    services = services_over(
        story.commands, story.store, story.keyring, folder,
        connections=NoConnections(), read_models=NoReadModels(), now=story.clock, metrics=Metrics(),
        cors_origins=cors_origins, provider_secrets=MemorySecrets(story.store, story.clock),
    )  # fmt: skip
    api = Api(services, story.store, await issue(story.commands, "*", label="owner"))
    try:
        yield api
    finally:
        await close_feeds(api.app)
        await api.http.aclose()


async def build_read_models(database: str) -> None:
    """Build every read model of an empty log."""
    async with pool(database, size=2) as opened:
        for projection in PROJECTIONS.values():
            await rebuild(opened, PostgresLog(database, opened), projection)


def webhook_door(opened: Any, store: LogReader, keyring: PostgresKeyring, stack: AsyncExitStack) -> WebhookDoor:
    """Webhooks that may be posted to on this machine."""

    def now() -> datetime:
        return datetime.now(UTC)

    poster = HttpPoster(networks(["127.0.0.0/8"]), now=now)
    stack.push_async_callback(poster.aclose)
    secrets = PostgresEnvelopes(opened, os.urandom(KEY_BYTES), WEBHOOKS)
    tester = WebhookTester(store, Sender(secrets, keyring, poster, now))
    return WebhookDoor(secrets, PostgresDeliveries(opened), poster, tester)


@asynccontextmanager
async def api_on_postgres(database: str, folder: Path) -> AsyncIterator[Api]:
    """The application over a real database, with everything that follows its log."""
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(pool(database, size=10))
        keyring = PostgresKeyring(opened, os.urandom(KEY_BYTES))
        store = PostgresStore(database, opened)
        drafts = PostgresDrafts(database, opened)
        stack.push_async_callback(drafts.close)
        store.listen()
        stack.push_async_callback(store.close)
        metrics = Metrics()
        sequencer = Sequencer(store, observe=metrics.observe_batch)
        sequencer.start()
        stack.push_async_callback(sequencer.stop)
        follower = Follower(store, opened)
        follower.start()
        stack.push_async_callback(follower.stop)
        commands = Commands(sequencer, keyring)
        services = services_over(
            commands, store, keyring, folder,
            connections=opened, read_models=follower, now=lambda: datetime.now(UTC), metrics=metrics,
            tracer=tracer_over(store, opened), provider_secrets=PostgresSecrets(opened, os.urandom(KEY_BYTES)),
            drafts=drafts, audience=PostgresAudience(opened),
            webhooks=webhook_door(opened, store, keyring, stack),
        )  # fmt: skip
        api = Api(services, store, await issue(commands, "*", label="owner"))
        stack.push_async_callback(api.http.aclose)
        stack.push_async_callback(close_feeds, api.app)
        await follower.wait_for([each.projection for each in await follower.standings()], 1, 30)
        yield api
