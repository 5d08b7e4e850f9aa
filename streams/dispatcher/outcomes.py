"""What came of one attempt, put into the command that reports it."""

from dataclasses import dataclass
from typing import TypedDict
from uuid import UUID

from commands.llm_jobs import CompleteAttempt, DenyLlmJob, FailAttempt, ReportFirstToken
from commands.models import ModelError, ModelReply
from domain.errors import Refused, ToyboxError
from domain.llm_jobs import LlmJob
from domain.values import Target, Text
from streams.dispatcher.billing import Billing

UNFINISHED = {"length": "output_too_long", "refused": "refused"}
"""Ends of an answer that is not an agent's result, as kinds of failure."""
DENIALS = {
    "erased": "erased",
    "key_destroyed": "erased",
    "price_unknown": "price_unknown",
    "provider_key_missing": "provider_key_missing",
    "unknown_provider": "unknown_provider",
}
"""Codes of problems that are kinds of failure of their own; any other means that the request cannot be made."""


class Address(TypedDict):
    """Fields that every command about an attempt has."""

    job_id: UUID
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    attempt: int


class Timing(TypedDict):
    """How long the answer took."""

    queue_ms: int
    first_token_ms: int | None
    total_ms: int


@dataclass(frozen=True, slots=True)
class Reports:
    """Makes the report of one attempt."""

    job: LlmJob
    attempt: int
    billing: Billing
    target: Target

    @property
    def address(self) -> Address:
        """Which attempt it is."""
        return {
            "job_id": self.job.id,
            "project_id": self.job.project_id,
            "phase": self.job.phase,
            "agent_id": self.job.agent_id,
            "attempt": self.attempt,
        }

    def denied(self, problem: ToyboxError) -> DenyLlmJob:
        """It may never go out."""
        kind = DENIALS.get(problem.code, "invalid_request")
        return DenyLlmJob(**self.address, kind=kind, detail=str(problem), target=self.target)

    def begun(self, first_token_ms: int) -> ReportFirstToken:
        """The answer begins to arrive."""
        return ReportFirstToken(**self.address, first_token_ms=first_token_ms)

    def answered(self, reply: ModelReply, output: str | Text, timing: Timing) -> CompleteAttempt:
        """The model's answer."""
        return CompleteAttempt(
            **self.address,
            **self.billing.bill(reply.usage, reply.usage_problem, reply.usage_remarks),
            **timing,
            output=output,
            model=reply.model,
            response_id=reply.response_id,
            finish_reason=reply.finish_reason,
        )

    def unfinished(self, reply: ModelReply) -> FailAttempt | None:
        """Half an answer must not pass for an agent's result; whoever chats sees the finish reason instead."""
        if self.job.agent_id is None or reply.finish_reason not in UNFINISHED:
            return None
        return self._paid_for_nothing(reply, UNFINISHED[reply.finish_reason])

    def not_kept(self, reply: ModelReply, problem: Refused) -> FailAttempt:
        """The answer's text has no place, because its project's key was destroyed; what it cost counts all the same."""
        return self._paid_for_nothing(reply, "not_kept", str(problem))

    def failed(self, failure: ModelError, key_id: UUID | None = None) -> FailAttempt:
        """The provider did not answer."""
        return FailAttempt(
            **self.address,
            **self.billing.bill(failure.usage if failure.may_cost else None, failure.usage_problem),
            kind=failure.kind,
            detail=str(failure),
            retryable=failure.retryable,
            retry_after_seconds=failure.retry_after,
            sent=failure.may_cost,
            provider_key_id=key_id,
        )

    def never_sent(self, kind: str, *, retryable: bool) -> FailAttempt:
        """It was admitted, and then not one byte of it left."""
        return FailAttempt(**self.address, kind=kind, retryable=retryable, sent=False)

    def _paid_for_nothing(self, reply: ModelReply, kind: str, detail: str | None = None) -> FailAttempt:
        return FailAttempt(
            **self.address,
            **self.billing.bill(reply.usage, reply.usage_problem, reply.usage_remarks),
            kind=kind,
            detail=detail,
            retryable=False,
            sent=True,
        )
