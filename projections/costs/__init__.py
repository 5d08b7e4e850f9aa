"""Costs as they are asked for: facts with their lines, and sums by who, what, whose key and when."""

from projections.costs.asking import Asked, Group, Said, Which, among, groups_of
from projections.costs.facts import Costs
from projections.costs.reports import (
    CostFact,
    CostFilter,
    CostTotal,
    GroupBy,
    cost_facts,
    cost_total,
    cost_totals,
)
from projections.costs.summing import Row, Sums, booked, read, read_total

__all__ = [
    "Asked",
    "CostFact",
    "CostFilter",
    "CostTotal",
    "Costs",
    "Group",
    "GroupBy",
    "Row",
    "Said",
    "Sums",
    "Which",
    "among",
    "booked",
    "cost_facts",
    "cost_total",
    "cost_totals",
    "groups_of",
    "read",
    "read_total",
]
