"""The names by which lines speak of streams: an agent's own, a job's after its agent, a budget's after its scope."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from domain.agents import Agent
from domain.budgets import Budget
from domain.checkpoints import Asset, Checkpoint
from domain.costs import Cost
from domain.kernel import Event, load_event
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.projects import Project
from domain.providers import Provider
from domain.webhooks import Webhook
from projections.log_lines.rendering import LogLine, line_of

Names = Mapping[UUID, str]


def needed_names(stored: StoredEvent, event: Event) -> set[UUID]:
    """Streams by whose names an event's line may speak: its own, and those of its project that it refers to."""
    own = {stored.stream_id}
    if stored.project_id is None:  # what it refers to may be ordered by another key, and come later
        return own
    return own | {each for each in (stored.project_id, _agent(event)) if each}


def _agent(event: Event) -> UUID | None:
    return event.scope.agent_id if isinstance(event, Budget.Opened) else getattr(event, "agent_id", None)


def written(stored: StoredEvent, event: Event, names: dict[UUID, str]) -> LogLine | None:
    """One event's line; the name that it gives to its stream is put among `names`. None for a private event."""
    if event.PRIVATE:
        return None
    if name := given_name(event, names):
        names[stored.stream_id] = name
    level, line = line_of(event, names.get(stored.stream_id))
    return LogLine(
        position=stored.position,
        recorded_at=stored.recorded_at,
        project_id=stored.project_id,
        stream_id=stored.stream_id,
        type=stored.type,
        actor=stored.actor,
        level=level,
        line=line,
    )


def lines_of(history: Iterable[StoredEvent]) -> list[LogLine]:
    """Consecutive events in words, as far as they are public; names come from these events alone."""
    names: dict[UUID, str] = {}
    return [line for stored in history if (line := written(stored, load_event(stored), names))]


def given_name(event: Event, names: Names) -> str | None:
    """The name that an event gives to its stream, if it gives any; from names of its own project at most."""
    name = _GIVEN.get(event.TYPE)
    return name(event, names) if name else None


def _own(event: Project.Created | Project.SettingsChanged | Agent.Defined | Asset.Created, _names: Names) -> str:
    return event.name


def _checkpoint(event: Checkpoint.Requested, _names: Names) -> str:
    return f"{event.title} ({event.agent_name})"


def _job(event: LlmJob.Queued, names: Names) -> str:
    agent = names.get(event.agent_id) if event.agent_id else None
    return f"{agent} {event.run}.{event.attempt}" if agent else f"{event.provider}/{event.model}"


def _cost(event: Cost.Recorded, names: Names) -> str | None:
    return names.get(event.agent_id) if event.agent_id else None


def _budget(event: Budget.Opened, names: Names) -> str:
    scope = event.scope
    covered = {"project": scope.project_id, "agent": scope.agent_id}.get(scope.kind)
    return f"{scope.kind} {names[covered]}" if covered and covered in names else scope.label


def _webhook(event: Webhook.Subscribed, _names: Names) -> str:
    return event.origin


_GIVEN: Mapping[str, Callable[[Any, Names], str | None]] = {
    Project.Created.TYPE: _own,
    Project.SettingsChanged.TYPE: _own,
    Agent.Defined.TYPE: _own,
    Asset.Created.TYPE: _own,
    Provider.Registered.TYPE: _own,
    Checkpoint.Requested.TYPE: _checkpoint,
    LlmJob.Queued.TYPE: _job,
    Cost.Recorded.TYPE: _cost,
    Budget.Opened.TYPE: _budget,
    Webhook.Subscribed.TYPE: _webhook,
}
