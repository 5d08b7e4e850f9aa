"""LLM jobs: one question to a model, from the queue through its attempts to an answer or the reason why not."""

from domain.llm_jobs.attempts import Attempt, HeldAmount, Reply, retry_delay
from domain.llm_jobs.job import JobStatus, LlmJob
from domain.llm_jobs.reasons import REASONS, reason_of
from domain.llm_jobs.routing import Patience, Route, distinct
from domain.llm_jobs.settings import ExecutionRules, ExecutionSettings, slots_of

__all__ = [
    "REASONS",
    "Attempt",
    "ExecutionRules",
    "ExecutionSettings",
    "HeldAmount",
    "JobStatus",
    "LlmJob",
    "Patience",
    "Reply",
    "Route",
    "distinct",
    "reason_of",
    "retry_delay",
    "slots_of",
]
