"""Routes that lead a project through its life and change its settings."""

from api.commanding import offer
from api.routing import router_of
from commands.projects import (
    AddPhase,
    ArchiveProject,
    CancelProject,
    ChangeAiConfig,
    ChangeProjectSettings,
    ChangeQualitySettings,
    PauseProject,
    ResetProject,
    ResumeProject,
    StartProject,
)

router = router_of("projects", "/api/projects/{project_id}")

offer(router, "POST", "/start", StartProject, name="start_project", about="project_id")
offer(router, "POST", "/pause", PauseProject, name="pause_project", about="project_id")
offer(router, "POST", "/resume", ResumeProject, name="resume_project", about="project_id")
offer(router, "POST", "/cancel", CancelProject, name="cancel_project", about="project_id")
offer(router, "POST", "/archive", ArchiveProject, name="archive_project", about="project_id")
offer(router, "POST", "/reset", ResetProject, name="reset_project", about="project_id")
offer(router, "POST", "/phases", AddPhase, name="add_phase", about="project_id")
offer(router, "PATCH", "/settings", ChangeProjectSettings, name="change_project_settings", about="project_id")
offer(router, "PUT", "/quality-settings", ChangeQualitySettings, name="change_quality_settings", about="project_id")
offer(router, "PUT", "/ai-config", ChangeAiConfig, name="change_ai_config", about="project_id")
