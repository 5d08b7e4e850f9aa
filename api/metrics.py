"""What Prometheus is told: requests, batches of the log, lag, queues and money; never a name, a key or a text."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.consuming import PHASES as DUTY_PHASES
from api.consuming import Duty, duty_alarm
from api.relaying import PHASES, Relaying, alarm
from domain.posting import Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Batch(Protocol):
    """What the sequencer tells of each batch."""

    @property
    def requests(self) -> int:
        """Commands in it."""
        ...

    @property
    def events(self) -> int:
        """Events that it appended."""
        ...

    @property
    def lock_seconds(self) -> float:
        """How long it waited for the log's lock."""
        ...

    @property
    def total_seconds(self) -> float:
        """How long all of it took."""
        ...


class Metrics:
    """One process's figures in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        gauge, counter = partial(Gauge, registry=registry), partial(Counter, registry=registry)
        seconds = partial(Histogram, buckets=_FAST, registry=registry)
        labels = ["method", "route", "status"]
        self._requests = seconds("toybox_http_request_seconds", "Time to answer a request", labels)
        self._commands = counter("toybox_commands", "Commands that were decided")
        self._appended = counter("toybox_events_appended", "Events appended to the log by this process")
        self._append = seconds("toybox_append_seconds", "Time of one durable batch")
        self._lock = seconds("toybox_append_lock_seconds", "Wait for the log's lock")
        self._batch = Histogram(
            "toybox_append_batch_commands", "Commands in one batch", buckets=_BATCHES, registry=registry
        )
        self._head = gauge("toybox_log_head_position", "Highest durable position of the log")
        self._queue = gauge("toybox_commands_queued", "Commands that wait for a batch in this process")
        self._lag = gauge("toybox_projection_lag_events", "Events from a read model to the head", ["projection"])
        self._behind = gauge("toybox_reaction_lag_events", "Events from a reaction to the head", ["reaction"])
        self._parked = gauge("toybox_parked", "Keys and events that wait for a fix", ["follower", "kind"])
        self._jobs = gauge("toybox_llm_jobs", "LLM jobs that have not ended", ["status"])
        self._money = gauge("toybox_budget_usd", "Money of all open budgets", ["scope", "part"])
        self._relay_phase = gauge("toybox_relay_phase", "1 for what the relay of this process does", ["phase"])
        self._relay_lag = gauge("toybox_relay_lag_events", "Events from Kafka to the head, where this process relays")
        self._relay_alarm = gauge("toybox_relay_alarm", "1 while something keeps it from relaying", ["code", "halted"])
        self._relay_findings = gauge("toybox_relay_topic_findings", "Settings of topics that are not as they should be")
        self._relay_seconds = gauge("toybox_relay_transaction_seconds", "Time of the last transaction")
        self._relayed = {
            name: counter(f"toybox_relay_{name}", text)
            for name, text in (
                ("transactions", "Transactions committed by this process"),
                ("events", "Events in them"),
                ("discarded", "Producers given up because something was in doubt"),
            )
        }
        self._duty_phase = gauge("toybox_kafka_duty_phase", "1 for what it does", ["duty", "phase"])
        self._duty_alarm = gauge("toybox_kafka_duty_alarm", "1 while somebody should look", ["duty", "code", "halted"])
        self._duty_counts = gauge("toybox_kafka_duty_count", "What it counted since its start", ["duty", "what"])
        self._webhook_tries = counter("toybox_webhook_tries", "Deliveries tried by this process", ["outcome"])
        self._webhooks_waiting = gauge(
            "toybox_webhooks_waiting", "Webhooks that an event is due for, where this delivers"
        )
        self._webhook_oldest = gauge("toybox_webhook_oldest_waiting_seconds", "Age of the oldest of these events")
        self._listeners = gauge("toybox_feed_listeners", "Open live feeds of this process")
        self._fed = gauge("toybox_feed_position", "Position up to which this process has fed its listeners")
        self._told: dict[str, int] = {}

    def observe_batch(self, batch: Batch) -> None:
        """What `Sequencer(observe=...)` calls."""
        self._commands.inc(batch.requests)
        self._appended.inc(batch.events)
        self._append.observe(batch.total_seconds)
        self._batch.observe(batch.requests)
        self._lock.observe(batch.lock_seconds)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. `route` is the pattern, so that ids do not become labels."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, status or "cut").observe(seconds)

    # --- what is looked up when somebody asks ---

    def log(self, head: int, queued: int) -> None:
        """Where the log is, and what waits to enter it."""
        self._head.set(head)
        self._queue.set(queued)

    def lags(self, projections: Mapping[str, int], reactions: Mapping[str, int]) -> None:
        """How far each follower is behind the head."""
        for name, lag in projections.items():
            self._lag.labels(name).set(lag)
        for name, lag in reactions.items():
            self._behind.labels(name).set(lag)

    def parked(self, projections: Sequence[str], reactions: Sequence[str]) -> None:
        """What waits, one name for each key or event."""
        self._parked.clear()
        for kind, names in (("projection", projections), ("reaction", reactions)):
            for name in set(names):
                self._parked.labels(name, kind).set(names.count(name))

    def jobs(self, by_status: Mapping[str, int]) -> None:
        """How many jobs are in each state."""
        self._jobs.clear()
        for status, count in by_status.items():
            self._jobs.labels(status).set(count)

    def money(self, by_scope: Mapping[str, Sequence[Decimal]]) -> None:
        """Limit, settled and held by kind of scope; approximate, as floats are: the API tells exactly."""
        self._money.clear()
        for scope, amounts in by_scope.items():
            for part, amount in zip(("limit", "settled", "held"), amounts, strict=True):
                self._money.labels(scope, part).set(float(amount))

    def relay(self, relay: Relaying, lag: int | None) -> None:
        """How the relay of this process stands."""
        for phase in PHASES:
            self._relay_phase.labels(phase).set(phase == relay.phase)
        self._relay_lag.set(float("nan") if lag is None else lag)
        self._relay_alarm.clear()
        if ringing := alarm(relay):
            self._relay_alarm.labels(ringing["code"], str(ringing["halted"]).lower()).set(1)
        self._relay_findings.set(len(relay.findings))
        self._relay_seconds.set(relay.last_seconds)
        for name, count in self._relayed.items():
            total: int = getattr(relay, name)
            count.inc(total - self._told.get(name, 0))
            self._told[name] = total

    def duties(self, duties: Mapping[str, Duty]) -> None:
        """How the others stand who work with Kafka in this process."""
        self._duty_alarm.clear()
        for name, duty in duties.items():
            for phase in DUTY_PHASES:
                self._duty_phase.labels(name, phase).set(phase == duty.phase)
            if ringing := duty_alarm(duty):
                self._duty_alarm.labels(name, ringing["code"], str(ringing["halted"]).lower()).set(1)
            for what, count in duty.figures().items():
                self._duty_counts.labels(name, what).set(count)

    def webhooks(self, posted: Tally, now: datetime) -> None:
        """What this process has delivered to webhooks, and for how long the oldest event waits."""
        for outcome, total in posted.tries.items():
            told = f"webhooks {outcome}"
            self._webhook_tries.labels(outcome).inc(total - self._told.get(told, 0))
            self._told[told] = total
        self._webhooks_waiting.set(len(posted.due))
        ages = [(now - recorded_at).total_seconds() for recorded_at in posted.due.values()]
        self._webhook_oldest.set(max(0.0, *ages) if ages else 0.0)

    def feed(self, listeners: int, position: int) -> None:
        """Who listens, and how far they are."""
        self._listeners.set(listeners)
        self._fed.set(position)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
