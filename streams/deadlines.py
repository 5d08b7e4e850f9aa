"""Issues the command of every deadline that has passed; its decide judges by the log's clock whether it is due."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from commands.agents import StartAgentAttempt
from commands.budgets import ExpireHold, RollBudgetWindows
from commands.checkpoints import ExpireCheckpoint
from commands.handling import Caller, Command, Commands, Principal
from commands.llm_jobs import ExpireLlmJob, RequeueLlmJob
from domain.agents import Agent
from domain.budgets import Budget
from domain.checkpoints import Checkpoint
from domain.errors import ToyboxError, Unavailable
from domain.following import Due, DueTable, Leadership
from domain.kernel import Event, load_event
from domain.llm_jobs import LlmJob
from domain.log import LogReader, StoredEvent

BATCH = 200
LONGEST_SLEEP = 1.0
"""Seconds after which the table is looked at again: a new, nearer deadline may have come."""
AGAIN_SECONDS = 5.0
"""When a deadline that was refused as not yet due, or whose row is not gone yet, is tried again."""
PRINCIPAL = Principal("deadline", frozenset({"*"}))
log = structlog.get_logger("toybox.deadlines")


def _start_again(event: Agent.RetryScheduled) -> Command:
    return StartAgentAttempt(agent_id=event.originator_id, run=event.run, attempt=event.attempt)


def _requeue(event: LlmJob.RetryScheduled) -> Command:
    return RequeueLlmJob(job_id=event.originator_id)


def _expire_job(event: LlmJob.Queued | LlmJob.Requeued) -> Command:
    return ExpireLlmJob(job_id=event.originator_id)


def _expire_checkpoint(event: Checkpoint.Requested) -> Command:
    return ExpireCheckpoint(checkpoint_id=event.originator_id)


def _expire_hold(event: Budget.Reserved) -> Command:
    return ExpireHold(budget_id=event.originator_id, attempt_id=event.attempt_id)


def _roll_windows(event: Event) -> Command:
    return RollBudgetWindows(budget_id=event.originator_id)


ANSWERS: Mapping[str, Callable[[Any], Command]] = {
    Agent.RetryScheduled.TYPE: _start_again,
    LlmJob.RetryScheduled.TYPE: _requeue,
    LlmJob.Queued.TYPE: _expire_job,
    LlmJob.Requeued.TYPE: _expire_job,
    Checkpoint.Requested.TYPE: _expire_checkpoint,
    Budget.Reserved.TYPE: _expire_hold,
    Budget.JobParked.TYPE: _roll_windows,
    Budget.JobUnparked.TYPE: _roll_windows,
    Budget.LimitRemoved.TYPE: _roll_windows,
    Budget.WindowRolled.TYPE: _roll_windows,
}
"""The command that each kind of deadline asks for, from the event that set it."""


class Deadlines:
    """One runner for all deadlines; whoever leads does the work."""

    def __init__(self, table: DueTable, *, reader: LogReader, commands: Commands, leadership: Leadership) -> None:
        self._table = table
        self._reader = reader
        self._commands = commands
        self._leadership = leadership
        self._tried: dict[int, float] = {}

    async def run(self) -> None:
        """Lead whenever possible, until cancelled."""
        while True:
            try:
                async with self._leadership.leading("deadlines"):
                    while True:
                        if not await self._once():
                            left = await self._table.seconds_to_next()
                            await asyncio.sleep(LONGEST_SLEEP if left is None else min(max(left, 0.02), LONGEST_SLEEP))
                        await self._leadership.check("deadlines")
            except Unavailable as away:
                log.warning("deadlines wait", reason=str(away))
                await asyncio.sleep(away.retry_after)

    async def _once(self) -> int:
        """Issue what is due; how many that were. What was tried a moment ago must not stand in the way of the rest."""
        now = asyncio.get_running_loop().time()
        self._tried = {position: at for position, at in self._tried.items() if now - at < AGAIN_SECONDS}
        due = await self._table.due(BATCH, skipping=self._tried.keys())
        for each in due:
            self._tried[each.position] = now
        await asyncio.gather(*(self._issue(each) for each in due))
        return len(due)

    async def _issue(self, due: Due) -> None:
        try:
            stored = (await self._reader.read(due.position - 1, 1, up_to=due.position))[0]
            command = ANSWERS[stored.type](load_event(stored))
            await self._commands.send(command, self._caller(stored))
        except Unavailable as away:
            log.warning("a deadline waits", kind=due.kind, position=due.position, reason=str(away))
        except ToyboxError as refusal:
            log.debug("not due", kind=due.kind, position=due.position, because=refusal.code)
        except Exception:
            # A bug with one must not keep all others waiting, holds among them that would never end; it is tried again.
            log.exception("a deadline failed unexpectedly", kind=due.kind, position=due.position)

    @staticmethod
    def _caller(stored: StoredEvent) -> Caller:
        return Caller(
            PRINCIPAL,
            "deadline",
            f"{stored.type}|{stored.stream_id}|{stored.version}",
            correlation_id=stored.correlation_id,
            causation_id=stored.command_id,
            trace_id=stored.trace_id,
        )
