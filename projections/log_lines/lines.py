"""A line of the system log: as it is kept, and as it is shown."""

from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from domain.values import Instant
from projections.log_lines.rendering import Level
from projections.views import View


class LogLine(View):
    """One event in words."""

    position: int
    recorded_at: Instant
    project_id: UUID | None
    stream_id: UUID
    type: str
    actor: str
    level: Level
    line: str


@dataclass(slots=True)
class Line:
    """A row of `system_log`."""

    position: int
    recorded_at: datetime
    project_id: UUID | None
    stream_id: UUID
    type: str
    actor: str
    level: Level
    line: str

    def shown(self) -> LogLine:
        """The same, for readers."""
        return LogLine.model_validate({each.name: getattr(self, each.name) for each in fields(self)})
