"""The rules that every projection must hold, shown on the samples, and on one that breaks them."""

from random import Random

import pytest

from projections.projector import Connections, Projection
from tests.projections.samples import LastOfAll, Lines, Tallies, Teams, some_log
from tests.support.projections import (
    assert_as_of_equals_fold,
    assert_order_matters_only_within_a_key,
    assert_projection_holds,
    shuffled,
)


@pytest.mark.parametrize("projection", [Tallies(), Teams(), Lines()], ids=lambda each: each.name)
async def test_the_samples_hold_all_rules(connections: Connections, projection: Projection) -> None:
    log = some_log()
    await assert_projection_holds(connections, log.store, projection, log.events)


async def test_a_fold_that_depends_on_order_across_keys_is_caught(connections: Connections) -> None:
    log = some_log()
    with pytest.raises(AssertionError, match="order of events across keys"):
        await assert_order_matters_only_within_a_key(connections, LastOfAll(), log.events, Random(1))


async def test_a_document_as_of_two_hundred_positions_is_a_fresh_fold(connections: Connections) -> None:
    log = some_log(events=240, projects=2)
    positions = sorted(Random(3).sample(range(1, 241), 200))
    assert await assert_as_of_equals_fold(connections, log.store, Tallies(), log.events, positions) > 1000


def test_a_shuffle_keeps_the_order_of_each_key_and_every_event() -> None:
    log = some_log()
    mixed = shuffled(log.events, Random(2))
    assert mixed != log.events
    assert sorted(mixed, key=lambda each: each.position) == log.events
    for key in {each.project_id or each.stream_id for each in mixed}:
        own = [each.position for each in mixed if (each.project_id or each.stream_id) == key]
        assert own == sorted(own)
