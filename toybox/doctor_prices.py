"""What `toybox doctor` finds about prices: models without one, old cards, estimates that wait, counts nobody knows."""

from collections.abc import AsyncIterator

from adapters.clock import now
from api.prices_check import check
from domain.accounting import day_of
from projections.prices import PricedAttempts, oddities, used_models, waiting
from projections.projector import generation, reading
from toybox.findings import Finding
from toybox.system import System

OLD_DAYS = 90
MOST = 10
"""Findings that are told one by one; `toybox prices check` has all of them."""


async def examine_prices(system: System) -> AsyncIterator[Finding]:
    """Each thing that an operator should look at, or that all is well."""
    async with system.pool.connection() as connection:
        if await generation(connection, PricedAttempts.name, "live") is None:
            yield Finding("prices", "note", "not looked at: the read model of priced attempts is not built yet")
            return
    async with reading(system.pool, PricedAttempts) as read:
        used, odd = await used_models(read.connection), await oddities(read.connection)
        guessed = await waiting(read.connection)
    catalogue = await system.prices.current()
    found = check(catalogue, system.prices.imported.values(), used, odd, guessed, day_of(now()), OLD_DAYS)
    for each in found[:MOST]:
        yield Finding("prices", each.level, each.said, each.fix)
    if len(found) > MOST:
        yield Finding("prices", "note", f"{len(found) - MOST} more findings", "toybox prices check lists them")
    if not any(each.level != "note" for each in found):
        yield Finding("prices", "ok", f"{len(catalogue.cards())} cards, each of {len(used)} models in use has a price")
