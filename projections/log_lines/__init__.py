"""Events in words: one line for each public event, for the system log and the log of one agent."""

from projections.log_lines import wordings
from projections.log_lines.lines import Line, LogLine
from projections.log_lines.names import is_public, lines_of, names_before, written
from projections.log_lines.rendering import WORDINGS, Level, line_of, says

__all__ = [
    "WORDINGS",
    "Level",
    "Line",
    "LogLine",
    "is_public",
    "line_of",
    "lines_of",
    "names_before",
    "says",
    "wordings",
    "written",
]
