"""What an agent is: its texts, its model, its retries; and the small values that its events carry."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from domain.values import LONGEST_WAIT, AiConfig, Digest, Name, Sealed, Slug, Value

AgentStatus = Literal[
    "defined", "ready", "running", "waiting", "completed", "failed", "skipped", "cancelled", "removed"
]
OnFailure = Literal["block", "skip"]
"""What a failed agent means for those that depend on it: they stay where they are, or they are passed over."""
MAX_RETRIES = 10
Retries = Annotated[int, Field(ge=0, le=MAX_RETRIES)]
Patience = Annotated[int, Field(ge=1, le=LONGEST_WAIT)]
"""Seconds that a decision may take."""
Timeout = Annotated[int, Field(ge=1, le=86_400)]
AssetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z]+/[a-z0-9][a-z0-9.+-]{0,99}$")]
ENDINGS = {
    "text/markdown": "md",
    "text/plain": "txt",
    "text/html": "html",
    "text/csv": "csv",
    "application/json": "json",
}
"""Of results whose definition names no file."""


class Review(Value):
    """What a person is asked before an agent's result counts."""

    title: Name = "Review before going on"
    question: Sealed | None = None
    expires_in_seconds: Patience | None = None


class Definition(Value):
    """An agent's definition, whole: events carry these fields side by side, never a part of them."""

    role: Slug | None = None
    instructions: Sealed | None = None
    prompt: Sealed | None = None
    ai: AiConfig = AiConfig()
    retries: Retries | None = None
    on_failure: OnFailure = "block"
    checkpoint: Review | None = None
    output_name: AssetName | None = None
    media_type: MediaType = "text/markdown"
    timeout_seconds: Timeout | None = None

    def asset_name(self, agent: str) -> str:
        """The file that the result of an agent of this name is kept in."""
        return self.output_name or f"{agent}.{ENDINGS.get(self.media_type, 'txt')}"


class Defining(Definition):
    """What an event says of a definition; it reaches the agent whole."""

    def apply(self, aggregate: Any) -> None:
        """Take the definition over, without whatever else the event says."""
        aggregate.definition = Definition(**{name: getattr(self, name) for name in Definition.model_fields})


class Awaited(Value):
    """One thing that an agent waits for."""

    kind: Literal["checkpoint", "dependency", "budget"]
    id: UUID
    name: Name


class AssetRef(Value):
    """Exactly one version of one asset."""

    asset_id: UUID
    version: Annotated[int, Field(ge=1)]
    digest: Digest
