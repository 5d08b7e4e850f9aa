"""Budgets: what a scope may spend, in money and in tokens, in windows of time; held first, settled by what it was."""

from domain.budgets.budget import EXPIRED_KEPT, Budget
from domain.budgets.ledger import Hold
from domain.budgets.limits import Limit, Percent, Terms, name_of
from domain.budgets.settings import CostRules, CostSettings, rules_of, terms_under
from domain.windows import BUCKETS, LIFETIME, AskedWindow, KnownZone, Span, Window

__all__ = [
    "BUCKETS",
    "EXPIRED_KEPT",
    "LIFETIME",
    "AskedWindow",
    "Budget",
    "CostRules",
    "CostSettings",
    "Hold",
    "KnownZone",
    "Limit",
    "Percent",
    "Span",
    "Terms",
    "Window",
    "name_of",
    "rules_of",
    "terms_under",
]
