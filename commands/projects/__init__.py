"""What may be asked of projects: their definition, their life, and what moves them from phase to phase."""

from commands.projects.blueprints import CreateProjectFromBlueprint
from commands.projects.definition import (
    AddPhase,
    ChangeAiConfig,
    ChangeProjectSettings,
    ChangeQualitySettings,
    CreateProject,
    GivenInput,
    InitializeProject,
)
from commands.projects.lifecycle import (
    ArchiveProject,
    CancelProject,
    PauseProject,
    ResetProject,
    ResumeProject,
    StartProject,
)
from commands.projects.phases import CheckPhase, MarkReadyAgents

__all__ = [
    "AddPhase",
    "ArchiveProject",
    "CancelProject",
    "ChangeAiConfig",
    "ChangeProjectSettings",
    "ChangeQualitySettings",
    "CheckPhase",
    "CreateProject",
    "CreateProjectFromBlueprint",
    "GivenInput",
    "InitializeProject",
    "MarkReadyAgents",
    "PauseProject",
    "ResetProject",
    "ResumeProject",
    "StartProject",
]
