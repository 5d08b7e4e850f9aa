"""A slice of the DAG campaign: workers are killed, projects end as computed; dispatchers with a bug are caught."""

from pathlib import Path

import pytest

from faults.dag.plants import EXPOSED_BY
from faults.dag_campaign import Campaign, control, run

pytestmark = pytest.mark.process
SLICE = Campaign(
    agents=40,
    blocked_agents=6,
    checkpoints=3,
    phases=2,
    workers=2,
    kills=4,
    stalls=0,
    projector_kills=1,
    seed=7,
    patience=240,
    until_holds_end=False,
)


async def test_projects_end_as_computed_and_nothing_is_asked_twice_while_workers_are_killed(data_home: Path) -> None:
    verdict = await run(SLICE, data_home)
    assert verdict.clean, "\n".join(verdict.lines())
    assert verdict.figures["worker kills"] == 4
    assert verdict.figures["agents"] == 46


@pytest.mark.parametrize("plant", EXPOSED_BY)
async def test_a_dispatcher_with_a_bug_is_caught(data_home: Path, plant: str) -> None:
    verdict = await control(plant, data_home)
    assert verdict.counts[EXPOSED_BY[plant]] > 0, "\n".join(verdict.lines())
