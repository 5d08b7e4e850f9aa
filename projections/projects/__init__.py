"""Projects as they are asked for: one whole project at a glance, and the list of all."""

from projections.projects.cards import ProjectCard, projects
from projections.projects.overview import ProjectOverviews
from projections.projects.views import (
    AgentLine,
    AssetLine,
    Failure,
    JobLine,
    PhaseLine,
    ProjectOverview,
    Waiting,
    WaitsForBudget,
    WaitsForRetry,
    WaitsForReview,
)

__all__ = [
    "AgentLine",
    "AssetLine",
    "Failure",
    "JobLine",
    "PhaseLine",
    "ProjectCard",
    "ProjectOverview",
    "ProjectOverviews",
    "Waiting",
    "WaitsForBudget",
    "WaitsForRetry",
    "WaitsForReview",
    "projects",
]
