"""Projects: phases of agents that depend on each other, and the life of the whole from creation to archive."""

from domain.projects.graph import AgentNode, NewAgent
from domain.projects.project import EDITABLE, Project, ProjectStatus, ResetScope
from domain.projects.settings import (
    Input,
    InputKind,
    InputName,
    InputNumber,
    ProjectSettings,
    QualitySettings,
    completed,
)

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
