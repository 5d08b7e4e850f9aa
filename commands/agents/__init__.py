"""What may be asked of agents: their definitions, their runs and attempts, and what follows from failures."""

from commands.agents.definitions import AddAgent, ConfigureAgent, DefineLibraryAgent, RemoveAgent, WantedReview
from commands.agents.failures import FailAgentAttempt, RecoverAgent, SettleFailedAgent
from commands.agents.outcomes import ApplyDecision, ApplyDecisionsHeldByPause, FinishAgentAttempt
from commands.agents.runs import (
    CancelAgent,
    ReportAgentProgress,
    ResetAgent,
    RetryAgent,
    StartAgent,
    StartAgentAttempt,
    StartReadyAgents,
)

__all__ = [
    "AddAgent",
    "ApplyDecision",
    "ApplyDecisionsHeldByPause",
    "CancelAgent",
    "ConfigureAgent",
    "DefineLibraryAgent",
    "FailAgentAttempt",
    "FinishAgentAttempt",
    "RecoverAgent",
    "RemoveAgent",
    "ReportAgentProgress",
    "ResetAgent",
    "RetryAgent",
    "SettleFailedAgent",
    "StartAgent",
    "StartAgentAttempt",
    "StartReadyAgents",
    "WantedReview",
]
