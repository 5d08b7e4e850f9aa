"""A line of the system log: as it is kept, and as it is shown."""

from datetime import datetime
from typing import NamedTuple
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


class Line(NamedTuple):
    """A row of `system_log`, in the order of its columns."""

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
        return LogLine.model_validate(self._asdict())
