"""What may be asked of LLM jobs: queue them, admit their attempts, report outcomes, cancel them."""

from commands.llm_jobs.admission import AdmitLlmJob, DenyLlmJob
from commands.llm_jobs.attempts import CompleteAttempt, FailAttempt, LoseAttempt, ReportFirstToken
from commands.llm_jobs.queue import (
    CancelLlmJob,
    ChatMessage,
    DeliverLlmResult,
    QueueLlmJob,
    RequeueLlmJob,
    ResumeParkedJobs,
)
from commands.llm_jobs.reconciling import ReportUsage

__all__ = [
    "AdmitLlmJob",
    "CancelLlmJob",
    "ChatMessage",
    "CompleteAttempt",
    "DeliverLlmResult",
    "DenyLlmJob",
    "FailAttempt",
    "LoseAttempt",
    "QueueLlmJob",
    "ReportFirstToken",
    "ReportUsage",
    "RequeueLlmJob",
    "ResumeParkedJobs",
]
