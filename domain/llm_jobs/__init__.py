"""LLM jobs: one question to a model, from the queue through its attempts to an answer or the reason why not."""

from domain.llm_jobs.attempts import Attempt, HeldAmount, Reply, retry_delay
from domain.llm_jobs.job import JobStatus, LlmJob

__all__ = ["Attempt", "HeldAmount", "JobStatus", "LlmJob", "Reply", "retry_delay"]
