"""Reports: whatever is asked, in whatever zone, the sums say what a walk over all costs would."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest

from domain.costs import Cost, CostLine
from domain.errors import Refused
from domain.ids import cost_id
from domain.log import StoredEvent
from domain.pricing import BUCKETS, Bucket, Pass, Usage
from domain.values import derived_id
from projections.costs import (
    Asked,
    Costs,
    Group,
    Row,
    Said,
    Sums,
    Which,
    booked,
    cost_facts,
    groups_of,
    read,
    read_total,
    summing,
)
from projections.costs.asking import GROUPS
from projections.costs.booking import Booking
from projections.costs.calendar import QUARTER, STEPS, Period, Step, zone_of
from projections.costs.facts import FACTS
from projections.costs.sums import CUTS, SUMS, TABLES, mask
from projections.projector import Applied, Connection, Connections
from tests.support.projections import Writing, contents, shuffled

SPAN = (datetime(2026, 2, 20, tzinfo=UTC), timedelta(days=75))
"""Both changes of Europe's and America's clocks in spring lie in it."""
ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"]


def log_of(seed: int, costs: int) -> list[StoredEvent]:
    """Costs of some projects and of none, some estimated, some corrected later."""
    dice, written = Random(seed), Writing()
    found: list[StoredEvent] = []
    for number in range(costs):
        attempt, project = derived_id("attempt", seed, number), dice.choice([UUID(int=1), UUID(int=2), None])
        agent = derived_id("agent", project, dice.randrange(3)) if project else None
        amount, at = Decimal(dice.randrange(1, 10**9)).scaleb(-12), SPAN[0] + SPAN[1] * dice.random()
        usage = used(dice) if dice.random() < 0.8 else None
        who: dict[str, Any] = {"agent_id": agent, "job_id": derived_id("job", seed, number), "attempt_id": attempt}
        recorded = written.add(
            Cost.Recorded, cost_id(attempt), project, originator_topic="cost", project_id=project,
            phase=dice.choice(["write", "check"]) if agent else None, key_id=dice.choice([UUID(int=9), None]),
            provider=dice.choice(["scripted", "other"]), model=dice.choice(["small", "large", "a|b"]),
            tier=usage.tier if usage else None, usage=usage, lines=bill(amount) if usage else [], amount=amount,
            estimated=usage is None, problem=None if usage else "nobody counted", **who,
        )  # fmt: skip
        found.append(replace(recorded, recorded_at=at))
        if usage is None and dice.random() < 0.5:
            usage, real = used(dice), (amount / 2).quantize(amount)
            corrected = written.add(
                Cost.Corrected, cost_id(attempt), project, tier=usage.tier, usage=usage, lines=bill(real),
                amount=real, previous=amount, booked_on=at.date(), **who,
            )  # fmt: skip
            found.append(replace(corrected, recorded_at=at + timedelta(days=40)))
    return found


def used(dice: Random) -> Usage:
    counts: dict[Bucket, int] = {each: dice.randrange(1, 500) for each in dice.sample(BUCKETS, 5)}
    usage = Usage(passes=[Pass.of("m", counts)], tier=dice.choice(["standard", "flex"]))
    return usage.model_copy(update={"reasoning_tokens": dice.choice([None, 7])})


def bill(amount: Decimal) -> list[CostLine]:
    return [
        CostLine(model="m", bucket="input", quantity=1, rate=amount, per=1, rate_id="c@2026-01-01/m", amount=amount)
    ]


@dataclass(frozen=True, slots=True)
class Ledger:
    """A connection on which the tables stand, and the facts that they were made from."""

    connection: Connection
    facts: list[Any]


@pytest.fixture
async def ledger(connections: Connections) -> AsyncIterator[Ledger]:
    async with connections.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute("create schema asked")
        await connection.execute("set local search_path = asked, public")
        await connection.execute(Costs().ddl().encode())
        events, dice = shuffled(log_of(3, 240), Random(4)), Random(5)
        while events:
            size = dice.randrange(1, 40)
            await Costs().apply(connection, [Applied(each) for each in events[:size]])
            events = events[size:]
        ids = await (await connection.execute("select cost_id from cost_facts")).fetchall()
        yield Ledger(connection, await FACTS.load(connection, [each[0] for each in ids]))


def walked(facts: list[Any], asked: Asked) -> dict[tuple[Any, ...], Sums]:
    """The same report from every fact."""
    found: dict[tuple[Any, ...], Sums] = {}
    for fact in facts:
        if any(getattr(fact, name) != value for name, value in asked.which.values().items()):
            continue
        for period in asked.periods:
            if period.begins <= fact.recorded_at < period.ends:
                place = (period, *(getattr(fact, name) for name in asked.columns))
                found[place] = added(found.get(place, Sums(besides={})), fact)
    return found


def added(sums: Sums, fact: Any) -> Sums:
    counts = dict.fromkeys(BUCKETS, 0)
    for each in fact.usage["passes"] if fact.usage else ():
        for quantity in each["quantities"]:
            counts[quantity["bucket"]] += quantity["quantity"]
    plain = {"input", "input_cache_read", "output"}
    own = {name: count for name, count in counts.items() if count and name not in plain and "cache_write" not in name}
    before = sums.besides or {}
    return Sums(
        sums.attempts + 1,
        sums.estimated + fact.estimated,
        sums.input_tokens + (fact.input_tokens or 0),
        sums.output_tokens + (fact.output_tokens or 0),
        sums.cached_tokens + (fact.cached_tokens or 0),
        sums.cache_write_tokens + sum(count for name, count in counts.items() if "cache_write" in name),
        sums.reasoning_tokens + (fact.reasoning_tokens or 0),
        sums.amount + fact.amount,
        sums.estimated_amount + (fact.amount if fact.estimated else 0),
        {name: before.get(name, 0) + own.get(name, 0) for name in sorted({*before, *own})},
    )


async def every(connection: Connection, asked: Asked, limit: int) -> list[Row]:
    found, cursor = list[Row](), None
    while True:
        page = await read(connection, asked, cursor=cursor, limit=limit)
        found += page.items
        cursor = page.next
        if cursor is None:
            return found
        assert len(page.items) == limit


def question(dice: Random) -> Asked:
    """Anything that can be asked about the time of the log."""
    zone = dice.choice(ZONES)
    step: Step | None = dice.choice([*STEPS, None])
    begins = SPAN[0] + QUARTER * dice.randrange(0, 75 * 96)
    length = dice.choice([QUARTER, timedelta(hours=7), timedelta(days=3), timedelta(days=33), SPAN[1]])
    by: list[Group] = dice.sample(GROUPS, dice.randrange(0, 4))
    which = Which(
        project_id=dice.choice([None, None, UUID(int=1)]),
        provider=dice.choice([None, None, "other"]),
        model=dice.choice([None, None, "a|b"]),
        key_id=dice.choice([None, None, UUID(int=9)]),
        tier=dice.choice([None, None, "flex"]),
    )
    ends = begins + (min(length, timedelta(days=33)) if step == "hour" else length)
    return Said(begins, ends, step, zone, by, which).at(ends, None)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("few", [0, 300])
async def test_any_report_is_what_a_walk_over_all_costs_says(
    ledger: Ledger, seed: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summing, "FEW", few)
    dice = Random(seed)
    for _ in range(12):
        asked = question(dice)
        rows = await every(ledger.connection, asked, dice.choice([1, 3, 50]) if len(asked.periods) < 100 else 50)
        told = {(row.period, *row.values.values()): replace(row.sums, besides=row.sums.besides or {}) for row in rows}
        assert told == walked(ledger.facts, asked), asked
        assert len(told) == len(rows)
        order = [(row.period.begins, -row.sums.amount) for row in rows]
        assert order == sorted(order)
        total = await read_total(ledger.connection, asked)
        assert total.amount == sum((row.sums.amount for row in rows), Decimal(0))


async def test_a_report_that_forgets_an_edge_of_its_periods_is_caught(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = summing.cover
    monkeypatch.setattr(summing, "cover", lambda begins, ends: [each for each in real(begins, ends) if each.sign > 0])
    asked = Said(SPAN[0], SPAN[0] + SPAN[1], "day", "Europe/Berlin").at(SPAN[0], None)
    told = {(row.period,): row.sums.amount for row in await every(ledger.connection, asked, 100)}
    assert told != {place: sums.amount for place, sums in walked(ledger.facts, asked).items()}


async def test_every_cut_in_every_grain_is_the_sum_of_the_facts(ledger: Ledger) -> None:
    (total,) = walked(ledger.facts, Asked([Period(SPAN[0], SPAN[0] + SPAN[1])])).values()
    summed = ", ".join(f"sum({each})" for each in SUMS)
    seen = 0
    for table in TABLES.values():
        for cut in CUTS:
            query = f"select count(*), {summed} from {table} where cut = %s"
            row = await (await ledger.connection.execute(query.encode(), [mask(cut)])).fetchone()
            if row and row[0]:
                assert row[1:] == tuple(getattr(total, each) for each in SUMS), (table, cut)
                seen += 1
    assert seen == 3 * len(CUTS) - 1


async def test_the_order_of_costs_and_the_size_of_batches_change_nothing(connections: Connections) -> None:
    found = []
    for seed in range(3):
        events, dice = shuffled(log_of(8, 120), Random(seed)), Random(seed)
        async with connections.connection() as connection, connection.transaction(force_rollback=True):
            await connection.execute("create schema asked")
            await connection.execute("set local search_path = asked, public")
            await connection.execute(Costs().ddl().encode())
            while events:
                size = dice.randrange(1, 60)
                await Costs().apply(connection, [Applied(each) for each in events[:size]])
                events = events[size:]
            found.append(await contents(connection, Costs().tables()))
    assert found[0] == found[1] == found[2]


async def test_a_change_of_a_closed_month_counts_in_the_books_of_a_later_day(ledger: Ledger) -> None:
    fact, day = ledger.facts[0], (SPAN[0] + SPAN[1] + timedelta(days=10)).astimezone(UTC).date()
    later = datetime(day.year, day.month, day.day, tzinfo=UTC)
    whole = Asked([Period(SPAN[0], later + QUARTER)])
    old, before = Asked([Period(SPAN[0], later)]), await read_total(ledger.connection, whole)
    booking = Booking()
    booking.change(fact, replace(fact, amount=fact.amount - Decimal("0.000001")), day)
    await booking.post(ledger.connection)
    after = await read_total(ledger.connection, whole)
    assert (after.amount, after.attempts) == (before.amount - Decimal("0.000001"), before.attempts)
    assert (await read_total(ledger.connection, old)).amount == before.amount
    (row,) = (await read(ledger.connection, Asked([Period(later, later + QUARTER)], ("provider",)))).items
    assert (row.values, row.sums.amount, row.sums.attempts) == ({"provider": fact.provider}, Decimal("-0.000001"), 0)


async def test_a_late_count_at_the_price_of_its_estimate_shows_in_the_books_of_a_later_day(
    ledger: Ledger,
) -> None:
    fact = next(each for each in ledger.facts if each.estimated)
    day = (SPAN[0] + SPAN[1] + timedelta(days=10)).astimezone(UTC).date()
    later = datetime(day.year, day.month, day.day, tzinfo=UTC)
    booking = Booking()
    booking.change(fact, replace(fact, estimated=False, input_tokens=7, output_tokens=2), day)
    await booking.post(ledger.connection)
    asked = Asked([Period(later, later + QUARTER)], ("provider",))
    (row,) = (await read(ledger.connection, asked)).items
    assert (row.sums.amount, row.sums.attempts, row.sums.estimated) == (0, 0, -1)
    assert (row.sums.input_tokens, row.sums.output_tokens, row.sums.estimated_amount) == (7, 2, -fact.amount)
    booking = Booking()
    booking.change(replace(fact, estimated=False, input_tokens=7, output_tokens=2), fact, day)
    await booking.post(ledger.connection)
    assert not (await read(ledger.connection, asked)).items, "sums of nothing are no row"


async def test_followers_of_several_partitions_move_the_same_sums_at_once(connections: Connections) -> None:
    async with connections.connection() as connection:
        await connection.execute(Costs().ddl().encode())
    parts: list[list[StoredEvent]] = [[], [], []]
    for each in log_of(11, 240):
        parts[0 if each.project_id is None else each.project_id.int].append(each)

    async def follow(events: list[StoredEvent]) -> None:
        for start in range(0, len(events), 7):
            async with connections.connection() as connection, connection.transaction():
                await Costs().apply(connection, [Applied(each) for each in events[start : start + 7]])

    await asyncio.gather(*map(follow, parts))
    async with connections.connection() as connection:
        span = await booked(connection)
        assert span
        total = await read_total(connection, Asked([span]))
        facts = (await cost_facts(connection, limit=200)).items
        query = "select count(*), sum(amount) from cost_facts"
        assert await (await connection.execute(query)).fetchone() == (total.attempts, total.amount)
        assert len(facts) == 200


async def test_too_much_for_one_report_is_refused_before_it_is_read(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summing, "CEILING", 10)
    with pytest.raises(Refused, match="ask for less time") as refused:
        await read(ledger.connection, Said(SPAN[0], SPAN[0] + SPAN[1], "day", by=("agent",)).at(SPAN[0], None))
    assert refused.value.code == "report_too_large"


async def test_a_cursor_of_another_report_is_refused(ledger: Ledger) -> None:
    asked = Said(SPAN[0], SPAN[0] + SPAN[1], "week", by=("agent",)).at(SPAN[0], None)
    cursor = (await read(ledger.connection, asked, limit=1)).next
    for other in (replace(asked, by=("model",)), replace(asked, periods=[Period(SPAN[0] - QUARTER, SPAN[0])])):
        with pytest.raises(Refused) as refused:
            await read(ledger.connection, other, cursor=cursor)
        assert refused.value.code == "invalid_cursor"


def test_what_nobody_says_ends_with_the_present_period_and_bad_questions_are_refused() -> None:
    now = datetime(2026, 3, 29, 12, 34, tzinfo=UTC)
    berlin = zone_of("Europe/Berlin")
    days = Said(step="day", zone="Europe/Berlin").at(now, None)
    assert (len(days.periods), days.ends.astimezone(berlin).isoformat()) == (30, "2026-03-30T00:00:00+02:00")
    assert len(Said(step="hour").at(now, None).periods) == 48
    before = Said(step="day", zone="Europe/Berlin").before(days)
    assert (before.ends, before.begins.astimezone(berlin).hour) == (days.begins, 0)
    with pytest.raises(Refused, match="from comes first") as refused:
        Said(now.date(), now.date(), "day").at(now, None)
    assert refused.value.code == "invalid_range"
    assert groups_of(["model, tier", "model"]) == ["model", "tier"]
    with pytest.raises(Refused, match="choose among project") as refused:
        groups_of(["colour"])
    assert refused.value.code == "unknown_group"
