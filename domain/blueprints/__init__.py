"""Blueprints: what a project is made from; inputs, phases, agents and their dependencies, sound by construction."""

from domain.blueprints.graph import closest
from domain.blueprints.model import (
    AgentSpec,
    AIConfig,
    Blueprint,
    BudgetLimit,
    InputSpec,
    OutputSpec,
    PhaseSpec,
    QualitySpec,
    Review,
)
from domain.blueprints.problems import BlueprintError, Path, Problem, spelled

__all__ = [
    "AIConfig",
    "AgentSpec",
    "Blueprint",
    "BlueprintError",
    "BudgetLimit",
    "InputSpec",
    "OutputSpec",
    "Path",
    "PhaseSpec",
    "Problem",
    "QualitySpec",
    "Review",
    "closest",
    "spelled",
]
