"""Budgets that are too small: the run stops and says why, nothing is overspent, more money lets it go on."""

from decimal import Decimal
from pathlib import Path

from commands.budgets import ChangeBudgetLimit
from tests.acceptance.product import blueprint, highest_use, product

CHAIN = blueprint({"one": {}, "two": {"depends_on": ["one"]}, "three": {"depends_on": ["two"]}})


async def test_a_budget_that_is_too_small_stops_the_run_until_it_is_raised(database: str, tmp_path: Path) -> None:
    async with product(database, tmp_path) as toybox:
        await toybox.create(CHAIN, budget="0.0001")
        await toybox.start()

        first = (await toybox.came("llm_job.parked"))[0].payload()
        assert (first["limit"], first["settled"], first["held"]) == ("0.0001", "0", "0")
        assert first["scope"] == f"project {toybox.project}"
        asked = Decimal(first["requested"])
        assert asked > Decimal("0.0001")
        assert (await toybox.job("one")).status == "parked"
        assert not await toybox.log("llm_job.admitted", "budget.reserved")
        shown = await toybox.shown("select parked_limit, parked_requested from llm_jobs where status = 'parked'", 1)
        assert shown == [(Decimal("0.0001"), asked)]

        await toybox.send(ChangeBudgetLimit(budget_id=toybox.budget_id, limit=asked))
        second = (await toybox.came("llm_job.parked", 2))[1].payload()
        assert (await toybox.agent("one")).status == "completed"
        spent = Decimal(second["settled"])
        assert 0 < spent < asked
        assert spent + Decimal(second["requested"]) > asked == Decimal(second["limit"])

        await toybox.send(ChangeBudgetLimit(budget_id=toybox.budget_id, limit=Decimal("0.1")))
        await toybox.ended("completed")
        budget = await toybox.budget()
        assert (budget.held, budget.parked, budget.overdrawn) == (0, {}, 0)
        costs = [Decimal(each.payload()["amount"]) for each in await toybox.log("cost.recorded")]
        assert budget.settled == sum(costs)
        assert highest_use(await toybox.log(), toybox.budget_id) <= 0


async def test_many_agents_share_room_for_few_calls_and_never_hold_more(database: str, tmp_path: Path) -> None:
    names = [f"agent{number}" for number in range(8)]
    async with product(database, tmp_path) as toybox:
        await toybox.create(blueprint({name: {} for name in names}), budget="0.0035")
        await toybox.start()
        await toybox.ended("completed")
        log = await toybox.log()
        assert any(each.type == "llm_job.parked" for each in log)
        assert highest_use(log, toybox.budget_id) <= 0
        assert sorted([(await toybox.agent(name)).status for name in names]) == ["completed"] * 8
