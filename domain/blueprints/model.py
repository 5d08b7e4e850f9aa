"""The parts of a blueprint, as they may be written; a `Blueprint` that exists has a sound graph."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from domain.blueprints.graph import MAX_AGENTS, Vertex, ancestors, closest, graph_problems
from domain.blueprints.problems import BlueprintError, Problem
from domain.charges import Unit
from domain.values import (
    LONGEST_WAIT,
    Fallbacks,
    Fraction,
    FreeText,
    ModelName,
    Name,
    PositiveMoney,
    Prose,
    Slug,
    Value,
)
from domain.windows import LIFETIME, AskedWindow

MEBIBYTE = 1_048_576
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?")
_FRACTION = re.compile(r"(0|[1-9][0-9]{0,2})(\.[0-9]{1,6})?")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _amount(value: object) -> Decimal:
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return Decimal(value)
    if isinstance(value, Decimal | int | float) and not isinstance(value, bool):
        fix = f'write it as a string, so that no cent is rounded: "{value}"'
    else:
        fix = 'write dollars as a decimal string, for instance "0.50"'
    raise PydanticCustomError("amount", "is not an amount of money", {"fix": fix})


def _fraction(value: object) -> Decimal:
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    if isinstance(value, Decimal | int | str) and not isinstance(value, bool) and _FRACTION.fullmatch(text):
        return Decimal(text)
    raise PydanticCustomError("fraction", "is not a plain decimal number", {"fix": "write a number such as 0.2"})


def _review(value: object) -> object:
    if isinstance(value, bool):
        return {} if value else None
    return value


def _schema(kind: str, **rules: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **rules})


ShortProse = Annotated[Prose, StringConstraints(min_length=1, max_length=4_096)]
Template = Annotated[FreeText, StringConstraints(min_length=1, max_length=65_536)]
InputName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z]+/[a-z0-9][a-z0-9.+-]{0,99}$")]
Duration = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}[smhd]$")]
"""A span of time such as `30m`, `24h` or `7d`."""
Limit = Annotated[
    PositiveMoney, BeforeValidator(_amount), _schema("string", pattern=f"^{_AMOUNT.pattern}$", examples=["0.50"])
]
Temperature = Annotated[
    Fraction, Field(ge=0, le=2), BeforeValidator(_fraction), _schema("number", minimum=0, maximum=2)
]
Score = Annotated[Fraction, Field(ge=0, le=1), BeforeValidator(_fraction), _schema("number", minimum=0, maximum=1)]
Retries = Annotated[int, Field(ge=0, le=10)]


class InputSpec(Value):
    """Something that a run is given: declared here, set with `--input name=value`, read by templates."""

    type: Literal["text", "number", "file"] = Field(description="file: its text is read; number: an integer or decimal")
    description: ShortProse
    default: Annotated[FreeText | int | Decimal | None, WithJsonSchema({"type": ["string", "number"]})] = Field(
        default=None, description="For a file: a path inside the blueprint's folder"
    )
    required: bool = Field(default=True, description="Without a default, must a value be given? If not: empty text")
    max_bytes: Annotated[int, Field(ge=1, le=4 * MEBIBYTE)] = MEBIBYTE


class BudgetLimit(Value):
    """What may be spent, in USD or in tokens, in all or in each window; nothing is sent that could go beyond it."""

    limit: Limit
    unit: Unit = "usd"
    window: AskedWindow = LIFETIME


class AIConfig(Value):
    """Which model answers, and how; what an agent leaves out it takes from `defaults`."""

    provider: Slug | None = None
    model: ModelName | None = None
    temperature: Temperature | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    fallbacks: Fallbacks | None = None

    def over(self, defaults: Self) -> Self:
        """This configuration, completed by the defaults."""
        return self.model_copy(
            update={name: value for name, value in defaults if getattr(self, name) is None and value is not None}
        )


class Review(Value):
    """A checkpoint: the agent's output waits for a person's decision."""

    title: Name = "Review before going on"
    question: ShortProse = "Is this good to go on with?"
    expires_in: Duration | None = None

    @property
    def expires_after(self) -> timedelta | None:
        """How long the decision may take, if that is limited."""
        if self.expires_in is None:
            return None
        return timedelta(seconds=int(self.expires_in[:-1]) * _SECONDS[self.expires_in[-1]])


class OutputSpec(Value):
    """The agent's output is kept as an asset under this name."""

    asset: FileName
    media_type: MediaType = "text/markdown"


class AgentSpec(Value):
    """One agent: what it is told, whom it waits for and what happens when it fails."""

    name: Slug
    role: Slug | None = None
    instructions: Template = Field(description="Template of the system prompt")
    prompt: Template = Field(description="Template of the request; sees inputs and the outputs of its dependencies")
    depends_on: Annotated[tuple[Slug, ...], Field(max_length=MAX_AGENTS)] = Field(
        default=(), description="Agents of this or an earlier phase that must be completed first"
    )
    ai: AIConfig = AIConfig()
    retries: Retries | None = None
    on_failure: Literal["block", "skip"] = "block"
    checkpoint: Annotated[Review | None, BeforeValidator(_review, json_schema_input_type=bool | Review)] = None
    output: OutputSpec | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    budget: BudgetLimit | None = None

    @property
    def asset_name(self) -> str:
        """The file that its output is kept in."""
        return self.output.asset if self.output else f"{self.name}.md"


class PhaseSpec(Value):
    """Agents that belong together; the next phase begins when all of them are through."""

    name: Slug
    budget: BudgetLimit | None = None
    agents: Annotated[tuple[AgentSpec, ...], Field(max_length=MAX_AGENTS, json_schema_extra={"minItems": 1})]


class QualitySpec(Value):
    """What the project asks of its agents' work."""

    checkpoints: tuple[Slug, ...] = Field(default=(), description="Agents whose output a person must approve")
    retries: Retries = 2
    minimum_score: Score | None = Field(
        default=None, description="Kept and shown; without effect, because no evaluation scores results yet"
    )


class Blueprint(Value):
    """A project to be: its inputs, budget, phases and agents. Whatever holds an instance holds a sound graph."""

    blueprint: Literal[1] = Field(description="Version of this format")
    name: Slug
    description: ShortProse
    inputs: Mapping[InputName, InputSpec] = Field(default={}, json_schema_extra={"additionalProperties": False})
    budget: BudgetLimit | None = None
    defaults: AIConfig = AIConfig()
    quality: QualitySpec = QualitySpec()
    phases: Annotated[tuple[PhaseSpec, ...], Field(max_length=100, json_schema_extra={"minItems": 1})]

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if problems := list(self._problems()):
            raise BlueprintError(problems)
        return self

    @cached_property
    def digest(self) -> str:
        """The sha256 of what the blueprint says: layout, comments and spelled-out defaults do not change it."""
        content: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def agents(self) -> Iterator[AgentSpec]:
        """Every agent, phase by phase."""
        return (agent for phase in self.phases for agent in phase.agents)

    def ancestors(self, name: str) -> frozenset[str]:
        """The agents that must be completed before this one: those whose outputs its templates may use."""
        return ancestors(name, {agent.name: agent.depends_on for agent in self.agents})

    def ai_for(self, agent: AgentSpec) -> AIConfig:
        """The agent's own choices, completed by the blueprint's defaults."""
        return agent.ai.over(self.defaults)

    def retries_for(self, agent: AgentSpec) -> int:
        """How often the agent may try again."""
        return self.quality.retries if agent.retries is None else agent.retries

    def review_for(self, agent: AgentSpec) -> Review | None:
        """The checkpoint that the agent's output must pass, if any."""
        if agent.checkpoint is None and agent.name in self.quality.checkpoints:
            return Review()
        return agent.checkpoint

    def _problems(self) -> Iterator[Problem]:
        vertices = [
            Vertex(agent.name, at, ("phases", at, "agents", index), agent.depends_on)
            for at, phase in enumerate(self.phases)
            for index, agent in enumerate(phase.agents)
        ]
        yield from graph_problems([phase.name for phase in self.phases], vertices)
        names = {vertex.name for vertex in vertices}
        for index, name in enumerate(self.quality.checkpoints):
            if name not in names:
                message = f"quality.checkpoints names '{name}', which is no agent of this blueprint"
                yield Problem(message, closest(name, names, "agent"), ("quality", "checkpoints", index))
        yield from self._input_problems()
        assets: dict[str, str] = {}
        for vertex, agent in zip(vertices, self.agents, strict=True):
            if agent.ai.provider not in (None, self.defaults.provider) and agent.ai.model is None:
                message = f"agent '{agent.name}' changes the provider to '{agent.ai.provider}' but names no model"
                yield Problem(message, f"add the model that '{agent.ai.provider}' is to use", (*vertex.path, "ai"))
            wait = agent.checkpoint.expires_after if agent.checkpoint else None
            if wait is not None and wait > timedelta(seconds=LONGEST_WAIT):
                message = f"the checkpoint of agent '{agent.name}' would wait for {wait.days} days"
                yield Problem(message, "wait for 3650d at most", (*vertex.path, "checkpoint", "expires_in"))
            asset, path = agent.asset_name, (*vertex.path, *(("output", "asset") if agent.output else ()))
            other = assets.setdefault(asset, agent.name)
            if other != agent.name:
                message = f"agents '{other}' and '{agent.name}' both produce the asset '{asset}'"
                yield Problem(message, "give each its own file name", path)

    def _input_problems(self) -> Iterator[Problem]:
        spellings: dict[str, str] = {}
        for name in self.inputs:
            other = spellings.setdefault(name.replace("-", "_"), name)
            if other != name:
                message = f"inputs '{other}' and '{name}' differ only in dash and underscore"
                yield Problem(message, "templates may spell either way: rename one of them", ("inputs", name))
