"""The checker of money: it finds nothing in an honest log, and every kind of wrong in a spoiled one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from commands.budgets import ChangeBudgetLimit, CloseBudget, ExpireHold, OpenBudget
from commands.llm_jobs import LoseAttempt
from domain.budgets import Window
from domain.ids import attempt_id
from domain.log import StoredEvent, canonical
from faults.money.checker import Checker, check
from tests.commands.staging import EVERYTHING, GLOBAL, admit, complete, queue
from tests.support.story import Story, telling

DAY = Window(kind="day", time_zone="Europe/Berlin")
Log = Sequence[StoredEvent]


async def honest() -> list[StoredEvent]:
    """A day and a bit: holds, settlements, an expiry, an overdraft, a roll, a change of the limit."""
    async with telling() as story:
        return await _tell(story)


async def _tell(story: Story) -> list[StoredEvent]:
    one, two, three, four = (story.id(n) for n in range(4))
    await story.given(OpenBudget(scope=GLOBAL, limit=Decimal(3), window=DAY), *map(queue, (one, two, three, four)))
    await story.given(OpenBudget(scope=GLOBAL, limit=Decimal(900), unit="total_tokens"))
    await story.given(admit(one, "1"), admit(two, "2"), complete(one, "0.5"), LoseAttempt(job_id=two, attempt=1))
    story.clock.advance(120)
    await story.given(ExpireHold(budget_id=EVERYTHING, attempt_id=attempt_id(two, 1)), complete(two, "0.25"))
    story.clock.advance(86_400)
    await story.given(admit(three, "1"), admit(four, "2"), complete(three, "1.5"))
    name = "usd-day-europe-berlin"
    await story.given(ChangeBudgetLimit(budget_id=EVERYTHING, limit=Decimal(4), name=name), complete(four, "1"))
    await story.given(CloseBudget(budget_id=EVERYTHING))
    return story.events


def spoil(log: Log, kind: str, *, nth: int = 0, **said: Any) -> Iterator[StoredEvent]:
    """The nth event of a type says something else; its instant may be given as `recorded_at`."""
    at = said.pop("recorded_at", None)
    for stored in log:
        if stored.type == kind:
            if nth == 0:
                data = canonical({**stored.payload(), **said})
                stored = replace(stored, data=data, recorded_at=at or stored.recorded_at)  # noqa: PLW2901 -- the spoiled one
            nth -= 1
        yield stored


def without(log: Log, kind: str, *, nth: int = 0) -> Iterator[StoredEvent]:
    """One event never happened."""
    for stored in log:
        if stored.type == kind:
            nth -= 1
            if nth == -1:
                continue
        yield stored


def twice(log: Log, kind: str) -> Iterator[StoredEvent]:
    """The first event of a type happened twice."""
    again = True
    for stored in log:
        yield stored
        if again and stored.type == kind:
            again = False
            yield stored


async def test_an_honest_log_has_no_findings() -> None:
    checker = Checker().read(await honest())
    assert checker.close() == []
    assert checker.seen == {("usd", "day"), ("total_tokens", "lifetime")}
    assert checker.fullest > Decimal("0.9")


LATER = datetime.fromisoformat("2026-11-22T01:00:00Z")
PLANTED: dict[str, tuple[str, Callable[[Log], Iterator[StoredEvent]]]] = {
    "a hold is settled twice": ("ended twice", lambda log: twice(log, "budget.settled")),
    "a hold expires twice": ("ended twice", lambda log: twice(log, "budget.hold_expired")),
    "a late cost counts twice": ("ended twice", lambda log: twice(log, "budget.adjusted")),
    "a hold is made twice": ("held twice", lambda log: twice(log, "budget.reserved")),
    "a hold is made after its window was over": (
        "late hold",
        lambda log: spoil(log, "budget.reserved", nth=1, recorded_at=LATER),
    ),
    "a window does not roll": ("late hold", lambda log: without(log, "budget.window_rolled")),
    "a window rolls before its end": (
        "rolled early",
        lambda log: spoil(log, "budget.window_rolled", recorded_at=LATER - timedelta(hours=3)),
    ),
    "a hold goes over the limit": ("over the limit", lambda log: spoil(log, "budget.reserved", nth=1, amount="2.5")),
    "a hold in tokens goes over the limit": (
        "over the limit",
        lambda log: spoil(log, "budget.reserved", nth=1, input_tokens=900),
    ),
    "a charge over the hold is not told": ("unexplained", lambda log: without(log, "budget.overdrawn")),
    "a hold is never ended": (
        "hold left",
        lambda log: spoil(
            list(without(log, "budget.settled", nth=2)),
            "budget.reserved",
            nth=3,
            expires_at="2026-11-21T11:00:00.000000Z",
        ),
    ),
    "an admission holds nothing": ("not one append", lambda log: without(log, "budget.reserved")),
    "a closed budget holds": (
        "held while closed",
        lambda log: iter([*without(log, "budget.reserved"), *(e for e in log if e.type == "budget.reserved")][:-3]),
    ),
    "a day begins at noon": (
        "wrong window",
        lambda log: spoil(
            log,
            "budget.opened",
            span={
                "starts_at": "2026-11-21T10:00:00.000000Z",
                "begins_at": "2026-11-21T10:00:00.000000Z",
                "ends_at": "2026-11-21T23:00:00.000000Z",
            },
        ),
    ),
}


@pytest.mark.parametrize("what", PLANTED)
async def test_the_checker_finds_what_is_wrong(what: str) -> None:
    kind, spoiled = PLANTED[what]
    assert kind in {each.kind for each in check(spoiled(await honest()))}
