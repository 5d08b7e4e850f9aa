"""The HTTP application of a running system: every port of the API plugged into what this process has."""

import secrets
from collections.abc import Mapping
from decimal import Decimal

from fastapi import FastAPI

from adapters.blueprints import blueprint_schema, parse_blueprint, resolve_inputs
from adapters.clock import now
from api.app import create_app
from api.authentication import Authenticator
from api.metrics import Metrics
from api.routes import health
from api.services import Blueprints, Outgoing, Reactions, Services, WebhookDoor
from domain.blueprints import Blueprint
from streams.lines import COST_TYPES, cost_line, event_line
from streams.reacting import REACTIONS
from toybox.system import System
from toybox.tracing import tracer_of
from toybox.version import VERSION


def web_app(system: System, metrics: Metrics) -> FastAPI:
    """The application; `api.app.close_feeds` it before its server stops."""
    return create_app(services_of(system, metrics))


def probes_app(system: System, metrics: Metrics) -> FastAPI:
    """What a process without the role api answers: whether it lives, whether it can work, what it measures."""
    return create_app(services_of(system, metrics), [health.router])


def services_of(system: System, metrics: Metrics) -> Services:
    """Everything that routes work with."""
    reactions = _reactions(system)
    return Services(
        commands=system.commands,
        reader=system.store,
        connections=system.pool,
        read_models=system.follower,
        reactions=reactions,
        keyring=system.keyring,
        provider_secrets=system.provider_secrets,
        drafts=system.drafts,
        nearby=system.drafter.nearby,
        audience=system.audience,
        prices=system.prices,
        objects=system.objects,
        authenticate=Authenticator(system.store, now),
        blueprints=Blueprints(parse=_parsed, resolve=_resolved, schema=blueprint_schema),
        outgoing=Outgoing(event=event_line, cost=cost_line, cost_types=COST_TYPES),
        tracer=tracer_of(
            system.settings, system.store, system.pool, positions=reactions.positions, parked=reactions.parked
        ),
        metrics=metrics,
        now=now,
        random=secrets.token_bytes,
        webhooks=WebhookDoor(
            secrets=system.webhooks.secrets,
            deliveries=system.webhooks.deliveries,
            poster=system.webhooks.poster,
            tester=system.webhooks.tester,
        ),
        posted=system.webhooks.postman.tally if "worker" in system.roles else None,
        relay=system.relay.state if system.relay else None,
        duties=system.duties,
        roles=system.roles,
        version=VERSION,
        cors_origins=tuple(system.settings.cors_origins),
        rate_limit=system.settings.rate_limit,
    )


def _reactions(system: System) -> Reactions:
    async def positions() -> Mapping[str, int]:
        # Who leads knows best: it writes its positions down only when there was something to answer.
        return system.reactor.positions or await system.cursors.load(REACTIONS)

    return Reactions(positions=positions, parked=system.cursors.parked, retry=system.reactor.retry_parked)


def _parsed(text: str) -> Blueprint:
    return parse_blueprint(text, name="blueprint")


def _resolved(blueprint: Blueprint, given: Mapping[str, str]) -> Mapping[str, str | int | Decimal]:
    return resolve_inputs(blueprint, given, base_dir=None, files=False)
