"""A slice of the skip detector: writers and database are killed, readers miss nothing; a plain sequence is caught."""

from pathlib import Path

import pytest

from faults.skip_detector import Campaign, control, detect

pytestmark = pytest.mark.process


async def test_nothing_is_missed_lost_or_doubled_when_writers_and_database_are_killed(data_home: Path) -> None:
    campaign = Campaign(events=8_000, writer_kills=4, database_kills=1, stalls=1, seed=11)
    verdict = await detect(campaign, data_home)
    assert verdict.clean, "\n".join(verdict.lines())
    assert verdict.events >= 8_000


async def test_positions_from_a_plain_sequence_lose_events_and_are_caught(data_home: Path) -> None:
    verdict = await control(Campaign(seed=11), data_home)
    assert verdict.counts["missed"] > 0, "a detector that finds nothing here would find nothing anywhere"
