"""LLM jobs as they are asked for: the queue, one job with its attempts, how many stand where."""

from projections.llm_jobs.queries import (
    AttemptView,
    JobFilter,
    JobView,
    attempts_of,
    job,
    jobs,
    oldest_dead,
    queue_depth,
)
from projections.llm_jobs.standing import QueueView, queue
from projections.llm_jobs.table import LlmJobs
from projections.llm_jobs.waiting import jobs_cut_off

__all__ = [
    "AttemptView",
    "JobFilter",
    "JobView",
    "LlmJobs",
    "QueueView",
    "attempts_of",
    "job",
    "jobs",
    "jobs_cut_off",
    "oldest_dead",
    "queue",
    "queue_depth",
]
