"""The names by which lines speak of streams: an agent's own, a job's after its agent, a budget's after its scope."""

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

from domain.agents import Agent
from domain.budgets import Budget
from domain.checkpoints import Asset, Checkpoint
from domain.costs import Cost
from domain.ids import Scope
from domain.kernel import EVENT_TYPES, load_payload
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.projects import Project
from domain.provider_health import ProviderHealth
from domain.providers import Provider
from domain.webhooks import Webhook
from projections.log_lines.lines import Line, LogLine
from projections.log_lines.rendering import Payload, line_of


def is_public(stored: StoredEvent) -> bool:
    """Whether it has a line. What only a newer toybox knows is refused where it is read."""
    known = EVENT_TYPES.get(stored.type)
    return known is None or not known.PRIVATE


def names_before(events: Iterable[tuple[StoredEvent, Payload]]) -> set[UUID]:
    """Streams that had their names before these events, and by which their lines speak."""
    born, wanted = set[UUID](), set[UUID]()
    for stored, payload in events:
        (born if stored.version == 1 else wanted).add(stored.stream_id)
        if other := _other(stored, payload):
            wanted.add(other)
    return wanted - born


def written(stored: StoredEvent, payload: Payload, names: dict[UUID, str]) -> Line:
    """A public event's line; the name that it gives to its stream, if any, is put among `names`."""
    if give := _GIVEN.get(stored.type):
        other = _other(stored, payload)
        if name := give(payload, names.get(other) if other else None):
            names[stored.stream_id] = name
    level, line = line_of(stored.type, payload, names.get(stored.stream_id))
    return Line(
        stored.position, stored.recorded_at, stored.project_id, stored.stream_id, stored.type, stored.actor, level, line
    )


def lines_of(history: Iterable[StoredEvent]) -> list[LogLine]:
    """Consecutive events in words, as far as they are public; names come from these events alone."""
    names: dict[UUID, str] = {}
    return [written(each, load_payload(each), names).shown() for each in history if is_public(each)]


def _other(stored: StoredEvent, payload: Payload) -> UUID | None:
    """The stream after which an event names its own, of its project: what another key orders may come later."""
    refer = _REFERS.get(stored.type) if stored.project_id else None
    other = refer(payload) if refer else None
    return UUID(other) if other else None


def _agent(payload: Payload) -> str | None:
    return payload["agent_id"]


def _covered(payload: Payload) -> str | None:
    scope = payload["scope"]
    return {"project": scope.get("project_id"), "agent": scope.get("agent_id")}.get(scope["kind"])


_REFERS: Mapping[str, Callable[[Payload], str | None]] = {
    LlmJob.Queued.TYPE: _agent,
    Cost.Recorded.TYPE: _agent,
    Budget.Opened.TYPE: _covered,
}


def _own(payload: Payload, _other: str | None) -> str:
    return payload["name"]


def _checkpoint(payload: Payload, _other: str | None) -> str:
    return f"{payload['title']} ({payload['agent_name']})"


def _job(payload: Payload, agent: str | None) -> str:
    if agent:
        return f"{agent} {payload['run']}.{payload['attempt']}"
    return f"{payload['provider']}/{payload['model']}"


def _cost(_payload: Payload, agent: str | None) -> str | None:
    return agent


def _budget(payload: Payload, covered: str | None) -> str:
    scope = payload["scope"]
    return f"{scope['kind']} {covered}" if covered else Scope.model_validate(scope, strict=False).label


def _webhook(payload: Payload, _other: str | None) -> str:
    return payload["origin"]


_GIVEN: Mapping[str, Callable[[Payload, str | None], str | None]] = {
    Project.Created.TYPE: _own,
    Project.SettingsChanged.TYPE: _own,
    Agent.Defined.TYPE: _own,
    Asset.Created.TYPE: _own,
    Provider.Registered.TYPE: _own,
    ProviderHealth.HealthWatched.TYPE: _own,
    Checkpoint.Requested.TYPE: _checkpoint,
    LlmJob.Queued.TYPE: _job,
    Cost.Recorded.TYPE: _cost,
    Budget.Opened.TYPE: _budget,
    Webhook.Subscribed.TYPE: _webhook,
}
