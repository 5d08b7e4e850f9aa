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
from api.services import Blueprints, Reactions, Services
from domain.blueprints import Blueprint
from streams.reacting import REACTIONS
from toybox.system import System
from toybox.version import VERSION


def web_app(system: System, metrics: Metrics) -> FastAPI:
    """The application; `api.app.close_feeds` it before its server stops."""
    return create_app(services_of(system, metrics))


def services_of(system: System, metrics: Metrics) -> Services:
    """Everything that routes work with."""
    return Services(
        commands=system.commands,
        reader=system.store,
        connections=system.pool,
        read_models=system.follower,
        reactions=_reactions(system),
        keyring=system.keyring,
        objects=system.objects,
        authenticate=Authenticator(system.store, now),
        blueprints=Blueprints(parse=_parsed, resolve=_resolved, schema=blueprint_schema),
        metrics=metrics,
        now=now,
        random=secrets.token_bytes,
        version=VERSION,
        cors_origins=tuple(system.settings.cors_origins),
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
