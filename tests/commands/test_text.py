"""Text in commands and events: no control character reaches the log, and no event refuses what its command let in."""

import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from commands.handling import COMMANDS, Command
from commands.projects import GivenInput
from domain.accounting import Accounting
from domain.agents import Agent
from domain.budgets import Budget
from domain.checkpoints import Asset
from domain.costs import Cost
from domain.identity.access_keys import AccessKey
from domain.kernel import EVENT_TYPES, Event
from domain.llm_jobs import LlmJob
from domain.prices import ImportedCard
from domain.projects import Project
from domain.provider_health import ProviderHealth
from domain.providers import Provider
from domain.values import AiConfig, Sealed, Text
from domain.webhooks import Webhook
from toybox.inventory import load

load()
HOSTILE = ("a\nb", "a\rb", "a\x00b", "a\x1bb", "a\x7fb", "a\x85b", "a\u2028b", "a\u2029b", "a\ud800b", "a\n")
PROBES = (
    *HOSTILE, "", " ", "a", "A", "ab-c", "ab_c", "a.md", "A b", "ä", "gpt-5.1", "org/model:7b", "text/html", "*", "1",
    "-", "scripted", "openai", "text", "tbx_Ab12Cd", "projects.read", "projects.*", "EXAMPLE_API_KEY", "http://h/v1",
    "x" * 63, "x" * 64, "x" * 128, "x" * 129, "x" * 200, "x" * 201, "x" * 500, "x" * 501, "0" * 64,
)  # fmt: skip
SEALING = {
    "AddAgent.instructions", "AddAgent.prompt", "AddAgent.checkpoint.question", "AdmitLlmJob.request",
    "CancelAgent.note", "CancelProject.note", "ChangeProjectSettings.description", "CloseCircuit.reason",
    "CompleteAttempt.output",
    "ConfigureAgent.instructions", "ConfigureAgent.prompt", "ConfigureAgent.checkpoint.question",
    "CreateProject.description", "DefineLibraryAgent.instructions", "DefineLibraryAgent.prompt",
    "DefineLibraryAgent.checkpoint.question", "DenyLlmJob.detail", "EscalateCheckpoint.note", "FailAttempt.detail",
    "InitializeProject.inputs.text",
    "OpenCircuit.reason", "PauseProject.note", "QueueLlmJob.messages.content", "ResolveCheckpoint.comment",
    "ChangeWebhook.description", "ChangeWebhook.url", "SubscribeWebhook.description", "SubscribeWebhook.url",
}  # fmt: skip
"""Fields of commands whose text enters an event sealed, or not at all."""
FROM_MODELS = {"AdmitLlmJob.request", "CompleteAttempt.output", "DenyLlmJob.detail", "FailAttempt.detail"}
"""Those that a worker fills: it makes UTF-8 of them, and an outcome must not fail because of them."""
FEEDS: Mapping[str, Sequence[type[Event]]] = {
    "AddAgent": [Project.AgentAdded, Agent.Defined, Agent.Redefined],
    "AddPhase": [Project.PhaseAdded],
    "AdmitLlmJob": [LlmJob.Admitted],
    "ApprovePriceCard": [ImportedCard.Published],
    "CancelLlmJob": [LlmJob.Cancelled],
    "CancelProject": [Project.Cancelled],
    "CloseCircuit": [ProviderHealth.CircuitClosed],
    "ChangeAiConfig": [Project.AiConfigChanged],
    "ChangeProjectSettings": [Project.SettingsChanged],
    "ChangeQualitySettings": [Project.QualitySettingsChanged],
    "CloseMonth": [Accounting.MonthClosed],
    "CompleteAttempt": [LlmJob.Completed, Cost.Recorded],
    "ConfigureAgent": [Agent.Configured],
    "ConfigureProvider": [Provider.Configured],
    "CreateProject": [Project.Created],
    "DefineLibraryAgent": [Agent.Defined, Agent.Redefined],
    "DeliverLlmResult": [LlmJob.ResultDelivered],
    "DenyLlmJob": [LlmJob.Denied, LlmJob.Failed, LlmJob.Rerouted],
    "FailAttempt": [LlmJob.Failed, LlmJob.RetryScheduled, LlmJob.Rerouted, Cost.Recorded],
    "FollowProviderHealth": [ProviderHealth.HealthWatched, ProviderHealth.HealthChanged, ProviderHealth.CircuitOpened],
    "ImportPriceCard": [ImportedCard.Imported],
    "InitializeProject": [Project.Initialized],
    "IssueAccessKey": [AccessKey.Issued],
    "OpenBudget": [Budget.Opened],
    "OpenCircuit": [ProviderHealth.HealthWatched, ProviderHealth.CircuitOpened],
    "PauseProject": [Project.Paused],
    "QueueLlmJob": [LlmJob.Queued],
    "RegisterAsset": [Asset.Created],
    "RegisterProvider": [Provider.Registered, Provider.Restored],
    "ChangeWebhook": [Webhook.Changed],
    "DisableWebhook": [Webhook.Disabled],
    "SubscribeWebhook": [Webhook.Subscribed],
    "ReportUsage": [LlmJob.LateUsage, Cost.Recorded, Cost.Corrected],
    "RerateCosts": [Cost.ReRated],
    "ResolveCheckpoint": [Asset.Superseded],
    "RetirePriceCard": [ImportedCard.Retired],
    "RotateAccessKey": [AccessKey.Issued],
    "SupersedeAsset": [Asset.Superseded],
    "WithdrawPriceCard": [ImportedCard.Withdrawn],
}
"""Events that a command's plain strings reach."""
ELSEWHERE = {
    "ApproveAsset", "ChangeBudgetLimit", "ChangeCostSettings", "ChangeExecutionSettings", "CloseBudget",
    "CreateProjectFromBlueprint", "FailAgentAttempt", "LoseAttempt", "RejectAsset", "RemoveProvider",
    "ReportFirstToken", "ResetProject", "RotateProviderKey", "StoreProviderKey",
}  # fmt: skip
"""Commands whose strings are only compared, or have stories of their own."""


def leaves(annotation: Any, path: str, meta: Sequence[Any] = ()) -> Iterator[tuple[str, Any]]:
    """Every string that a type may hold, with its own type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from leaves(arguments[0], path, [*arguments[1:], *meta])
    elif origin in (Union, types.UnionType):
        for each in arguments:
            yield from leaves(each, path, meta)
    elif annotation is str:
        yield path, Annotated[(str, *meta)] if meta else str
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from fields(annotation, f"{path}.")
    elif origin is not Literal:
        for each in arguments:
            yield from leaves(each, path)


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every string in a model."""
    for name, field in model.model_fields.items():
        yield from leaves(field.annotation, prefix + name, field.metadata)


@cache
def adapter(kind: Any) -> TypeAdapter[str]:
    """The validator of a type of string."""
    return TypeAdapter(kind)


def accepted(kind: Any, value: str) -> str | None:
    """The value as it is taken; None where it is refused."""
    try:
        return adapter(kind).validate_python(value)
    except ValidationError:
        return None


def own_commands() -> dict[str, type[Command]]:
    """The product's own."""
    return {name: kind for name, kind in COMMANDS.items() if kind.__module__.startswith("commands.")}


def own_events() -> list[type[Event]]:
    """The product's own."""
    return [kind for kind in EVENT_TYPES.values() if kind.__module__.startswith("domain.")]


@pytest.mark.parametrize("kind", own_events(), ids=lambda kind: kind.TYPE)
def test_no_string_of_an_event_holds_a_control_character(kind: type[Event]) -> None:
    for path, type_ in fields(kind):
        if path != "originator_topic":
            assert [each for each in HOSTILE if accepted(type_, each) is not None] == [], path


@pytest.mark.parametrize("name", sorted(own_commands()))
def test_no_text_of_a_command_breaks_what_keeps_it(name: str) -> None:
    for path, type_ in fields(own_commands()[name]):
        if f"{name}.{path}" not in FROM_MODELS:
            for hostile in ("a\x00b", "a\ud800b"):
                taken = accepted(type_, hostile)
                assert taken is None or taken.isprintable(), path


def test_every_command_with_strings_is_compared_with_its_events() -> None:
    with_strings = {
        name
        for name, kind in own_commands().items()
        if any(f"{name}.{path}" not in SEALING for path, _ in fields(kind))
    }
    known = {f"{name}.{path}" for name, kind in own_commands().items() for path, _ in fields(kind)}
    assert with_strings == set(FEEDS) | ELSEWHERE
    assert known >= SEALING


def test_no_event_refuses_what_its_command_let_in() -> None:
    compared: set[str] = set()
    for name, events in FEEDS.items():
        of_command = {path: type_ for path, type_ in fields(COMMANDS[name]) if f"{name}.{path}" not in SEALING}
        for event in events:
            for path, type_ in fields(event):
                given = of_command.get(path) or of_command.get(f"config.{path}")
                if given is None or type_ == Sealed:
                    continue
                compared.add(path)
                for probe in PROBES:
                    taken = accepted(given, probe)
                    assert taken is None or accepted(type_, taken) == taken, f"{name} → {event.TYPE}.{path}: {probe!r}"
    assert compared >= {
        "provider",
        "model",
        "models",
        "ai.model",
        "reason",
        "kind",
        "name",
        "label",
        "checkpoint.title",
    }


# --- inputs ---


@pytest.mark.parametrize("text", ["3", "-0.25", "+7", "0" * 30])
def test_a_number_is_taken_as_it_is_written(text: str) -> None:
    assert GivenInput(name="count", kind="number", text=text).text == text


@pytest.mark.parametrize(
    "text",
    ["", "three", "1e9", "NaN", "Infinity", "0x1", "1,5", " 3", "²", "1_000", "9" * 31, "3\n"],
)
def test_what_is_no_number_is_refused_where_one_is_wanted(text: str) -> None:
    with pytest.raises(ValidationError, match="count is no number: write one such as 3"):
        GivenInput(name="count", kind="number", text=text)
    assert GivenInput(name="count", text=text).text == text


def test_a_number_is_not_hidden_in_a_stored_text() -> None:
    with pytest.raises(ValidationError, match="is no number"):
        GivenInput(name="count", kind="number", text=Text(digest="0" * 64, size=1))


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
def test_an_input_is_text_that_can_be_kept(text: str) -> None:
    with pytest.raises(ValidationError):
        GivenInput(name="topic", text=text)


@pytest.mark.parametrize("model", ["gpt\n5", "", "x" * 201, "a\ud800"])
def test_a_model_has_one_kind_of_name_wherever_it_is_named(model: str) -> None:
    with pytest.raises(ValidationError):
        AiConfig(model=model)
