"""States of projects and budgets on Kafka: the last value of every key is what the read model shows, whatever dies."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, get_args
from uuid import UUID

import jsonschema
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from adapters.postgres.keyring import PostgresKeyring
from domain.budgets import Window
from domain.ids import Scope
from domain.kernel import load_event
from domain.projects import Project
from domain.relaying import Record
from domain.values import Sealed
from projections.budgets import BudgetState, LimitState
from projections.documents import Row
from projections.projector import parked_keys, rebuild, retry
from projections.projects import ProjectOverviews
from streams.products.progress import Progress
from streams.products.states import BUDGETS, PROJECTS, STATES, StateProduct
from tests.projections.town import WHISPER, busy
from tests.streams.publishing import Press, keys_of, press, process
from tests.streams.relaying import running, until
from toybox.topic_contracts import product as schema_of
from toybox.topic_contracts import product_headers


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    monkeypatch.setattr("streams.products.publisher.POLL_SECONDS", 0.05)
    monkeypatch.setattr("streams.products.publisher.ERASED_SECONDS", 0.0)
    monkeypatch.setattr("streams.leading.HALT_SECONDS", 0.1)


@pytest.fixture
async def town(database: str, kafka_server: str, kafka_prefix: str) -> AsyncIterator[Press]:
    """A town's log with its read models, and topics of this test's own."""
    async with press(database, kafka_server, kafka_prefix) as made:
        await made.append(busy().events)
        await made.show()
        yield made


async def assert_all_there(town: Press) -> None:
    """The last value of every key equals the read model."""
    for product in STATES:
        shown = await town.shown(product)
        assert len(shown) >= 3
        assert await town.latest(product) == shown


@pytest.mark.parametrize("product", STATES, ids=lambda each: each.kind)
def test_the_key_of_a_product_is_the_key_of_its_document(product: StateProduct[Any]) -> None:
    heard = [stored for stored in busy().events if product.document.hears(stored.type)]
    assert heard
    assert all(product.key(stored) == product.document.key(stored, load_event(stored)) for stored in heard)


@pytest.mark.parametrize("product", STATES, ids=lambda each: each.kind)
def test_no_state_has_a_field_for_sealed_text(product: StateProduct[Any]) -> None:
    pattern = get_args(Sealed)[1].pattern
    assert pattern in json.dumps(product.document.View.model_json_schema()).replace("\\\\", "\\") or product is BUDGETS
    assert pattern not in json.dumps(product.Value.model_json_schema()).replace("\\\\", "\\")


async def test_every_state_is_there_by_its_contract_and_says_nothing_that_is_sealed(town: Press) -> None:
    await town.publish()
    await assert_all_there(town)
    for product in STATES:
        for each in await town.written(product):
            value = json.loads(each.value)
            jsonschema.validate(value, schema_of(product.kind))
            assert "s1." not in each.value.decode()
            assert WHISPER not in each.value.decode()
            assert (value["id"], value["position"]) == (each.key.decode(), each.position)
            carried = {name: told.decode() for name, told in each.headers.items()}
            jsonschema.validate(carried, product_headers("toybox-position"))
            read = from_binary_event(KafkaMessage(headers=dict(each.headers), key=each.key, value=each.value))
            assert (read.get_type(), read.get_subject(), read.get_data()) == (product.kind, value["id"], value)


async def test_what_changes_is_written_and_nothing_else(database: str, kafka_server: str, kafka_prefix: str) -> None:
    events = busy().events
    async with press(database, kafka_server, kafka_prefix) as town:
        await town.append(events[:1500])
        await town.show()
        await town.publish()
        before = {product.kind: await town.written(product) for product in STATES}
        again = await town.publish()
        assert (again.state.states, again.state.transactions) == (0, 0), "nothing had changed"
        await town.append(events[1500:1560])
        await town.show()
        await town.publish()
        await assert_all_there(town)
        for product in STATES:
            heard = [each for each in events[1500:1560] if product.document.hears(each.type)]
            touched = {str(key) for each in heard if (key := product.key(each))}
            there = {(each.partition, each.offset) for each in before[product.kind]}
            new = [each for each in await town.written(product) if (each.partition, each.offset) not in there]
            assert {each.key.decode() for each in new} == touched


async def test_states_follow_while_the_publisher_runs(database: str, kafka_server: str, kafka_prefix: str) -> None:
    events = busy().events
    async with press(database, kafka_server, kafka_prefix) as town:
        await town.append(events[:1200])
        await town.show()
        publisher = town.publisher()
        async with running(publisher):  # pyright: ignore[reportArgumentType] -- runs as a relay does
            for start in range(1200, 1500, 100):
                await town.append(events[start : start + 100])
                await town.show()
                await until(lambda end=start + 100: list(publisher.state.positions.values()) == [end, end])
        assert publisher.state.phase == "stopped"
        await assert_all_there(town)


@pytest.mark.process
async def test_a_publisher_that_is_killed_again_and_again_leaves_the_latest_state_of_every_key(
    database: str, kafka_server: str, kafka_prefix: str
) -> None:
    events, random, at = busy().events, Random(5), 400
    async with press(database, kafka_server, kafka_prefix) as town:
        await town.append(events[:at])
        await town.show()
        for _ in range(5):
            victim = process(town.stage)
            try:
                until_killed = asyncio.get_running_loop().time() + random.uniform(1.2, 3.0)
                while asyncio.get_running_loop().time() < until_killed:
                    await town.append(events[at : (at := min(at + random.randint(1, 12), len(events) - 1))])
                    await town.show()
                    await asyncio.sleep(0.03)
                assert victim.poll() is None, "it was to be running"
            finally:
                victim.kill()
                victim.wait()
        await town.publish()
        await assert_all_there(town)


async def test_a_topic_that_was_made_anew_a_rebuild_and_another_shape_write_every_state_again(
    town: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.publish()
    await town.stage.delete(town.stage.topics.projects.name)
    await town.publish()
    await assert_all_there(town)
    before = {product.kind: len(await town.written(product)) for product in STATES}
    await rebuild(town.connections, town.store, BUDGETS.document)
    await town.publish()
    assert len(await town.written(BUDGETS)) == before[BUDGETS.kind] + len(await town.shown(BUDGETS))
    assert len(await town.written(PROJECTS)) == before[PROJECTS.kind]
    monkeypatch.setattr(StateProduct, "shape", lambda _: "another")
    await town.publish()
    assert len(await town.written(PROJECTS)) == before[PROJECTS.kind] + len(await town.shown(PROJECTS))
    await assert_all_there(town)


async def test_a_parked_project_says_since_when_it_is_incomplete_until_it_is_taken_up_again(
    database: str, kafka_server: str, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = busy().events
    cut = next(each.position for each in events if each.type == Project.Started.TYPE and each.position > 300) - 1
    key = events[cut].project_id
    assert key
    async with press(database, kafka_server, kafka_prefix) as town:
        await town.append(events[:cut])
        await town.show()
        publisher = town.publisher()
        async with running(publisher):  # pyright: ignore[reportArgumentType] -- runs as a relay does
            with monkeypatch.context() as patched:
                patched.setattr(ProjectOverviews, "started", broken)
                await town.append(events[cut : cut + 80])
                await town.show()
            async with town.connections.connection() as connection:
                parked = {each.key for each in await parked_keys(connection, PROJECTS.document.name)}
            assert key in parked
            await until(lambda: list(publisher.state.positions.values()) == [cut + 80] * 2)
            assert (await state_of(town, key))["incomplete_since"] == cut + 1
            assert (await state_of(town, key))["status"] == "initialized"
        for each in parked:
            await retry(town.connections, town.store, PROJECTS.document, each)
        await town.publish()
        assert (await state_of(town, key))["incomplete_since"] is None
        assert (await state_of(town, key))["status"] != "initialized"
        await assert_all_there(town)


def broken(*_: object) -> None:
    raise ValueError("the fold has a bug")


async def state_of(town: Press, key: UUID) -> dict[str, Any]:
    """What the topic says of a project."""
    value = (await town.latest(PROJECTS))[str(key)]
    assert value
    return json.loads(value)


async def test_a_project_whose_key_was_destroyed_is_removed_with_its_budgets(town: Press) -> None:
    keyring = PostgresKeyring(town.connections, b"k" * 32, recheck_seconds=0.01)
    assert await keyring.destroyed() == frozenset()
    budget = next(each for each in (await states(town, BUDGETS)).values() if each["project_id"])
    project = UUID(budget["project_id"])
    await town.publish(town.publisher(erased=keyring.destroyed))
    await keyring.sealer(project, create=True)
    await keyring.destroy(project)
    publisher = town.publisher(erased=keyring.destroyed)
    async with running(publisher):  # pyright: ignore[reportArgumentType] -- runs as a relay does
        await until(lambda: publisher.state.tombstones >= 2)
    projects, budgets = await town.latest(PROJECTS), await town.latest(BUDGETS)
    assert projects[str(project)] is None
    assert budgets[budget["id"]] is None
    assert keys_of(projects) == {UUID(key) for key in await town.shown(PROJECTS)} - {project}
    for each in await town.written(PROJECTS):
        if each.value is None:
            assert (each.key.decode(), each.headers["ce_type"]) == (str(project), PROJECTS.kind.encode())


async def states(town: Press, product: StateProduct[Any]) -> dict[str, dict[str, Any]]:
    """What the read model says, as values."""
    return {key: json.loads(value) for key, value in (await town.shown(product)).items()}


async def test_states_of_another_history_halt_the_publisher_until_somebody_has_put_it_right(town: Press) -> None:
    await town.publish()
    outlet, topics = town.stage.outlet(), town.stage.topics
    key = topics.projects.name.encode()
    rightful = await outlet.last(topics.relay_position.name, key)
    held = Progress.loads(rightful or b"")
    assert held
    assert Progress.loads(b"what is this?") is None
    for forged in (
        Progress(held.topic, held.generation, held.shape, held.log, held.position, "00" * 32, held.parked),
        Progress(held.topic, held.generation, held.shape, held.log, held.position + 1, held.leaf, held.parked),
        Progress(held.topic, held.generation, held.shape, "11" * 32, held.position, held.leaf, held.parked),
    ):
        await put(town, key, forged.dumps())
        publisher = town.publisher()
        async with running(publisher):  # pyright: ignore[reportArgumentType] -- runs as a relay does
            await until(lambda publisher=publisher: publisher.state.alarm is not None)
            assert (publisher.state.phase, publisher.state.alarm_code) == ("halted", "products_history_forked")
            await put(town, key, held.dumps())
            await until(lambda publisher=publisher: publisher.state.alarm is None)
            await until(lambda publisher=publisher: publisher.state.phase == "publishing")
    await assert_all_there(town)


async def put(town: Press, key: bytes, value: bytes) -> None:
    """Put a progress that says something else."""
    outlet = town.stage.outlet()
    await outlet.open()
    await outlet.send([Record(town.stage.topics.relay_position.name, 0, key, value, [], 0)])
    await outlet.discard()


async def test_a_publisher_waits_for_read_models_that_are_not_built_yet(
    database: str, kafka_server: str, kafka_prefix: str
) -> None:
    async with press(database, kafka_server, kafka_prefix) as town:
        await town.append(busy().events[:300])
        publisher = town.publisher()
        async with running(publisher):  # pyright: ignore[reportArgumentType] -- runs as a relay does
            await until(lambda: "is being built" in (publisher.state.last_error or ""))
            await town.show()
            await until(lambda: list(publisher.state.positions.values()) == [300, 300])
        await assert_all_there(town)


def test_a_budget_tells_each_of_its_limits_in_its_own_unit() -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    shared: dict[str, Any] = {"hard": True, "thresholds": (80,), "ends_at": None}
    words = LimitState(
        name="total-tokens-lifetime", unit="total_tokens", window=Window(), limit=Decimal(9), held=Decimal(2), **shared
    )
    money = LimitState(name="usd-lifetime", unit="usd", window=Window(), limit=Decimal("0.5"), **shared)
    view = BudgetState(
        id=UUID(int=1), scope=Scope(kind="global"), kind="global", project_id=None, unit=words.unit, limit=words.limit,
        held=words.held, thresholds=words.thresholds, limits=(words, money), opened_at=at,
    )  # fmt: skip
    told = json.loads(BUDGETS.value(Row(view.id, None, 7, view), None).model_dump_json())
    assert (told["unit"], told["limit"], told["headroom"]) == ("total_tokens", "9", "7")
    assert [(each["unit"], each["limit"], each["held"], each["headroom"]) for each in told["limits"]] == [
        ("total_tokens", "9", "2", "7"),
        ("usd", "0.5", "0", "0.5"),
    ]
