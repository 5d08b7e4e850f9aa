"""The judge: compares the log with what writers were told and what readers were shown, and counts what is wrong."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from adapters.postgres.connections import pool
from adapters.postgres.log import PostgresLog
from domain.log import StoredEvent, leaf
from faults.crew.findings import Findings
from faults.crew.journals import Acknowledged, Story, Work
from faults.crew.readers import what_was_seen

Remembered = Mapping[UUID, tuple[int | None, int | None]]
"""First and last position of each command, as the log remembers it."""
Shown = tuple[int, str]
"""A position and the leaf of the event that a reader was shown there."""

FAULTS: Mapping[str, str] = {
    "missed": "committed events that a reader was never shown",
    "changed": "events that a reader was shown otherwise than the log has them",
    "unordered": "events shown to a reader twice or out of order",
    "gaps": "positions that the log does not have",
    "version gaps": "versions that a stream does not have",
    "backwards": "events recorded before their predecessor",
    "unanswered": "commands that never got an answer",
    "lost": "acknowledged commands whose effect is not in the log as it was told",
    "doubled": "commands that took effect more than once or in part",
    "strangers": "events of commands that the log does not remember",
}


@dataclass(slots=True)
class Verdict(Findings):
    """What is wrong with a log, with what writers were told, or with what readers were shown."""

    FAULTS = FAULTS

    events: int = 0
    commands: int = 0
    repeated: int = 0

    def head(self) -> str:
        return f"{self.events} events, {self.commands} commands answered, {self.repeated} of them from memory"


async def examine(conninfo: str, story: Story, seen: Sequence[Path] = ()) -> Verdict:
    """Read everything back and judge it."""
    shown = {path.name: list(what_was_seen(path)) for path in seen}
    return judge(await _whole_log(conninfo), await _remembered(conninfo), story, shown)


def judge(
    log: Sequence[StoredEvent], remembered: Remembered, story: Story, shown: Mapping[str, Sequence[Shown]]
) -> Verdict:
    """Compare what lies in the log with what was told and shown."""
    verdict = Verdict(events=len(log))
    _judge_log(verdict, log)
    for reader, what in shown.items():
        _judge_reader(verdict, log, reader, what)
    _judge_commands(verdict, log, story, remembered)
    return verdict


async def _whole_log(conninfo: str) -> list[StoredEvent]:
    events: list[StoredEvent] = []
    async with pool(conninfo, size=1) as opened:
        log = PostgresLog(conninfo, opened)
        while found := await log.read(events[-1].position if events else 0, 10_000):
            events += found
    return events


async def _remembered(conninfo: str) -> Remembered:
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        rows: list[Any] = await (await connection.execute("select command_id, first, last from commands")).fetchall()
    return {command_id: (first, last) for command_id, first, last in rows}


def _judge_log(verdict: Verdict, log: Sequence[StoredEvent]) -> None:
    versions: Counter[UUID] = Counter()
    for place, event in enumerate(log, start=1):
        before = log[place - 2] if place > 1 else None
        if event.position != (before.position if before else 0) + 1:
            verdict.found("gaps", f"before position {event.position}")
        if before and event.recorded_at < before.recorded_at:
            verdict.found("backwards", f"position {event.position}: {event.recorded_at} after {before.recorded_at}")
        versions[event.stream_id] += 1
        if event.version != versions[event.stream_id]:
            verdict.found("version gaps", f"position {event.position}: version {event.version} of {event.stream_id}")
            versions[event.stream_id] = event.version


def _judge_reader(verdict: Verdict, log: Sequence[StoredEvent], reader: str, shown: Sequence[Shown]) -> None:
    leaves = {event.position: leaf(event).hex() for event in log}
    last = 0
    for position, digest in shown:
        if position <= last:
            verdict.found("unordered", f"{reader}: position {position} after {last}")
        if leaves.get(position) != digest:
            verdict.found("changed", f"{reader}: position {position}")
        last = position
    for position in leaves.keys() - {position for position, _ in shown}:
        verdict.found("missed", f"{reader}: position {position}")


def _judge_commands(
    verdict: Verdict,
    log: Sequence[StoredEvent],
    story: Story,
    remembered: Remembered,
) -> None:
    effects: dict[UUID, list[StoredEvent]] = {}
    for event in log:
        effects.setdefault(event.command_id, []).append(event)
    for command_id in effects.keys() - remembered.keys():
        verdict.found("strangers", f"command {command_id} at position {effects[command_id][0].position}")
    for work in story.unanswered:
        verdict.found("unanswered", work.key)
    for key, work in story.sent.items():
        effect = effects.get(work.caller.command_id(), [])
        if effect and _as_rows(effect) != work.effect:
            verdict.found("doubled", f"{key}: {len(effect)} events at {[each.position for each in effect]}")
    for key, answers in story.answered.items():
        verdict.commands += 1
        verdict.repeated += any(each.repeated for each in answers)
        for answer in answers:
            if fault := _false_answer(story.sent[key], answer, effects, remembered):
                verdict.found("lost", f"{key}: {fault}")


def _as_rows(effect: Iterable[StoredEvent]) -> list[tuple[UUID, int]]:
    return [(each.stream_id, each.payload()["amount"]) for each in effect]


def _false_answer(
    work: Work,
    answer: Acknowledged,
    effects: Mapping[UUID, list[StoredEvent]],
    remembered: Remembered,
) -> str:
    """What is untrue about an answer; nothing where it is right."""
    command_id = work.caller.command_id()
    effect = effects.get(command_id, [])
    if not effect:
        return f"told position {answer.last}, but it has no event"
    if [each.position for each in effect] != list(range(answer.first, answer.last + 1)):
        return f"told {answer.first}-{answer.last}, but it lies at {[each.position for each in effect]}"
    if remembered.get(command_id) != (answer.first, answer.last):
        return f"told {answer.first}-{answer.last}, but remembered as {remembered.get(command_id)}"
    if answer.versions != {str(each.stream_id): each.version for each in effect}:
        return f"told versions {answer.versions}"
    return ""
