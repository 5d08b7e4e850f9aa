"""Agents: what each is told, the runs and attempts it makes, how it ends; in a project or in the library."""

from domain.agents.agent import Agent
from domain.agents.definition import (
    AgentStatus,
    AssetName,
    AssetRef,
    Awaited,
    Definition,
    MediaType,
    OnFailure,
    Patience,
    Retries,
    Review,
    Timeout,
)
from domain.agents.retries import PERMANENT, backoff

__all__ = [
    "PERMANENT",
    "Agent",
    "AgentStatus",
    "AssetName",
    "AssetRef",
    "Awaited",
    "Definition",
    "MediaType",
    "OnFailure",
    "Patience",
    "Retries",
    "Review",
    "Timeout",
    "backoff",
]
