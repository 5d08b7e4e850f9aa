"""Watches how attempts end, and says when that changes a provider's health: passive monitoring, from events alone."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from commands.handling import Caller, Commands, Principal
from commands.provider_health import FollowProviderHealth
from domain.errors import ToyboxError, Unavailable
from domain.following import Leadership
from domain.ids import provider_health_id
from domain.kernel import evolve, load_event
from domain.llm_jobs import LlmJob
from domain.log import LogReader, StoredEvent
from domain.provider_health import Finding, HealthRules, HealthSettings, Outcome, ProviderHealth, Window, judged

BATCH = 1_000
LONGEST_WAIT = 5.0
FAILURES: Final = frozenset({LlmJob.Failed.TYPE, LlmJob.RetryScheduled.TYPE, LlmJob.Rerouted.TYPE})
SETTINGS: Final = frozenset({HealthSettings.Chosen.TYPE, HealthSettings.Changed.TYPE})
OF_HEALTH: Final = frozenset(
    each.TYPE
    for each in (
        ProviderHealth.HealthWatched,
        ProviderHealth.HealthChanged,
        ProviderHealth.CircuitOpened,
        ProviderHealth.CircuitHalfOpened,
        ProviderHealth.ProbeAbandoned,
        ProviderHealth.CircuitClosed,
        ProviderHealth.RateLimited,
        ProviderHealth.CreditExhausted,
    )
)
HEARD: Final = FAILURES | OF_HEALTH | SETTINGS | {LlmJob.Completed.TYPE}
PRINCIPAL: Final = Principal("provider-health", frozenset({"*"}))
log = structlog.get_logger("toybox.provider_health")


class HealthWatch:
    """One watcher for all providers; whoever leads does the work.

    What it finds is a function of a short piece of the log: another one that takes over finds the same. Its commands
    are told apart by the position of the newest outcome, and refused where more has happened than it had seen.
    """

    def __init__(
        self, *, reader: LogReader, commands: Commands, leadership: Leadership, now: Callable[[], datetime]
    ) -> None:
        self._reader = reader
        self._commands = commands
        self._leadership = leadership
        self._now = now
        self._rules = HealthRules()
        self._windows: dict[str, Window] = {}
        self._health: dict[str, ProviderHealth | None] = {}
        """What the log says of each provider that was looked at; None where it says nothing."""

    async def run(self) -> None:
        """Lead whenever possible, until cancelled."""
        while True:
            try:
                async with self._leadership.leading("provider health"):
                    position = await self.begin()
                    while True:
                        position = await self.follow(position, await self._reader.wait(position, LONGEST_WAIT))
                        await self._leadership.check("provider health")
            except Unavailable as away:
                log.warning("the watch over providers waits", reason=str(away))
                await asyncio.sleep(away.retry_after)

    async def begin(self) -> int:
        """Know what was known at the head of the log, and decide what nobody decided meanwhile."""
        self._windows, self._health, self._rules = {}, {}, HealthRules()
        head = await self._reader.head()
        for stored in await self._reader.read(0, 1_000_000, types=SETTINGS, up_to=head):
            self._take(stored)
        position = await self._reader.position_at(self._now() - timedelta(seconds=self._rules.window_seconds))
        while batch := await self._reader.read(position, BATCH, types=HEARD, up_to=head):
            for stored in batch:
                self._take(stored)
            position = batch[-1].position
        for name in list(self._windows):
            await self._look_at(name)
        return head

    async def follow(self, position: int, head: int) -> int:
        """Take in what is new; how far that was."""
        while batch := await self._reader.read(position, BATCH, types=HEARD, up_to=head):
            for stored in batch:
                if name := self._take(stored):
                    await self._look_at(name)
                position = stored.position
        return max(position, head)

    def _take(self, stored: StoredEvent) -> str | None:
        """One event; answers the provider about which an attempt's end says something."""
        if stored.type in SETTINGS:
            event = load_event(stored)
            assert isinstance(event, HealthSettings.Chosen | HealthSettings.Changed)  # noqa: S101 -- as declared
            self._rules = event.rules
        elif stored.type in OF_HEALTH:
            self._hear(stored)
        elif outcome := _outcome(stored):
            name, told = outcome
            self._windows.setdefault(name, Window()).add(told)
            return name
        return None

    def _hear(self, stored: StoredEvent) -> None:
        name = next((each for each in self._windows if provider_health_id(each) == stored.stream_id), None)
        if name is None:
            return  # what is known of it is read when its first attempt ends
        if stored.type == ProviderHealth.CircuitClosed.TYPE:
            self._windows[name].forget(stored.payload()["model"])
        if name in self._health:
            known = self._health[name]
            if stored.version == (known.version if known else 0) + 1:
                self._health[name] = evolve(known, stored)

    async def _refresh(self, name: str) -> None:
        """What the log says of the provider's health by now."""
        health: ProviderHealth | None = None
        for stored in await self._reader.read_stream(provider_health_id(name)):
            health = evolve(health, stored)
        self._health[name] = health

    async def _look_at(self, name: str) -> None:
        """Say what the newest outcome makes of a provider, where that is not what is known of it."""
        window = self._windows[name]
        if not window.outcomes:
            return
        if name not in self._health:
            await self._refresh(name)
        known = self._health[name]
        if known is None and all(each.ok for each in window.outcomes) and self._rules.slow_ms is None:
            return  # nearly always: nothing was ever wrong
        finding = window.finding(window.outcomes[-1].at, self._rules, known.level if known else "healthy")
        if not _is_news(finding, known):
            return
        await self._send(FollowProviderHealth.of(name, finding, known.version if known else 0), finding)
        await self._refresh(name)

    async def _send(self, command: FollowProviderHealth, finding: Finding) -> None:
        caller = Caller(PRINCIPAL, "reaction", f"health|{command.name}|{finding.through}|{command.seen}")
        try:
            await self._commands.send(command, caller)
        except Unavailable:
            raise
        except ToyboxError as refusal:
            log.debug("not due", command=type(command).__name__, because=refusal.code)
        else:
            log.info("provider health", provider=command.name, model=command.model, level=command.level)


def _is_news(finding: Finding, known: ProviderHealth | None) -> bool:
    if known is None:
        return finding.level != "healthy"
    if known.circuits_of(finding.model or ""):
        return False
    return finding.level == "failing" or (finding.model is None and finding.level != known.level)


def _outcome(stored: StoredEvent) -> tuple[str, Outcome] | None:
    """What an attempt's end says, read from its payload: there may be thousands in a second."""
    said = stored.payload()
    if stored.type == LlmJob.Completed.TYPE:
        model, ok, latency = said["asked_model"], True, said["total_ms"]
    else:
        model, ok, latency = said["model"], judged(said["kind"]), None
    if ok is None:
        return None
    return said["provider"], Outcome(model, ok, latency, stored.recorded_at, stored.position)
