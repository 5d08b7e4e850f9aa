"""LLM jobs: one question to a model, from the queue through its attempts to an answer or the reason why not."""

from domain.llm_jobs.attempts import Attempt, HeldAmount, Reply, retry_delay
from domain.llm_jobs.job import JobStatus, LlmJob
from domain.llm_jobs.reasons import REASONS, reason_of
from domain.llm_jobs.routing import Patience, Route, distinct

__all__ = [
    "REASONS",
    "Attempt",
    "HeldAmount",
    "JobStatus",
    "LlmJob",
    "Patience",
    "Reply",
    "Route",
    "distinct",
    "reason_of",
    "retry_delay",
]
