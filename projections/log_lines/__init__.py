"""Events in words: one line for each public event, for the system log and the log of one agent."""

from projections.log_lines import wordings
from projections.log_lines.names import lines_of, needed_names, written
from projections.log_lines.rendering import WORDINGS, Level, LogLine, line_of, says

__all__ = ["WORDINGS", "Level", "LogLine", "line_of", "lines_of", "needed_names", "says", "wordings", "written"]
