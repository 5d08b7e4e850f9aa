"""A slice of the campaign on Kafka: workers, relay and broker are killed, views and reactions come out right."""

from pathlib import Path

import pytest

from faults.faust_chaos import Campaign, torment
from tests.support.kafka_broker import java, libraries

pytestmark = [pytest.mark.process, pytest.mark.kafka]


async def test_views_and_reactions_come_out_right_when_workers_relay_and_broker_are_killed(data_home: Path) -> None:
    assert java()
    assert libraries().is_dir()
    campaign = Campaign(
        events=6_000, history=1_500, worker_kills=2, relay_kills=1, broker_kills=1, broker_stops=0, seed=5
    )
    verdict = await torment(campaign, data_home)
    assert verdict.clean, "\n".join(verdict.lines())
    assert verdict.blows == {"kill worker": 2, "kill relay": 1, "kill broker": 1}
    assert verdict.events >= 6_000 + 1_300
    assert min(verdict.views[each] for each in ("cost_facts", "llm_jobs", "llm_job_attempts", "budget_states")) > 10
