"""What can be set on a project: how its agents' work is checked, how its jobs run, what it is given to work on."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from domain.errors import Refused
from domain.values import AiConfig, Fraction, Slug, Text, Value

InputName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
InputKind = Literal["text", "number", "file"]
InputNumber = Annotated[str, StringConstraints(pattern=r"^[-+]?[0-9]{1,30}(\.[0-9]{1,30})?$")]
"""A number as it is written: `3`, `-0.25`; always finite, and never so long that it takes time to work with."""


class QualitySettings(Value):
    """What the project asks of its agents' work."""

    checkpoints: list[Slug] = Field(default_factory=list[Slug])
    """Agents whose result a person must approve, beside those whose definition says so."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Attempts after the first, for agents whose definition does not say."""
    minimum_score: Annotated[Fraction, Field(ge=0, le=1)] | None = None
    """Kept for evaluations, which do not exist yet: nothing scores results so far, so nothing is held to it."""


class ProjectSettings(Value):
    """How the project's jobs run, where its agents do not say."""

    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    job_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """Tries of one LLM job against its provider, before the agent's own attempt counts as failed."""


class Input(Value):
    """Something that the project works on; prompts read it by its name."""

    name: InputName
    kind: InputKind
    text: Text


def completed(agent: str, own: AiConfig, inherited: AiConfig) -> AiConfig:
    """The agent's own choices, completed by the project's; refused when that names no model."""
    found = own.over(inherited)
    if found.provider is None:
        lacking = "no provider"
    elif found.model is None:
        lacking = "no model"
    elif own.model is None and own.provider not in (None, inherited.provider):
        lacking = f"the provider {own.provider} but no model of its own"
    else:
        return found
    raise Refused(
        f"agent {agent} has {lacking}: set provider and model in its own AI config or in the project's",
        code="ai_config_missing",
        agent=agent,
    )
