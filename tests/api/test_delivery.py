"""Where an event was delivered to, over HTTP: every answer that there is, and who may have it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from adapters.postgres.deliveries import PostgresLedger
from adapters.postgres.following import PostgresCursors
from domain.delivering import RelayedBatch, Run
from domain.log import StoredEvent
from domain.values import derived_id
from projections.projector import PROJECTIONS
from streams.envelope import key_of
from streams.reacting import REACTIONS
from streams.reactor import Reactor
from streams.topics import partition_of
from tests.api.working import started
from tests.streams.test_deadlines import Alone
from tests.support.client import Api, problem
from tests.support.subscriber import subscribed


async def delivery(api: Api, position: int) -> dict[str, Any]:
    """What is told of an event."""
    return (await api.get(f"/api/events/{position}/delivery")).json()


def view(told: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in told["views"] if each["name"] == name)


async def event(api: Api, kind: str) -> StoredEvent:
    """The last event of a type."""
    return [each for each in await api.events() if each.type == kind][-1]


async def applied(api: Api) -> int:
    """The head, once every read model shows it."""
    head = await api.store.head()
    await api.services.read_models.wait_for(list(PROJECTIONS), head, 10)
    return head


@asynccontextmanager
async def reacting(api: Api) -> AsyncIterator[None]:
    """Reactions run until the log is quiet."""
    pool: Any = api.services.connections
    reactor = Reactor(
        REACTIONS,
        reader=api.store,
        commands=api.services.commands,
        cursors=PostgresCursors(pool),
        leadership=Alone(),
    )
    task = asyncio.create_task(reactor.run())
    try:
        async with asyncio.timeout(20):
            while not reactor.positions or min(reactor.positions.values()) < await api.store.head():  # noqa: ASYNC110 -- positions tell nobody
                await asyncio.sleep(0.02)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_record_and_every_read_model_are_told(whole_api: Api) -> None:
    api = whole_api
    made = (await api.post("/api/projects", {"name": "x"})).json()
    stored = await event(api, "project.created")
    head = await applied(api)
    told = await delivery(api, stored.position)
    assert (told["position"], told["head"]) == (stored.position, head)
    assert told["recorded"] == {
        "at": stored.recorded_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "type": "project.created",
        "version": 1,
        "stream_id": made["id"],
        "stream_version": 1,
        "project_id": made["id"],
        "actor": stored.actor,
        "command_id": str(stored.command_id),
        "correlation_id": str(stored.correlation_id),
        "causation_id": None,
    }
    assert [each["name"] for each in told["views"]] == sorted(PROJECTIONS)
    shown = view(told, "project_overviews")
    assert (shown["status"], shown["exact"], shown["version"]) == (
        "applied", True, PROJECTIONS["project_overviews"].version,
    )  # fmt: skip
    assert datetime.fromisoformat(shown["at"]) >= stored.recorded_at
    for each in told["views"]:
        hears = PROJECTIONS[each["name"]].hears("project.created")
        assert each["status"] == ("applied" if hears else "not_read"), each
        assert (each["at"] is not None) == hears
    assert told["relayed"]["status"] == "off"
    assert told["feeds"] == []


async def test_a_read_model_that_is_behind_or_has_parked_the_project_says_so(whole_api: Api) -> None:
    api = whole_api
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    head = await applied(api)
    async with api.services.connections.connection() as connection:
        await connection.execute(
            "insert into projection_parked (generation, key, projection, position, type, reason)"
            " select generation, %s, projection, %s, 'project.created', 'planted' from projection_positions"
            " where projection = 'project_overviews' and status = 'live'",
            [project, head],
        )
        await connection.execute("delete from projection_deliveries")
        await connection.execute(
            "update projection_positions set position = %s where projection = 'system_log'", [head - 1]
        )
    told = await delivery(api, head)
    parked, behind = view(told, "project_overviews"), view(told, "system_log")
    assert (parked["status"], parked["position"], parked["reason"]) == ("parked", head, "planted")
    assert (behind["status"], behind["position"], behind["at"]) == ("waiting", head - 1, None)
    async with api.services.connections.connection() as connection:
        await connection.execute("delete from projection_positions where projection = 'system_log'")
    assert view(await delivery(api, head), "system_log")["status"] == "not_built"


async def test_reactions_tell_what_they_asked_for_and_what_came_of_it(whole_api: Api) -> None:
    api = whole_api
    await started(api)
    stored = await event(api, "project.started")
    waiting = await delivery(api, stored.position)
    assert waiting["reactions"], "somebody reads this type"
    assert {each["status"] for each in waiting["reactions"]} == {"waiting"}
    assert {asked["outcome"] for each in waiting["reactions"] for asked in each["commands"]} == {"waiting"}
    assert waiting["caused"] == []
    async with reacting(api):
        told = await delivery(api, stored.position)
    assert {each["status"] for each in told["reactions"]} == {"answered"}
    asked = [asked for each in told["reactions"] for asked in each["commands"]]
    assert {each["outcome"] for each in asked} <= {"done", "nothing_to_do", "refused"}
    effects = [(each["position"], each["type"]) for one in asked for each in one["events"]]
    assert "agent.ready" in {kind for _, kind in effects}
    by_position = {each.position: each for each in await api.events()}
    assert all(by_position[position].causation_id == stored.command_id for position, _ in effects)
    assert set(effects) <= {(each["position"], each["type"]) for each in told["caused"]}
    assert told["caused_searched_to"] >= max(position for position, _ in effects)
    again = await delivery(api, effects[0][0])
    assert again["recorded"]["causation_id"] == told["recorded"]["command_id"]


async def test_a_reaction_that_follows_kafka_is_as_far_as_it_is_on_the_partition(whole_api: Api) -> None:
    api = whole_api
    await started(api)
    stored = await event(api, "project.started")
    name = (await delivery(api, stored.position))["reactions"][0]["name"]
    own = partition_of(key_of(stored), 12)
    async with api.services.connections.connection() as connection:
        await connection.execute(
            "insert into reaction_partitions (reaction, partition, topic, position, next_offset)"
            " values (%s, %s, 'id', %s, 0)",
            [name, own, stored.position],
        )
    told = (await delivery(api, stored.position))["reactions"][0]
    assert (told["status"], told["position"]) == ("answered", stored.position)


async def test_a_reaction_that_set_the_event_aside_says_why(whole_api: Api) -> None:
    api = whole_api
    await started(api)
    stored = await event(api, "project.started")
    name = (await delivery(api, stored.position))["reactions"][0]["name"]
    cursors = PostgresCursors(api.services.connections)  # pyright: ignore[reportArgumentType] -- a pool, in truth
    await cursors.advance({name: stored.position})
    await cursors.park(name, derived_id("key"), stored.position, "ZeroDivisionError()")
    told = (await delivery(api, stored.position))["reactions"][0]
    assert (told["status"], told["reason"]) == ("parked", "ZeroDivisionError()")


async def test_the_ledger_of_the_relay_is_told(whole_api: Api) -> None:
    api = whole_api
    await api.post("/api/projects", {"name": "x"})
    head = await api.store.head()
    ledger = PostgresLedger(api.services.connections)  # pyright: ignore[reportArgumentType] -- a pool, in truth
    await ledger.note([RelayedBatch(head - 1, "toybox.events", api.services.now(), ())])
    assert (await delivery(api, head))["relayed"]["status"] == "waiting"
    await ledger.note([RelayedBatch(head, "toybox.events", api.services.now(), (Run(5, 77, [head]),))])
    relayed = (await delivery(api, head))["relayed"]
    assert (relayed["status"], relayed["topic"], relayed["partition"], relayed["offset"], relayed["reached"]) == (
        "relayed", "toybox.events", 5, 77, head,
    )  # fmt: skip
    assert relayed["at"]


async def test_each_open_feed_says_how_far_it_was_served(whole_api: Api) -> None:
    api = whole_api
    await api.post("/api/projects", {"name": "x"})
    stored = await event(api, "project.created")
    other = str(derived_id("another project"))
    async with (
        subscribed(api.app, api.owner, after=0) as client,
        subscribed(api.app, api.owner, after=0, project_id=other),
        subscribed(api.app, api.owner, after=0, type="agent.*"),
        subscribed(api.app, api.owner) as now,
        subscribed(api.app, api.owner, after=0, slow=True) as slow,
    ):
        await client.until(lambda it: stored.position in it.positions)
        await now.until(lambda it: bool(it.messages))
        async with asyncio.timeout(5):
            while len(feeds := (await delivery(api, stored.position))["feeds"]) < 4:  # noqa: ASYNC110 -- feeds join in their own time
                await asyncio.sleep(0.02)
        found = {(each["project_id"], tuple(each["types"] or ()), each["began_after"]): each for each in feeds}
        assert found[None, (), 0]["status"] == "delivered"
        assert found[None, (), 0]["delivered"] >= stored.position
        assert found[other, (), 0]["status"] == "not_wanted"
        assert next(each["status"] for each in feeds if each["types"]) == "not_wanted"
        assert found[None, (), stored.position]["status"] == "began_later"
        assert not slow.messages
    assert (await delivery(api, stored.position))["feeds"] == []


async def test_a_feed_whose_client_takes_nothing_has_not_delivered(whole_api: Api) -> None:
    api = whole_api
    await api.post("/api/projects", {"name": "x"})
    stored = await event(api, "project.created")
    async with subscribed(api.app, api.owner, after=0) as client:
        await client.until(lambda it: stored.position in it.positions)
        client.takes.clear()
        await api.post("/api/projects", {"name": "y"})
        later = await event(api, "project.created")
        await asyncio.sleep(0.3)
        assert [each["status"] for each in (await delivery(api, later.position))["feeds"]] == ["waiting"]
        assert [each["status"] for each in (await delivery(api, stored.position))["feeds"]] == ["delivered"]
        client.takes.set()
        await client.until(lambda it: later.position in it.positions)


async def test_events_about_keys_are_for_who_may_read_keys(whole_api: Api) -> None:
    api = whole_api
    token = await api.key("events.read")
    position = await api.store.head()
    await applied(api)
    told = await delivery(api, position)
    assert told["recorded"]["type"] == "access_key.issued"
    assert told["relayed"]["status"] == "private"
    async with api.client(token) as http:
        refused = problem(await http.get(f"/api/events/{position}/delivery"), 403, "not_allowed")
        assert refused["permission"] == "keys.read"
        await api.post("/api/projects", {"name": "x"})
        public = await api.store.head()
        assert (await http.get(f"/api/events/{public}/delivery")).status_code == 200
    async with api.client(await api.key("projects.read")) as http:
        problem(await http.get(f"/api/events/{public}/delivery"), 403, "not_allowed")
    async with api.client(None) as http:
        problem(await http.get(f"/api/events/{public}/delivery"), 401, "not_authenticated")


async def test_a_position_that_is_not_there_is_told_with_the_head(api: Api) -> None:
    head = await api.store.head()
    found = problem(await api.http.get(f"/api/events/{head + 1}/delivery"), 404, "not_found")
    assert found["head"] == head
    assert f"the log's head is {head}" in found["detail"]


@pytest.mark.parametrize("said", ["0", "-1", "first", "1.5", "9007199254740992"])
async def test_what_is_no_position_is_refused(api: Api, said: str) -> None:
    found = problem(await api.http.get(f"/api/events/{said}/delivery"), 422, "invalid_request")
    assert found["errors"][0]["field"] == "position"
