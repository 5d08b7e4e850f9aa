"""A slice of the relay's campaign: relays and a real broker are killed, Kafka holds each event once and in order."""

from pathlib import Path

import pytest

from faults.relay_chaos import Campaign, torment
from tests.support.kafka_broker import java, libraries

pytestmark = [pytest.mark.process, pytest.mark.kafka]


async def test_nothing_is_lost_doubled_or_disordered_when_relays_and_broker_are_killed(data_home: Path) -> None:
    assert java()
    assert libraries().is_dir()
    campaign = Campaign(events=15_000, relay_kills=3, broker_kills=1, broker_stops=1, batch=200, seed=5)
    verdict = await torment(campaign, data_home)
    assert verdict.clean, "\n".join(verdict.lines())
    assert verdict.blows == {"kill relay": 3, "kill broker": 1, "stop broker": 1}
