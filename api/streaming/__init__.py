"""Answers as they come: a job's events and its text over one connection, resumable at any character."""

from api.streaming.board import Board
from api.streaming.cursor import Cursor
from api.streaming.listening import JobListener

__all__ = ["Board", "Cursor", "JobListener"]
