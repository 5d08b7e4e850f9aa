"""The port to model providers: what is asked of a model, what it answers, and how it fails."""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal, Protocol
from uuid import UUID

from domain.pricing import Conditions, Quote, Usage, upper_bound_tokens

Role = Literal["system", "user", "assistant"]

FinishReason = Literal["stop", "length", "refused", "tool_use", "paused", "unknown"]
"""Why a model stopped, in one vocabulary for all providers; only `stop` is a complete answer."""

FailureKind = Literal[
    "rate_limited",
    "overloaded",
    "timeout",
    "unreachable",
    "authentication",
    "credit_exhausted",
    "invalid_request",
    "model_not_found",
    "malformed",
    "cut_stream",
    "cancelled",
]

_RETRYABLE: frozenset[FailureKind] = frozenset(
    {"rate_limited", "overloaded", "timeout", "unreachable", "malformed", "cut_stream"}
)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One attempt of a job: it is sent at most once, and its answer is worth nothing after its deadline."""

    attempt_id: UUID
    model: str
    messages: tuple[Message, ...]
    max_output_tokens: int
    temperature: Decimal | None
    deadline: float
    """Seconds on `time.monotonic()`, for the whole attempt, streaming included."""
    may_leave: Callable[[], bool] = field(default=lambda: True, repr=False, compare=False)
    """Asked by what sends over a network, right before the first byte: False when its job went elsewhere meanwhile."""

    @property
    def input_upper_bound(self) -> int:
        """No tokenizer counts more than this: what an admission holds for."""
        return upper_bound_tokens(message.content for message in self.messages)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of a streamed answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A whole answer. `usage` is None when the provider did not count, or not believably: never zero instead."""

    text: str
    model: str
    response_id: str | None
    finish_reason: FinishReason
    usage: Usage | None
    raw_usage: Mapping[str, object] = field(default_factory=dict[str, object])
    usage_problem: str | None = None
    usage_remarks: tuple[str, ...] = ()
    """What should be looked at although it can be billed."""


class ModelError(Exception):
    """A call that brought no answer. Its text is fit for a person and holds no key."""

    def __init__(  # noqa: PLR0913 -- as much as may be known
        self,
        kind: FailureKind,
        message: str,
        *,
        sent: bool,
        may_cost: bool | None = None,
        retry_after: float | None = None,
        usage: Usage | None = None,
        raw_usage: Mapping[str, object] | None = None,
        usage_problem: str | None = None,
        text_so_far: str = "",
    ) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.sent = sent
        """False is proof that not one byte of the request left this machine."""
        self.may_cost = sent if may_cost is None else may_cost
        """False: the provider cannot charge for this attempt, so its hold may be released in full."""
        self.retry_after = retry_after
        """Seconds that the provider asked us to wait."""
        self.usage = usage
        self.raw_usage: Mapping[str, object] = raw_usage or {}
        self.usage_problem = usage_problem
        """Why counts that did arrive are not `usage`."""
        self.text_so_far = text_so_far

    @property
    def retryable(self) -> bool:
        """Another attempt may succeed without anybody changing anything."""
        return self.kind in _RETRYABLE


class LanguageModel(Protocol):
    """One provider that answers requests. It never retries: each attempt is the caller's."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        """Pieces of text, then exactly one reply, or a ModelError.

        Close the generator (`contextlib.aclosing`) or cancel the task to abort the call at the provider; a
        CancelledError then has the ModelError that says how far it got as its cause.
        """
        ...

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The reply in one piece, or a ModelError."""
        ...

    def conditions(self, request: ModelRequest) -> Conditions:
        """How this request may be billed: what its protocol, and what it asks for, leave open."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class Prices(Protocol):
    """What models cost on a day."""

    def quote(self, provider: str, model: str, at: date) -> Quote:
        """The prices in force; PriceUnknown says how to add one."""
        ...
