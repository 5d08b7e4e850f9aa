"""Slices of the campaigns about money: nothing is overspent, lost or free, whoever is killed; bugs are caught."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from faults import money_steps
from faults.money_steps import Death
from faults.overspend.campaign import Campaign, control, run
from faults.overspend.ground import Ground, prepared
from faults.overspend.plan import Plan
from faults.overspend.plants import EXPOSED_BY
from faults.overspend.verdict import Audit, Life, Verdict

pytestmark = pytest.mark.process
SLICE = Campaign(seed=7, jobs=120, workers=2, worker_kills=2, stalls=1)


@pytest.fixture(scope="module")
def at(postgres_server: str, postgres_folder: Path) -> Iterator[Ground]:
    """A server with empty tables to copy."""
    with prepared(postgres_server, postgres_folder) as made:
        yield made


async def test_jobs_of_a_lying_provider_overspend_nothing_while_workers_are_killed(at: Ground) -> None:
    verdict = await run(SLICE, at)
    assert verdict.clean, "\n".join(verdict.lines())
    assert verdict.figures["worker kills"] == 2
    assert verdict.figures["waiting at the end"] > 0
    assert verdict.figures["expired"] > 0


@pytest.mark.parametrize("plant", EXPOSED_BY)
async def test_a_bug_of_money_is_caught(at: Ground, plant: str) -> None:
    verdict = await control(plant, at)
    assert verdict.counts[EXPOSED_BY[plant]] > 0, "\n".join(verdict.lines())


async def test_whatever_step_a_worker_dies_at_its_attempt_counts(at: Ground) -> None:
    wanted = [
        Death("answer", "last byte"),
        Death("long", "kept"),
        Death("no_usage", "before commit"),
        Death("answer", "committed"),
        Death("cut", "recorded"),
    ]
    verdict = await money_steps.run(at, wanted)
    assert verdict.clean, "\n".join(verdict.lines())
    assert verdict.figures["deaths"] == len(wanted)


async def test_it_is_caught_when_what_was_lost_with_its_worker_is_free(at: Ground) -> None:
    verdict = await money_steps.control(at)
    assert verdict.counts["miscounted"] > 0, "\n".join(verdict.lines())


def test_a_seed_always_means_the_same() -> None:
    one, other = Plan.of(3, 50), Plan.of(3, 50)
    assert one == other
    assert one.steps != Plan.of(4, 50).steps


@pytest.mark.parametrize(
    ("habit", "cost", "released", "fine"),
    [
        ("busy", None, True, True),
        ("busy", "0", False, True),  # told after its hold had expired: the estimate was taken back
        ("busy", "0.5", False, False),
        ("answer", "0", False, False),
        ("answer", None, True, False),
    ],
)
def test_only_what_was_refused_may_cost_nothing(habit: str, cost: str | None, *, released: bool, fine: bool) -> None:
    at, verdict = datetime(2026, 1, 1, tzinfo=UTC), Verdict()
    audit = Audit(verdict, [])
    paid = None if cost is None else Decimal(cost)
    audit.lives["a"] = Life(UUID(int=1), at, Decimal(1), held_at=at, cost=paid, released=released)
    told = {"prompt_tokens": 5, "completion_tokens": 2} if habit == "answer" else None
    audit.requests([{"attempt_id": "a", "at": at.timestamp() + 1, "behaviour": habit, "told": told}])
    assert (not verdict.counts["miscounted"]) == fine


@pytest.mark.parametrize(
    ("lost", "accounted", "astray", "fine"),
    [
        (None, None, 0, True),
        (1, None, 0, False),
        (1, None, 1, True),  # its hold stands: a stopped worker sent it when it went on
        (1, 1, 1, False),
        (None, 1, 1, False),
    ],
)
def test_a_request_that_comes_late_must_still_be_held_for(
    lost: int | None, accounted: int | None, astray: int, *, fine: bool
) -> None:
    at, verdict = datetime(2026, 1, 1, tzinfo=UTC), Verdict()
    audit = Audit(verdict, [])
    life = audit.lives["a"] = Life(UUID(int=1), at, Decimal(1), held_at=at)
    life.lost_at = at + timedelta(seconds=lost) if lost else None
    life.accounted_at = at + timedelta(seconds=accounted) if accounted else None
    audit.requests([{"attempt_id": "a", "at": at.timestamp() + 2, "behaviour": "answer"}], astray=astray)
    assert (not verdict.counts["asked too late"]) == fine
