"""Reactions of projects and agents as plain functions: which events they answer, and with what."""

import importlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from commands.agents import (
    FailAgentAttempt,
    RecoverAgent,
    SettleFailedAgent,
    StartAgent,
    StartReadyAgents,
)
from commands.handling import Command
from commands.llm_jobs import CancelLlmJob
from commands.projects import CheckPhase, MarkReadyAgents
from domain.agents import Agent
from domain.kernel import Event, load_event
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.projects import Project
from domain.values import derived_id
from streams.reacting import REACTIONS
from tests.streams.reactions.driver import SENTENCES

PROJECT, STREAM, JOB = (derived_id("reacting", each) for each in ("project", "stream", "job"))
RUN = {"run": 2, "attempt": 1}
FAILED = {**RUN, "code": "timeout", "reason": "busy"}
STOPPED = {**RUN, "reason": "requested", "note": None}
COMPLETED = {**RUN, "asset_id": str(STREAM), "asset_version": 1, "digest": "0" * 64}


def reactions_to(kind: type[Event], project: UUID | None = PROJECT, /, **data: Any) -> Sequence[Command]:
    """What all reactions of this file together answer to an event."""
    for name in SENTENCES:
        importlib.import_module(f"streams.reactions.{name}")
    stored = StoredEvent(
        position=7,
        stream_id=PROJECT if kind.TYPE.startswith("project.") else STREAM,
        version=3,
        type=kind.TYPE,
        schema_version=1,
        project_id=project,
        data=orjson.dumps(data),
        actor="test",
        command_id=STREAM,
        correlation_id=STREAM,
        causation_id=None,
        trace_id=None,
        recorded_at=datetime(2026, 11, 21, tzinfo=UTC),
    )
    happened = load_event(stored)
    return [
        command
        for name in SENTENCES
        if kind.TYPE in REACTIONS[name].types
        for command in REACTIONS[name].react(happened, stored)
    ]


CHECK, MARK = CheckPhase(project_id=PROJECT), MarkReadyAgents(project_id=PROJECT)
CHECK_AFTER = CheckPhase(project_id=PROJECT, agent_id=STREAM)
MARK_AFTER = MarkReadyAgents(project_id=PROJECT, agent_id=STREAM)
SETTLE = SettleFailedAgent(project_id=PROJECT, agent_id=STREAM)


@pytest.mark.parametrize(
    ("kind", "data", "commands"),
    [
        (Project.Started, {"phase": "write", "key_id": None}, [CHECK, MARK]),
        (Project.Resumed, {}, [CHECK, MARK, StartReadyAgents(project_id=PROJECT)]),
        (Project.PhaseAdvanced, {"from_phase": "write", "to_phase": "check"}, [CHECK, MARK]),
        (Project.PhaseReopened, {"from_phase": "check", "to_phase": "write"}, [MARK]),
        (Project.Completed, {}, []),
        (Agent.Ready, {"run": 2}, [StartAgent(agent_id=STREAM, run=2)]),
        (Agent.Completed, COMPLETED, [CHECK_AFTER, MARK_AFTER]),
        (Agent.Skipped, {"run": 2, "because": "top"}, [CHECK_AFTER, MARK_AFTER]),
        (Agent.Failed, {**FAILED, "on_failure": "skip"}, [CHECK_AFTER, SETTLE]),
        (Agent.Failed, {**FAILED, "on_failure": "block"}, [CHECK_AFTER]),
        (Agent.Cancelled, {**STOPPED, "job_id": None, "on_failure": "skip"}, [CHECK_AFTER, SETTLE]),
        (
            Agent.Cancelled,
            {**STOPPED, "job_id": str(JOB), "on_failure": "block"},
            [CHECK_AFTER, CancelLlmJob(job_id=JOB, reason="requested")],
        ),
        (Agent.Reset, {"run": 3, "job_id": None}, [MARK]),
        (Agent.Reset, {"run": 3, "job_id": str(JOB)}, [CancelLlmJob(job_id=JOB, reason="agent_reset"), MARK]),
        (
            LlmJob.Failed,
            {"attempt": 1, "provider": "any", "model": "some", "kind": "timeout", "reason": "busy", "note": None},
            [FailAgentAttempt(job_id=STREAM, kind="timeout")],
        ),
        (
            LlmJob.Cancelled,
            {"reason": "by_hand"},
            [FailAgentAttempt(job_id=STREAM, kind="cancelled")],
        ),
        (LlmJob.AttemptLost, {"attempt": 4, "attempt_id": str(JOB)}, [RecoverAgent(job_id=STREAM, job_attempt=4)]),
    ],
)
def test_each_event_is_answered_by_what_follows_from_it(
    kind: type[Event], data: dict[str, Any], commands: list[Command]
) -> None:
    assert reactions_to(kind, **data) == commands


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Agent.Completed, COMPLETED),
        (Agent.Failed, {**FAILED, "on_failure": "skip"}),
    ],
)
def test_an_agent_without_a_project_moves_none(kind: type[Event], data: dict[str, Any]) -> None:
    assert reactions_to(kind, None, **data) == []
