"""Costs as they are asked for: facts with their lines, and sums by project, phase, agent, provider, model and day."""

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

__all__ = ["CostFact", "CostFilter", "CostTotal", "Costs", "GroupBy", "cost_facts", "cost_total", "cost_totals"]
