"""Faults inside the process: metrics that raise after a commit, snapshots of other releases."""

import asyncio
from typing import Any

import orjson
import pytest

from commands.ports import Snapshot
from commands.sequencer import Answer, BatchReport
from domain.errors import NotFound
from tests.commands.counter import Count, Counter, OpenCounter
from tests.support.story import Story


async def test_who_was_refused_is_not_decided_again_when_metrics_fail_after_the_commit(story: Story) -> None:
    def broken(report: BatchReport) -> None:
        raise RuntimeError(f"no room for {report.events} more")

    story.sequencer._observe = broken
    too_early = Count(counter_id=story.id(1))
    outcomes = await asyncio.gather(
        story.send(too_early), story.send(OpenCounter(counter_id=story.id(1))), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [NotFound, Answer]
    story.sequencer._observe = lambda _: None
    await story.given(OpenCounter(counter_id=story.id(2)))
    assert [each.type for each in story.events] == ["counter.opened", "counter.opened"]


def _no_json(body: dict[str, Any]) -> bytes:
    return b"\x80"


def _a_field_is_missing(body: dict[str, Any]) -> bytes:
    del body["state"]["count"]
    return orjson.dumps(body)


def _the_state_is_missing(body: dict[str, Any]) -> bytes:
    del body["state"]
    return orjson.dumps(body)


@pytest.mark.parametrize("spoil", [_no_json, _a_field_is_missing, _the_state_is_missing])
async def test_a_snapshot_that_cannot_be_read_is_replayed_instead(story: Story, spoil: Any) -> None:
    await story.given(OpenCounter(counter_id=story.id(1)), Count(counter_id=story.id(1), amount=4))
    held = story.state(Counter, story.id(1))
    body = spoil(orjson.loads(held.snapshot()))
    await story.store.save_snapshots([Snapshot(held.id, held.version, Counter.TOPIC, Counter.FOLD, body)])
    story.sequencer.aggregates.clear()
    await story.when(Count(counter_id=story.id(1)))
    story.then("counter.added")
    assert story.sequencer.aggregates[story.id(1)] == story.state(Counter, story.id(1))


async def test_a_snapshot_of_an_aggregate_from_a_newer_release_is_left_alone(story: Story) -> None:
    await story.given(OpenCounter(counter_id=story.id(1)))
    await story.store.save_snapshots([Snapshot(story.id(1), 1, "from_the_future", 1, b"{}")])
    story.sequencer.aggregates.clear()
    await story.when(Count(counter_id=story.id(1)))
    story.then("counter.added")
