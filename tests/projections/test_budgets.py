"""Budgets as they are shown: what is settled, held and left, who waits, which thresholds were crossed."""

from decimal import Decimal
from uuid import UUID

from commands.budgets import ChangeBudgetLimit, CloseBudget, ExpireHold, OpenBudget
from domain.budgets import Budget
from domain.ids import Scope, attempt_id, budget_id
from projections.budgets import BudgetState, BudgetStates, budgets
from projections.projector import Connections, reading, rebuild
from tests.commands.staging import EVERYTHING, GLOBAL, admit, complete, queue
from tests.projections.playing import Play
from tests.projections.town import busy
from tests.support.story import Story, telling

ONE, TWO, THREE = UUID(int=1), UUID(int=2), UUID(int=3)


async def state(play: Play, up_to: int | None = None) -> BudgetState:
    view = await play.fold(BudgetStates, EVERYTHING, None, up_to=up_to)
    assert isinstance(view, BudgetState)
    return view


async def opened(story: Story, limit: int = 10) -> Play:
    play = Play(story)
    await play.do(OpenBudget(scope=GLOBAL, limit=Decimal(limit), thresholds=[50, 100]))
    return await play.do(queue(ONE), queue(TWO), queue(THREE))


async def test_money_is_held_then_settled() -> None:
    async with telling() as story:
        play = await opened(story)
        await play.do(admit(ONE, "4"))
        view = await state(play)
        assert (view.settled, view.held, view.headroom, view.open_holds) == (0, 4, 6, 1)
        await play.do(complete(ONE, "1.5"))
        view = await state(play)
        assert (view.settled, view.held, view.headroom, view.open_holds) == (Decimal("1.5"), 0, Decimal("8.5"), 0)
        assert (view.kind, view.scope, view.project_id, view.status) == ("global", GLOBAL, None, "open")
        assert (await state(play, up_to=1)).version == 1


async def test_jobs_that_wait_are_named_until_they_fit() -> None:
    async with telling() as story:
        play = await opened(story, limit=1)
        await play.do(admit(ONE, "3"), admit(TWO, "2"))
        view = await state(play)
        assert [(each.job_id, each.requested) for each in view.parked] == [(ONE, 3), (TWO, 2)]
        await play.do(ChangeBudgetLimit(budget_id=EVERYTHING, limit=Decimal(3)))
        assert [each.job_id for each in (await state(play)).parked] == [TWO]


async def test_thresholds_are_crossed_and_crossed_again_under_a_higher_limit() -> None:
    async with telling() as story:
        play = await opened(story, limit=2)
        await play.do(admit(ONE, "2"), complete(ONE, "2"))
        assert (await state(play)).crossed == (50, 100)
        await play.do(ChangeBudgetLimit(budget_id=EVERYTHING, limit=Decimal(3)))
        assert (await state(play)).crossed == (50,)


async def test_an_overdraft_and_an_expired_hold_are_shown_as_they_are() -> None:
    async with telling() as story:
        play = await opened(story)
        await play.do(admit(ONE, "1"), complete(ONE, "3"), admit(TWO, "2"))
        assert (await state(play)).overdrawn == 2
        story.clock.advance(500)
        await play.do(ExpireHold(budget_id=EVERYTHING, attempt_id=attempt_id(TWO, 1)))
        view = await state(play)
        assert (view.settled, view.held, view.open_holds) == (5, 0, 0)
        await play.do(complete(TWO, "0.5"))
        assert (await state(play)).settled == Decimal("3.5")


async def test_a_closed_budget_opens_again_with_what_it_has_spent() -> None:
    async with telling() as story:
        play = await opened(story)
        await play.do(admit(ONE, "1"), complete(ONE, "1"), CloseBudget(budget_id=EVERYTHING))
        assert (await state(play)).status == "closed"
        await play.do(OpenBudget(scope=GLOBAL, limit=Decimal(4), thresholds=[25]))
        view = await state(play)
        assert (view.status, view.limit, view.settled, view.thresholds, view.crossed) == ("open", 4, 1, (25,), (25,))


async def test_every_budget_of_a_town_agrees_with_its_aggregate() -> None:
    found = busy().all(Budget)
    assert len(found) > 5
    for stream, known in found.items():
        view = await busy().fold(BudgetStates, stream, known.project_id)
        assert isinstance(view, BudgetState)
        assert (view.limit, view.settled, view.held, view.headroom, view.overdrawn) == (
            known.limit,
            known.settled,
            known.held,
            known.headroom,
            known.overdrawn,
        )
        assert (view.status, view.open_holds, list(view.crossed), view.version) == (
            known.status,
            len(known.holds),
            known.crossed,
            known.version,
        )
        waiting = {job: charge.usd for job, charge in known.parked.items()}
        assert {each.job_id: each.requested for each in view.parked} == waiting


async def test_budgets_are_listed_by_project_kind_and_status(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, BudgetStates())
    known = busy().all(Budget)
    async with reading(connections, BudgetStates) as read:
        whole = await budgets(read.connection, limit=10_000)
        assert {row.key for row in whole.items} == set(known)
        phases = await budgets(read.connection, kind="phase")
        assert {row.view.kind for row in phases.items} == {"phase"}
        project = next(each.project_id for each in known.values() if each.project_id)
        own = await budgets(read.connection, project_id=project, status="open")
        assert {row.key for row in own.items} <= {
            budget_id(Scope(kind="project", project_id=project)),
            budget_id(Scope(kind="phase", project_id=project, phase="write")),
        }
        first = await budgets(read.connection, limit=3)
        rest = await budgets(read.connection, limit=200, cursor=first.next)
        assert [row.key for row in (*first.items, *rest.items)] == [row.key for row in whole.items]
