"""Projects: phases of agents that depend on each other, and the life of the whole from creation to archive."""

from domain.projects.graph import AgentNode, NewAgent
from domain.projects.project import Project
from domain.projects.settings import (
    Input,
    InputKind,
    InputName,
    InputNumber,
    ProjectSettings,
    QualitySettings,
    completed,
)
from domain.projects.status import EDITABLE, ProjectStatus, ResetScope

__all__ = [
    "EDITABLE",
    "AgentNode",
    "Input",
    "InputKind",
    "InputName",
    "InputNumber",
    "NewAgent",
    "Project",
    "ProjectSettings",
    "ProjectStatus",
    "QualitySettings",
    "ResetScope",
    "completed",
]
