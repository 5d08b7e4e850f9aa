"""Budgets: opening, changing and closing them, thresholds, holds that run out, costs that come late."""

from decimal import Decimal

import pytest

from commands.budgets import ChangeBudgetLimit, CloseBudget, ExpireHold, OpenBudget
from commands.llm_jobs import LoseAttempt, ResumeParkedJobs
from domain.budgets import Budget, budget
from domain.costs import Cost
from domain.errors import Conflict, NotFound, Refused
from domain.ids import Scope, attempt_id, budget_id, cost_id, job_id
from domain.kernel import load_event
from domain.llm_jobs import LlmJob
from streams.reactions.resume_parked_jobs import resume_parked_jobs
from tests.commands.staging import (
    EVERYTHING,
    GLOBAL,
    StageAgentJob,
    admit,
    complete,
    fail,
    money,
    peak_over_limit,
    queue,
    usd,
)
from tests.support.story import Story


def opened(limit: str = "5", scope: Scope = GLOBAL, thresholds: list[int] | None = None) -> OpenBudget:
    return OpenBudget(scope=scope, limit=usd(limit), thresholds=thresholds or [50, 80, 100])


async def test_a_budget_is_opened_once_per_scope(story: Story) -> None:
    await story.when(OpenBudget(scope=GLOBAL, limit=usd("5.50")))
    (said,) = story.then("budget.opened")
    assert (said["limit"], said["thresholds"], said["project_id"]) == ("5.5", [50, 80, 100], None)
    await story.when(opened("7"))
    story.then_refused(Conflict, saying="has a budget already")


async def test_a_budget_of_a_project_belongs_to_its_stream(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("p"))
    await story.given(stage)
    for scope in (
        Scope(kind="project", project_id=stage.project_id),
        Scope(kind="phase", project_id=stage.project_id, phase="write"),
        Scope(kind="agent", project_id=stage.project_id, agent_id=stage.agent_id),
    ):
        await story.when(opened(scope=scope, thresholds=[80, 20, 80]))
        (said,) = story.then("budget.opened")
        assert said["thresholds"] == [20, 80]
        assert story.events[-1].project_id == stage.project_id
        assert story.events[-1].stream_id == budget_id(scope)


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": "global", "phase": "write"},
        {"kind": "project"},
        {"kind": "project", "phase": "write"},
        {"kind": "phase", "phase": "write"},
        {"kind": "agent"},
    ],
)
async def test_a_scope_that_names_too_little_or_too_much_is_refused(story: Story, parts: dict[str, str]) -> None:
    await story.when(opened(scope=Scope.model_validate(parts)))
    story.then_refused(Refused, code="invalid_scope", saying="names")


async def test_a_scope_that_does_not_exist_is_refused(story: Story) -> None:
    here = StageAgentJob(project_id=story.id("p"))
    await story.given(here)
    for scope in (
        Scope(kind="project", project_id=story.id("elsewhere")),
        Scope(kind="phase", project_id=here.project_id, phase="typo"),
        Scope(kind="agent", project_id=here.project_id, agent_id=story.id("nobody")),
    ):
        await story.when(opened(scope=scope))
        story.then_refused(NotFound)


@pytest.mark.parametrize("limit", ["-1", "0.0000000000001", "NaN", "Infinity", "1e15"])
def test_a_limit_that_is_no_amount_is_refused_at_the_edge(limit: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        OpenBudget(scope=GLOBAL, limit=usd(limit))


async def test_a_limit_never_goes_below_what_is_spent_and_held(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("5", thresholds=[100]), queue(one), queue(two), admit(one, "2"), complete(one, "1.5"))
    await story.given(admit(two, "2"))
    await story.when(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd("3.49")))
    refusal = story.then_refused(Refused, code="limit_below_spent", saying="smallest limit possible now is 3.5 USD")
    assert refusal.details["smallest"] == "3.5"
    await story.when(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd("3.5")))
    (said,) = story.then("budget.limit_changed")
    assert said == {"name": "usd-lifetime", "limit": "3.5", "previous": "5", "waiting": 0}
    await story.when(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd("3.50")))
    story.then()
    assert not peak_over_limit(story)


async def test_each_threshold_is_told_once_until_a_higher_limit_arms_it_again(story: Story) -> None:
    jobs = [story.id(n) for n in range(4)]
    await story.given(opened("4", thresholds=[25, 50]), *map(queue, jobs))
    await story.given(*(admit(job, "1") for job in jobs[:3]))
    await story.when(complete(jobs[0], "0.9"))
    story.then("llm_job.completed", "budget.settled", "cost.recorded")
    await story.when(complete(jobs[1], "1"))
    assert story.then("llm_job.completed", "budget.settled", "budget.threshold_crossed", "cost.recorded")[2] == {
        "name": "usd-lifetime",
        "unit": "usd",
        "percent": 25,
        "limit": "4",
        "settled": "1.9",
        "held": "1",
    }
    await story.when(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd("3")))
    assert [each.get("percent") for each in story.then("budget.limit_changed", "budget.threshold_crossed")][1] == 50
    await story.when(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd("10")))
    story.then("budget.limit_changed")
    await story.when(complete(jobs[2], "1"))
    assert (
        story.then("llm_job.completed", "budget.settled", "budget.threshold_crossed", "cost.recorded")[2]["percent"]
        == 25
    )


async def test_a_budget_of_nothing_lets_nothing_out(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("0"), queue(job))
    await story.when(admit(job, "0.000000000001"))
    story.then("llm_job.parked", "budget.job_parked")


async def test_a_closed_budget_limits_nothing_and_lets_waiting_jobs_go(story: Story) -> None:
    running, waiting, late = story.id(1), story.id(2), story.id(3)
    await story.given(
        opened("1"), queue(running), queue(waiting), queue(late), admit(running, "1"), admit(waiting, "9")
    )
    await story.when(CloseBudget(budget_id=EVERYTHING))
    assert story.then("budget.closed") == [{"waiting": 1}]
    await story.when(ResumeParkedJobs(budget_id=EVERYTHING))
    story.then("budget.job_unparked", "llm_job.resumed")
    await story.when(admit(late, "100"))
    assert story.then("llm_job.admitted", "llm_job.started")[0]["holds"] == []
    await story.when(complete(running, "0.25"))
    story.then("llm_job.completed", "budget.settled", "cost.recorded")
    for refused in (
        CloseBudget(budget_id=EVERYTHING),
        ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(9)),
    ):
        await story.when(refused)
        story.then_refused(Refused, code="budget_closed")


async def test_a_closed_budget_is_opened_again_with_what_it_spent_before(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("1", thresholds=[50, 80]), queue(job), admit(job, "1"), complete(job, "0.9"))
    await story.given(CloseBudget(budget_id=EVERYTHING))
    await story.when(opened("0.8"))
    story.then_refused(Refused, code="limit_below_spent")
    await story.when(opened("1.8", thresholds=[50, 40]))
    story.then("budget.reopened", "budget.threshold_crossed")
    found = story.state(Budget, EVERYTHING)
    assert (found.is_open, found.settled, found.thresholds, found.crossed) == (True, usd("0.9"), [40, 50], [50, 40])


async def test_a_hold_that_nobody_reports_on_counts_in_full(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("5"), queue(job), admit(job, "3", hold_seconds=100))
    attempt = attempt_id(job, 1)
    expire = ExpireHold(budget_id=EVERYTHING, attempt_id=attempt)
    story.clock.advance(99)
    await story.when(expire)
    story.then_refused(Refused, code="not_due")
    story.clock.advance(1)
    await story.when(expire)
    said = story.then("budget.hold_expired", "budget.threshold_crossed", "cost.recorded")
    assert said[0] == {
        "attempt_id": str(attempt),
        "number": 1,
        "amount": "3",
        "input_tokens": 100,
        "output_tokens": 100,
        "waiting": 0,
    }
    assert (said[2]["amount"], said[2]["estimated"], said[2]["usage"], said[2]["lines"]) == ("3", True, None, [])
    assert money(story) == (usd(3), usd(0))
    await story.when(expire)
    story.then_refused(Refused, code="not_due")


async def test_every_budget_expires_its_own_hold_and_the_cost_is_recorded_once(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("p"))
    scope = Scope(kind="phase", project_id=stage.project_id, phase="write")
    await story.given(stage, opened(), opened(scope=scope, thresholds=[100]))
    job = job_id(stage.agent_id, 1, 1)
    await story.given(admit(job, "2", project_id=stage.project_id))
    story.clock.advance(120)
    await story.when(ExpireHold(budget_id=EVERYTHING, attempt_id=attempt_id(job, 1)))
    said = story.then("budget.hold_expired", "cost.recorded")[1]
    assert (said["project_id"], said["phase"]) == (str(stage.project_id), "write")
    assert said["agent_id"] == str(stage.agent_id)
    await story.when(ExpireHold(budget_id=budget_id(scope), attempt_id=attempt_id(job, 1)))
    story.then("budget.hold_expired")


async def _expired(story: Story, bound: str = "3") -> None:
    job = story.id(1)
    await story.given(opened("5", thresholds=[100]), queue(job), admit(job, bound), LoseAttempt(job_id=job, attempt=1))
    story.clock.advance(120)
    await story.given(ExpireHold(budget_id=EVERYTHING, attempt_id=attempt_id(job, 1)))


async def test_the_real_cost_that_comes_after_the_expiry_takes_the_rest_back(story: Story) -> None:
    await _expired(story)
    await story.when(complete(story.id(1), "1.25"))
    late, adjusted, corrected = story.then("llm_job.late_usage", "budget.adjusted", "cost.corrected")
    assert late["cost"] == "1.25"
    assert adjusted["delta"] == "-1.75"
    assert (corrected["previous"], corrected["amount"], len(corrected["lines"])) == ("3", "1.25", 2)
    assert money(story) == (usd("1.25"), usd(0))
    cost = story.state(Cost, cost_id(attempt_id(story.id(1), 1)))
    assert (cost.amount, cost.estimated) == (usd("1.25"), False)
    await story.when(complete(story.id(1), "1.25"))
    story.then()


async def test_proof_after_the_expiry_that_nothing_was_sent_takes_all_of_it_back(story: Story) -> None:
    await _expired(story)
    await story.when(fail(story.id(1), sent=False))
    late, adjusted, corrected = story.then("llm_job.late_usage", "budget.adjusted", "cost.corrected")
    assert (late["cost"], adjusted["delta"], corrected["amount"]) == ("0", "-3", "0")
    assert money(story) == (usd(0), usd(0))


async def test_a_late_report_without_usage_leaves_the_estimate(story: Story) -> None:
    await _expired(story)
    await story.when(fail(story.id(1)))
    late, adjusted = story.then("llm_job.late_usage", "budget.adjusted")
    assert (late["usage"], late["cost"], adjusted["delta"]) == (None, "3", "0")
    assert story.state(Cost, cost_id(attempt_id(story.id(1), 1))).estimated


async def test_a_charge_over_the_bound_is_told_first_and_counted(story: Story) -> None:
    job = story.id(1)
    await story.given(opened("1", thresholds=[100]), queue(job), admit(job, "1"))
    await story.when(complete(job, "1.5"))
    said = story.then(
        "llm_job.completed", "budget.overdrawn", "budget.settled", "budget.threshold_crossed", "cost.recorded"
    )
    overdrawn = {"number": 1, "unit": "usd", "amount": "1.5", "held": "1"}
    assert said[1] == {"attempt_id": str(attempt_id(job, 1)), **overdrawn}
    found = story.state(Budget, EVERYTHING)
    assert (found.headroom, found.overdrawn) == (usd("-0.5"), usd("0.5"))
    await story.given(queue(story.id(2)))
    await story.when(admit(story.id(2), "0"))
    story.then("llm_job.parked", "budget.job_parked")
    await story.when(ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd("1.2")))
    story.then_refused(Refused, code="limit_below_spent")


async def test_a_late_charge_over_the_bound_is_told_too(story: Story) -> None:
    await _expired(story)
    await story.when(complete(story.id(1), "4"))
    said = story.then("llm_job.late_usage", "budget.overdrawn", "budget.adjusted", "cost.corrected")
    assert said[2]["delta"] == "1"


async def test_only_so_many_expired_holds_are_remembered(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "EXPIRED_KEPT", 2)
    jobs = [story.id(n) for n in range(3)]
    await story.given(opened(), *map(queue, jobs), *(admit(job, "0.5") for job in jobs))
    story.clock.advance(120)
    await story.given(*(ExpireHold(budget_id=EVERYTHING, attempt_id=attempt_id(job, 1)) for job in jobs))
    assert list(story.state(Budget, EVERYTHING).expired) == [attempt_id(job, 1) for job in jobs[1:]]
    await story.when(complete(jobs[0], "0.1"))
    story.then("llm_job.completed", "cost.corrected")
    assert money(story) == (usd("1.5"), usd(0)), "what nobody can check any more stays counted in full"
    await story.when(complete(jobs[1], "0.1"))
    story.then("llm_job.completed", "budget.adjusted", "cost.corrected")


async def test_room_in_a_budget_wakes_jobs_only_where_some_wait(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(opened("1"), queue(one), queue(two), admit(one, "1"))
    await story.given(complete(one, "0.75"))
    assert list(resume_parked_jobs(load_event(story.events[-3]), story.events[-3])) == []
    await story.given(admit(two, "0.5"), ChangeBudgetLimit(budget_id=EVERYTHING, limit=usd(2)))
    woken = list(resume_parked_jobs(load_event(story.events[-1]), story.events[-1]))
    assert woken == [ResumeParkedJobs(budget_id=EVERYTHING)]
    await story.when(woken[0])
    story.then("budget.job_unparked", "llm_job.resumed")
    await story.when(woken[0])
    story.then_refused(Refused, code="not_due")


async def test_a_cached_budget_survives_its_snapshot(story: Story) -> None:
    stage = StageAgentJob(project_id=story.id("p"))
    scope = Scope(kind="project", project_id=stage.project_id)
    await story.given(stage, opened("2", scope=scope), queue(story.id(2), project_id=stage.project_id))
    job = job_id(stage.agent_id, 1, 1)
    await story.given(admit(job, "1.5", project_id=stage.project_id))
    await story.given(admit(story.id(2), "1", project_id=stage.project_id))
    for kind, stream in ((Budget, budget_id(scope)), (LlmJob, job), (LlmJob, story.id(2))):
        found = story.state(kind, stream)
        assert kind.from_snapshot(stream, found.version, found.snapshot()) == found
        assert story.sequencer.aggregates[stream] == found
    await story.given(complete(job, "1.25", project_id=stage.project_id))
    cost = story.state(Cost, cost_id(attempt_id(job, 1)))
    assert Cost.from_snapshot(cost.id, cost.version, cost.snapshot()) == cost
    assert story.state(Budget, budget_id(scope)).held == Decimal(0)
