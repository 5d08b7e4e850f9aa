"""The sequencer: decide under the log's lock, one durable transaction per batch (DESIGN: the event log)."""

from commands.sequencer.round import Answer, Request
from commands.sequencer.runner import BatchReport, Sequencer

__all__ = ["Answer", "BatchReport", "Request", "Sequencer"]
