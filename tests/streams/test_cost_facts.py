"""Cost facts: one for each event that says what an attempt cost, once, chained, in the transaction of the event."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from domain.costs import Cost
from domain.errors import Unavailable
from domain.kernel import load_event
from domain.log import StoredEvent, canonical
from streams.envelope import source_of
from streams.products.cloud import COST_FACT, DEAD_LETTER
from streams.products.costs import COST_TYPES, Chain, CostFact, Facts, fact_of
from streams.relay.batching import pack
from streams.relay.marker import Marker
from streams.topics import Topics
from tests.projections.town import busy
from tests.streams.relaying import Stage, event_at, examples, open_store, running, until, write
from tests.support.kafka_reading import Found, committed, complaints
from toybox.topic_contracts import product, product_headers

SOURCE = source_of("ab" * 32)
TOPICS = Topics.named()


def example_of(kind: str) -> StoredEvent:
    """The recorded example of an event type."""
    return next(stored for stored in map(event_at, range(1, len(examples()) + 1)) if stored.type == kind)


def told(stored: StoredEvent) -> dict[str, Any]:
    """The fact of an event, as it is written."""
    fact = fact_of(stored)
    assert fact
    found = json.loads(fact.model_dump_json())
    jsonschema.validate(found, product(COST_FACT), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    return found


def test_a_recorded_cost_is_told_flat() -> None:
    stored = example_of("cost.recorded")
    event = load_event(stored)
    assert isinstance(event, Cost.Recorded)
    fact = told(stored)
    assert (fact["kind"], fact["position"], fact["cost_id"]) == ("recorded", stored.position, str(stored.stream_id))
    assert fact["project_id"] == (str(stored.project_id) if stored.project_id else None)
    assert (fact["provider"], fact["model"], fact["phase"]) == (event.provider, event.model, event.phase)
    assert fact["amount"] == fact["delta"] == "1.25"
    assert (fact["input_tokens"], fact["output_tokens"]) == (1, 0)
    assert fact["lines"][0]["amount"] == "1.25"
    assert fact["recorded_at"].endswith("Z")


def test_a_correction_is_a_fact_of_its_own_that_adds_only_the_difference() -> None:
    stored = example_of("cost.corrected")
    payload = stored.payload() | {"amount": "1", "previous": "1.5", "usage": None}
    fact = told(replace(stored, data=canonical(payload)))
    assert (fact["kind"], fact["amount"], fact["delta"]) == ("corrected", "1", "-0.5")
    assert fact["provider"] is fact["model"] is fact["phase"] is fact["input_tokens"] is None


@pytest.mark.thorough
def test_the_deltas_of_a_town_add_up_to_what_its_costs_are_in_the_end() -> None:
    town = busy()
    facts = [fact for fact in map(fact_of, town.events) if fact]
    assert {fact.kind for fact in facts} == {"recorded", "corrected", "re_rated"}
    costs = town.all(Cost)
    assert sum(fact.delta for fact in facts) == sum(cost.amount for cost in costs.values()) > 0
    last: dict[Any, Decimal] = {fact.cost_id: fact.amount for fact in facts}
    assert last == {stream: cost.amount for stream, cost in costs.items()}


def test_what_is_about_something_else_has_no_fact() -> None:
    others = [stored for stored in busy().events if stored.type not in COST_TYPES]
    assert others
    assert not any(fact_of(stored) for stored in others)


def dense(kinds: list[str]) -> list[StoredEvent]:
    """Events of these types, from position 1 on, all of one project."""
    first = example_of("cost.recorded")
    return [
        replace(example_of(kind), position=position, project_id=first.project_id)
        for position, kind in enumerate(kinds, 1)
    ]


def test_facts_follow_the_events_of_their_transaction_and_the_marker_stays_last() -> None:
    events = dense(["cost.recorded", "project.started", "cost.corrected", "cost.recorded"])
    batch = pack(events, Marker("topic", costs=Chain("costs")), TOPICS)
    assert [each.topic for each in batch.records] == [
        *["toybox.events"] * 4, *["toybox.costs"] * 3, "toybox.relay.position",
    ]  # fmt: skip
    assert batch.positions == [1, 2, 3, 4]
    chained = [
        (dict(each.headers)["toybox-position"], dict(each.headers)["toybox-prev"]) for each in batch.records[4:7]
    ]
    assert chained == [(b"1", b"0"), (b"3", b"1"), (b"4", b"3")]
    assert {each.key for each in batch.records[:7]} == {str(events[0].project_id).encode()}
    assert len({each.partition for each in batch.records[:7]}) == 1
    assert batch.marker.costs == Chain("costs", 4, {batch.records[0].partition: 4})
    assert Marker.loads(batch.marker.dumps()) == batch.marker


def test_facts_that_are_out_already_are_not_written_again() -> None:
    events = dense(["cost.recorded", "cost.recorded", "cost.recorded"])
    batch = pack(events, Marker("topic", costs=Chain("costs", 2, {5: 2})), TOPICS)
    assert [dict(each.headers)["toybox-position"] for each in batch.records if each.topic == "toybox.costs"] == [b"3"]
    assert pack(events, Marker("topic", costs=Chain("costs", 9)), TOPICS).marker.costs.position == 9


def test_a_fact_is_a_cloud_event_in_binary_mode_to_the_sdk() -> None:
    facts = Facts(Chain(), TOPICS, SOURCE)
    stored = example_of("cost.recorded")
    record = facts.make(stored)
    assert record
    assert record.value
    carried = {name: value.decode() for name, value in record.headers}
    jsonschema.validate(carried, product_headers("ce_time", "toybox-position", "toybox-prev"))
    read = from_binary_event(KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value))
    assert (read.get_type(), read.get_source(), read.get_subject()) == (COST_FACT, SOURCE, str(stored.stream_id))
    assert read.get_time() == stored.recorded_at
    assert read.get_data() == json.loads(record.value)
    assert CostFact.model_validate(read.get_data()) == fact_of(stored)


def test_an_event_that_makes_no_fact_is_a_dead_letter_and_holds_nobody_up() -> None:
    broken = replace(dense(["cost.recorded"])[0], data=b'{"amount":"a lot"}')
    batch = pack([broken], Marker("topic", costs=Chain("costs")), TOPICS)
    event, letter, _ = batch.records
    assert (event.topic, letter.topic) == ("toybox.events", "toybox.dead-letters")
    assert letter.value
    said = json.loads(letter.value)
    jsonschema.validate(said, product(DEAD_LETTER))
    assert (said["position"], said["by"], said["code"]) == (1, "toybox.costs", "no_cost_fact")
    assert batch.marker.costs == Chain("costs", 1)


def test_a_fact_of_a_newer_toybox_waits_for_it() -> None:
    facts = Facts(Chain(), TOPICS, SOURCE)
    with pytest.raises(Unavailable, match="upgrade"):
        facts.make(replace(example_of("cost.recorded"), schema_version=99))


# --- on the real broker ---


@pytest.fixture
async def stage(database: str, kafka_server: str, kafka_prefix: str) -> AsyncIterator[Stage]:
    """A log and topics of this test's own."""
    async with open_store(database) as store:
        yield Stage(database, store, kafka_server, kafka_prefix)


async def facts_of(stage: Stage) -> list[Found]:
    """What the topic of cost facts holds, by whoever reads it as committed."""
    return committed(stage.address, stage.topics.costs.name)


async def expected(stage: Stage) -> list[int]:
    """Positions of every event that tells a cost."""
    return [each.position for each in await stage.store.read(0, 100_000, types=COST_TYPES)]


async def test_every_cost_arrives_once_in_order_across_restarts(stage: Stage) -> None:
    for count in (300, 7, 250):
        await write(stage.store, count)
        await stage.relay_all(batch=40)
    found = await facts_of(stage)
    assert len(found) == len(await expected(stage)) > 10
    assert not complaints(found, await expected(stage))
    events = {each.position: each for each in await stage.committed()}
    for each in found:
        assert (each.partition, each.key) == (events[each.position].partition, events[each.position].key)
        assert json.loads(each.value)["event_id"].encode() == events[each.position].headers["ce_id"]


async def test_facts_are_never_doubled_when_the_topic_of_events_is_made_anew(stage: Stage) -> None:
    await write(stage.store, 300)
    await stage.relay_all()
    before = await facts_of(stage)
    await stage.delete(stage.topics.events.name)
    await write(stage.store, 100)
    await stage.relay_all()
    after = await facts_of(stage)
    assert [each.value for each in before] == [each.value for each in after if each.position <= 300]
    assert not complaints(after, await expected(stage))
    assert not await stage.complaints()


async def test_a_topic_of_facts_that_was_made_anew_is_filled_and_events_are_left_alone(stage: Stage) -> None:
    await write(stage.store, 400)
    await stage.relay_all()
    events = await stage.committed()
    before = await facts_of(stage)
    await stage.delete(stage.topics.costs.name)
    await write(stage.store, 50)
    await stage.relay_all(batch=3)
    after = await facts_of(stage)
    assert [each.value for each in before] == [each.value for each in after if each.position <= 400]
    assert not complaints(after, await expected(stage))
    assert {each.position: each.offset for each in events}.items() <= {
        each.position: each.offset for each in await stage.committed()
    }.items()
    assert not await stage.complaints()


async def test_a_lost_marker_beside_facts_halts_the_relay_instead_of_doubling_them(stage: Stage) -> None:
    await write(stage.store, 100)
    await stage.relay_all()
    await stage.delete(stage.topics.relay_position.name, stage.topics.events.name)
    relay = stage.relay()
    async with running(relay):
        await until(lambda: relay.state.alarm is not None)
        assert relay.state.alarm_code == "relay_marker_lost"
        assert stage.topics.costs.name in (relay.state.alarm or "")
