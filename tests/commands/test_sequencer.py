"""The sequencer on the in-memory log: fairness of refusals, repeats, late needs, offenders, drains."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from adapters.memory import MemoryBatch
from commands.handling import Principal
from commands.sequencer import runner
from domain.errors import Conflict, NotAllowed, NotFound, Refused, Unavailable
from tests.commands.counter import Count, Counter, OpenCounter
from tests.support.story import Story


async def test_positions_and_versions_are_dense(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(OpenCounter(counter_id=one), OpenCounter(counter_id=two))
    await asyncio.gather(*(story.send(Count(counter_id=one if n % 2 else two)) for n in range(100)))
    assert [each.position for each in story.events] == list(range(1, 103))
    for stream in (one, two):
        assert [each.version for each in story.events if each.stream_id == stream] == list(range(1, 52))
        assert story.state(Counter, stream).count == 50


async def test_a_limit_holds_within_one_batch(story: Story) -> None:
    await story.given(OpenCounter(counter_id=story.id(1), limit=10))
    outcomes = await asyncio.gather(
        *(story.send(Count(counter_id=story.id(1))) for _ in range(25)), return_exceptions=True
    )
    assert sum(isinstance(each, Refused) for each in outcomes) == 15
    assert story.state(Counter, story.id(1)).count == 10


async def test_the_same_key_changes_nothing_and_gets_the_same_answer(story: Story) -> None:
    await story.given(OpenCounter(counter_id=story.id(1)))
    first, again = await asyncio.gather(*(story.send(Count(counter_id=story.id(1)), key="k") for _ in range(2)))
    later = await story.send(Count(counter_id=story.id(1)), key="k")
    assert (first.position, first.versions) == (again.position, again.versions) == (later.position, later.versions)
    assert [first.repeated, again.repeated, later.repeated] == [False, True, True]
    assert story.state(Counter, story.id(1)).count == 1


async def test_the_same_key_with_another_body_is_refused(story: Story) -> None:
    await story.given(OpenCounter(counter_id=story.id(1)))
    await story.when(Count(counter_id=story.id(1), amount=1), key="k")
    await story.when(Count(counter_id=story.id(1), amount=2), key="k")
    story.then_refused(Refused, code="idempotency_key_reused")


async def test_a_refusal_is_not_remembered(story: Story) -> None:
    await story.when(Count(counter_id=story.id(1)), key="k")
    story.then_refused(NotFound)
    await story.given(OpenCounter(counter_id=story.id(1)))
    await story.when(Count(counter_id=story.id(1)), key="k")
    story.then("counter.added")


async def test_a_stream_found_while_deciding_is_loaded_under_the_same_lock(story: Story) -> None:
    one, two = story.id(1), story.id(2)
    await story.given(OpenCounter(counter_id=one), OpenCounter(counter_id=two))
    await story.when(Count(counter_id=one, also=str(two), amount=3))
    story.then("counter.added", "counter.added")


async def test_a_stale_version_is_a_conflict(story: Story) -> None:
    await story.given(OpenCounter(counter_id=story.id(1)), Count(counter_id=story.id(1)))
    await story.when(Count(counter_id=story.id(1)), expected={story.id(1): 1})
    assert story.then_refused(Conflict, code="version_conflict").details["current"] == 2
    await story.when(Count(counter_id=story.id(1)), expected={story.id(1): 2})
    story.then("counter.added")


@pytest.mark.parametrize("misbehave", ["refuse late", "crash"])
async def test_an_offender_fails_alone_and_leaves_nothing(story: Story, misbehave: str) -> None:
    await story.given(OpenCounter(counter_id=story.id(1)))
    offender = Count(counter_id=story.id(1), amount=100, misbehave=misbehave)  # pyright: ignore[reportArgumentType]
    good = Count(counter_id=story.id(1))
    outcomes = await asyncio.gather(
        *(story.send(offender if n == 5 else good) for n in range(10)), return_exceptions=True
    )
    assert [n for n, each in enumerate(outcomes) if isinstance(each, Exception)] == [5]
    assert not isinstance(outcomes[5], Refused), "a handler's bug must not look like a refusal"
    assert story.state(Counter, story.id(1)).count == 9


@pytest.mark.parametrize("counters", [1, 100])
async def test_many_offenders_cost_one_more_pass_and_no_neighbour_anything(
    story: Story, counters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, batch = 0, story.store.batch

    def counted() -> AbstractAsyncContextManager[MemoryBatch]:
        nonlocal passes
        passes += 1
        return batch()

    await story.given(*(OpenCounter(counter_id=story.id(n)) for n in range(counters)))
    monkeypatch.setattr(story.store, "batch", counted)
    outcomes = await asyncio.gather(
        *(story.send(Count(counter_id=story.id(n % counters), misbehave="crash" if n % 2 else "")) for n in range(99)),
        story.send(OpenCounter(counter_id=story.id("new"), limit=2**60)),
        story.send(OpenCounter(counter_id=story.id("new"))),
        return_exceptions=True,
    )
    assert passes <= 3
    assert [isinstance(each, Exception) for each in outcomes] == [*(bool(n % 2) for n in range(99)), True, False]
    assert sum(story.state(Counter, story.id(n)).count for n in range(counters)) == 50
    for stream, known in story.sequencer.aggregates.items():
        assert known == story.state(Counter, stream)


async def test_text_that_json_readers_choke_on_is_refused_at_the_edge(story: Story) -> None:
    await story.when(OpenCounter(counter_id=story.id(1), limit=2**60))
    story.then_refused(Refused, code="invalid_text", saying="53 bits")


async def test_a_key_without_the_permission_is_refused_before_anything_is_read(story: Story) -> None:
    reader = Principal("reader", frozenset({"counters.read"}))
    await story.when(OpenCounter(counter_id=story.id(1)), principal=reader)
    assert story.then_refused(NotAllowed).details["permission"] == "counters.open"


async def test_a_cached_aggregate_equals_the_replay_of_its_stored_bytes(story: Story) -> None:
    await story.given(OpenCounter(counter_id=story.id(1)))
    for amount in range(30):
        await story.given(Count(counter_id=story.id(1), amount=amount))
    cached = story.sequencer.aggregates[story.id(1)]
    assert cached == story.state(Counter, story.id(1))
    assert Counter.from_snapshot(cached.id, cached.version, cached.snapshot()) == cached


async def test_a_full_queue_says_when_to_come_back(story: Story) -> None:
    story.sequencer._queue_limit = 3
    outcomes = await asyncio.gather(
        *(story.send(OpenCounter(counter_id=story.id(n))) for n in range(9)), return_exceptions=True
    )
    refused = [each for each in outcomes if isinstance(each, Unavailable)]
    assert len(refused) >= 1
    assert all(each.retry_after > 0 for each in refused)
    assert len(story.events) + len(refused) == 9


async def test_a_slow_batch_lets_go_of_the_lock_and_goes_on_in_the_next(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    await story.given(OpenCounter(counter_id=story.id(1)))
    monkeypatch.setattr(runner, "DECIDE_SECONDS", 0.0)
    await asyncio.gather(*(story.send(Count(counter_id=story.id(1))) for _ in range(20)))
    assert story.state(Counter, story.id(1)).count == 20


async def test_an_escaped_stop_iteration_reaches_its_caller_and_the_sequencer_lives(story: Story) -> None:
    await story.given(OpenCounter(counter_id=story.id(1)))
    with pytest.raises(RuntimeError, match="StopIteration"):
        await story.send(Count(counter_id=story.id(1), misbehave="stop"))
    await story.given(Count(counter_id=story.id(1)))


async def test_stopping_finishes_what_waits(story: Story) -> None:
    sending = [asyncio.create_task(story.send(OpenCounter(counter_id=story.id(n)))) for n in range(50)]
    await asyncio.sleep(0)
    await story.sequencer.stop()
    assert len(await asyncio.gather(*sending)) == 50
    await story.when(OpenCounter(counter_id=story.id(99)))
    story.then_refused(Unavailable)
