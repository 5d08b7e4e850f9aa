"""Where a project stands in its life, and what of it can be reset."""

from typing import Literal

ProjectStatus = Literal["created", "initialized", "running", "paused", "completed", "failed", "cancelled", "archived"]
ResetScope = Literal["all", "phase", "failed", "agent"]
EDITABLE: tuple[ProjectStatus, ...] = ("created", "initialized")
"""While phases and agents may be added and removed."""
ENDED: tuple[ProjectStatus, ...] = ("completed", "failed", "cancelled")
"""When nothing of it is at work any more."""
