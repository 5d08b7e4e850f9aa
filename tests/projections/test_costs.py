"""Costs: facts that say why, sums that never differ from them, reports that read the sums alone."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from commands.budgets import ExpireHold, OpenBudget
from domain.agents import Agent
from domain.costs import Cost
from domain.ids import attempt_id, cost_id
from domain.projects import Project
from projections.costs import CostFilter, Costs, CostTotal, GroupBy, cost_facts, cost_total, cost_totals
from projections.projector import Connection, Connections, reading, rebuild
from projections.projects import ProjectOverview, ProjectOverviews
from tests.commands.staging import EVERYTHING, GLOBAL, admit, complete, queue
from tests.projections.playing import Play, follow
from tests.projections.town import busy
from tests.support.story import telling

ONE = UUID(int=1)
OF: dict[GroupBy, Callable[[Cost], object]] = {
    "project": lambda cost: cost.project_id,
    "phase": lambda cost: (cost.project_id, cost.phase),
    "agent": lambda cost: (cost.project_id, cost.agent_id),
    "provider": lambda cost: cost.provider,
    "model": lambda cost: (cost.provider, cost.model),
}
SHOWN: dict[GroupBy, Callable[[CostTotal], object]] = {
    "project": lambda total: total.project_id,
    "phase": lambda total: (total.project_id, total.phase),
    "agent": lambda total: (total.project_id, total.agent_id),
    "provider": lambda total: total.provider,
    "model": lambda total: (total.provider, total.model),
}


async def every(connection: Connection, by: GroupBy, wanted: CostFilter, limit: int) -> list[CostTotal]:
    found: list[CostTotal] = []
    cursor = None
    while True:
        page = await cost_totals(connection, by, wanted, cursor=cursor, limit=limit)
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize("by", list(OF))
async def test_every_report_of_a_town_adds_up_to_its_costs(connections: Connections, by: GroupBy) -> None:
    await rebuild(connections, busy().story.store, Costs())
    expected: dict[object, Decimal] = {}
    for cost in busy().all(Cost).values():
        key = OF[by](cost)
        expected[key] = expected.get(key, Decimal(0)) + cost.amount
    async with reading(connections, Costs) as read:
        totals = await every(read.connection, by, CostFilter(), limit=3)
    assert {SHOWN[by](each): each.amount for each in totals} == expected
    assert len(totals) == len(expected)
    assert [each.amount for each in totals] == sorted((each.amount for each in totals), reverse=True)
    assert sum(each.attempts for each in totals) == len(busy().all(Cost))
    assert sum(each.estimated for each in totals) == sum(each.estimated for each in busy().all(Cost).values())
    tokens = [each.usage.total_tokens for each in busy().all(Cost).values() if each.usage]
    assert sum(each.input_tokens + each.output_tokens for each in totals) == sum(tokens)


async def test_projects_and_agents_are_named_in_reports(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, Costs())
    async with reading(connections, Costs) as read:
        for each in await every(read.connection, "project", CostFilter(), limit=200):
            assert each.name == (busy().all(Project)[each.project_id].name if each.project_id else None)
        for each in await every(read.connection, "agent", CostFilter(), limit=200):
            assert each.name == (busy().all(Agent)[each.agent_id].name if each.agent_id else None)


async def test_reports_are_filtered_by_whatever_they_are_grouped_by(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, Costs())
    some = next(each for each in busy().all(Cost).values() if each.agent_id)
    async with reading(connections, Costs) as read:
        wanted = CostFilter(project_id=some.project_id, phase=some.phase, agent_id=some.agent_id, model=some.model)
        total = await cost_total(read.connection, wanted)
        own = [
            each.amount
            for each in busy().all(Cost).values()
            if (each.agent_id, each.model) == (some.agent_id, some.model)
        ]
        assert (total.amount, total.attempts) == (sum(own), len(own))
        nothing = await cost_total(read.connection, CostFilter(provider="unheard-of"))
        assert (nothing.amount, nothing.attempts) == (0, 0)


async def test_a_project_has_spent_what_its_report_says(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, Costs())
    async with reading(connections, Costs) as read:
        for project_id in busy().all(Project):
            view = await busy().fold(ProjectOverviews, project_id, project_id)
            assert isinstance(view, ProjectOverview)
            assert (await cost_total(read.connection, CostFilter(project_id=project_id))).amount == view.spent
            agents = await every(read.connection, "agent", CostFilter(project_id=project_id), limit=50)
            lines = {each.id: each.spent for phase in view.phases for each in phase.agents if each.spent}
            assert {each.agent_id: each.amount for each in agents if each.agent_id and each.amount} == lines


async def test_days_come_in_their_order_and_can_be_chosen(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        first = story.clock.now.date()
        for number in range(1, 5):
            await play.do(queue(UUID(int=number)), admit(UUID(int=number)), complete(UUID(int=number), "0.25"))
            story.clock.advance(86_400)
        await rebuild(connections, story.store, Costs())
        async with reading(connections, Costs) as read:
            days = await every(read.connection, "day", CostFilter(), limit=3)
            assert [each.day for each in days] == [first + timedelta(days=after) for after in range(4)]
            wanted = CostFilter(first_day=first + timedelta(days=1), last_day=first + timedelta(days=2))
            assert (await cost_total(read.connection, wanted)).amount == Decimal("0.5")


async def test_a_fact_says_line_by_line_why_and_where_it_was_corrected(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        await play.do(OpenBudget(scope=GLOBAL, limit=Decimal(9)), queue(ONE), admit(ONE, "3"))
        story.clock.advance(500)
        await play.do(ExpireHold(budget_id=EVERYTHING, attempt_id=attempt_id(ONE, 1)))
        recorded = next(each.position for each in story.events if each.type == "cost.recorded")
        await rebuild(connections, story.store, Costs())
        async with reading(connections, Costs) as read:
            (fact,) = (await cost_facts(read.connection, job_id=ONE)).items
            assert (fact.amount, fact.estimated, fact.lines, fact.position) == (3, True, [], recorded)
            assert (fact.problem, fact.usage) == ("its hold ran out before anybody said what it used", None)
            assert (await cost_total(read.connection)).estimated == 1
        await play.do(complete(ONE, "1.25"))
        corrected = next(each.position for each in story.events if each.type == "cost.corrected")
        await follow(connections, play, Costs())
        async with reading(connections, Costs) as read:
            (fact,) = (await cost_facts(read.connection)).items
            assert (fact.amount, fact.estimated, fact.corrected_at) == (Decimal("1.25"), False, corrected)
            assert [(line.bucket, line.quantity, line.amount) for line in fact.lines] == [
                ("input", 10, 0),
                ("output", 20, Decimal("1.25")),
            ]
            assert fact.usage == story.state(Cost, cost_id(attempt_id(ONE, 1))).usage
            assert (fact.problem, sum(line.amount for line in fact.lines)) == (None, fact.amount)
            only = await cost_facts(read.connection, attempt_id=attempt_id(ONE, 1))
            assert [each.position for each in only.items] == [fact.position]
            assert not (await cost_facts(read.connection, attempt_id=ONE)).items
            total = await cost_total(read.connection)
            assert (total.amount, total.attempts, total.estimated) == (fact.amount, 1, 0)
            assert (total.input_tokens, total.output_tokens) == (10, 20)


async def test_facts_are_paged_the_newest_first_and_belong_to_one_project(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, Costs())
    project = next(each.project_id for each in busy().all(Cost).values() if each.project_id)
    async with reading(connections, Costs) as read:
        wanted = CostFilter(project_id=project)
        whole = await cost_facts(read.connection, wanted, limit=200)
        assert {each.project_id for each in whole.items} == {project}
        first = await cost_facts(read.connection, wanted, limit=2)
        rest = await cost_facts(read.connection, wanted, limit=200, cursor=first.next)
        assert [*first.items, *rest.items] == [*whole.items]
        for fact in whole.items:
            assert fact.estimated or sum((line.amount for line in fact.lines), Decimal(0)) == fact.amount
