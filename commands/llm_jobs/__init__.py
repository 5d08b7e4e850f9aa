"""What may be asked of LLM jobs: queue them, admit their attempts, report outcomes, cancel them."""

from commands.llm_jobs.admission import AdmitLlmJob, DenyLlmJob
from commands.llm_jobs.attempts import CompleteAttempt, FailAttempt, LoseAttempt, ReportFirstToken
from commands.llm_jobs.dead_letters import ExpireLlmJob, RequeueDeadLetters
from commands.llm_jobs.execution import ChangeExecutionSettings
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
    "ChangeExecutionSettings",
    "ChatMessage",
    "CompleteAttempt",
    "DeliverLlmResult",
    "DenyLlmJob",
    "ExpireLlmJob",
    "FailAttempt",
    "LoseAttempt",
    "QueueLlmJob",
    "ReportFirstToken",
    "ReportUsage",
    "RequeueDeadLetters",
    "RequeueLlmJob",
    "ResumeParkedJobs",
]
