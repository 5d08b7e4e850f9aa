"""Prices as they are asked for: imported cards, what was priced when, what waits, and what was changed later."""

from projections.prices.attempts import PricedAttempts
from projections.prices.cards import PriceCards, PriceCardView, price_cards
from projections.prices.queries import (
    Between,
    CostChange,
    Estimate,
    Oddity,
    Priced,
    UsedModel,
    attempts_by_response,
    cost_changes,
    estimates,
    jobs_of_attempts,
    oddities,
    priced,
    used_models,
    waiting,
)

__all__ = [
    "Between",
    "CostChange",
    "Estimate",
    "Oddity",
    "PriceCardView",
    "PriceCards",
    "Priced",
    "PricedAttempts",
    "UsedModel",
    "attempts_by_response",
    "cost_changes",
    "estimates",
    "jobs_of_attempts",
    "oddities",
    "price_cards",
    "priced",
    "used_models",
    "waiting",
]
