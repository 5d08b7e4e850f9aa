"""The live feed: in order, without gap or double, whatever happens to the connection; slow readers are cut."""

import asyncio
from random import Random
from typing import Any

import pytest

from api.app import close_feeds
from api.feed import Tail
from domain.values import derived_id
from tests.support.client import Api, problem
from tests.support.examples import seeds
from tests.support.story import Story
from tests.support.subscriber import Subscriber, subscribed


async def project(api: Api, name: str = "Feed") -> str:
    return (await api.post("/api/projects", {"name": name, "description": "a secret plan"})).json()["id"]


async def phases(api: Api, project_id: str, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        await api.post(f"/api/projects/{project_id}/phases", {"name": f"phase-{number}"})


def has(count: int) -> Any:
    return lambda client: len(client.events) >= count


async def whole(api: Api) -> list[int]:
    """Positions of everything that anybody may see."""
    return [each.position for each in await api.events()]


async def test_events_come_as_they_happen_with_all_that_is_known_of_them(api: Api) -> None:
    async with subscribed(api.app, api.owner) as client:
        await client.until(lambda it: it.named("heartbeat") != [])
        made = await project(api)
        await client.until(has(1))
    stored = (await api.events())[0]
    assert client.status == 200
    assert client.events == [
        {
            "position": stored.position,
            "type": "project.created",
            "version": 1,
            "stream_id": made,
            "stream_version": 1,
            "project_id": made,
            "recorded_at": "2026-11-21T10:00:00.000000Z",
            "actor": stored.actor,
            "correlation_id": str(stored.correlation_id),
            "causation_id": None,
            "data": stored.payload(),
        }
    ]
    assert client.last_id == stored.position


async def test_a_feed_begins_now_or_after_a_position_or_after_the_last_event_that_was_seen(api: Api) -> None:
    made = await project(api)
    await phases(api, made, 5)
    everything = await whole(api)
    async with (
        subscribed(api.app, api.owner) as now,
        subscribed(api.app, api.owner, after=0) as all_of_it,
        subscribed(api.app, api.owner, after=0, last_id=everything[2]) as resumed,
    ):
        await now.until(lambda it: bool(it.messages))
        await phases(api, made, 1, start=5)
        everything = await whole(api)
        await all_of_it.until(has(len(everything) + 1))
        await resumed.until(has(len(everything) - 3))
        await now.until(has(1))
    assert now.positions == everything[-1:]
    assert [each for each in all_of_it.positions if each in everything] == everything
    assert resumed.positions == everything[3:]


async def test_only_the_project_and_the_types_that_are_wanted_come(api: Api) -> None:
    mine, other = await project(api, "mine"), await project(api, "other")
    wanted = {"project_id": mine, "type": ["project.phase_added", "agent.*"], "after": 0}
    async with subscribed(api.app, api.owner, **wanted) as client:
        await phases(api, other, 3)
        await phases(api, mine, 2)
        await client.until(has(2))
        await asyncio.sleep(0.05)
    assert {(each["type"], each["project_id"]) for each in client.events} == {("project.phase_added", mine)}


async def test_a_type_that_means_nothing_is_refused(api: Api) -> None:
    answer = await api.http.get("/api/events", params={"type": "agent.exploded"})
    assert problem(answer, 422, "invalid_request")["errors"][0]["field"] == "type"


@pytest.mark.parametrize("last", ["x", "-1", "1" * 19])
async def test_a_last_event_id_that_is_no_position_is_refused(api: Api, last: str) -> None:
    problem(await api.http.get("/api/events", headers={"Last-Event-ID": last}), 422, "invalid_request")


async def test_a_position_after_the_head_is_refused(api: Api) -> None:
    found = problem(await api.http.get("/api/events", params={"after": 10_000}), 422, "position_later")
    assert found["head"] == await api.store.head()


async def test_private_events_are_for_those_who_may_read_keys(api: Api) -> None:
    curious = await api.key("events.read")
    made = await project(api)
    async with (
        subscribed(api.app, api.owner, after=0) as owner,
        subscribed(api.app, curious, after=0) as guest,
    ):
        await phases(api, made, 1)
        await owner.until(has(4))
        await guest.until(has(2))
    assert {each["type"].partition(".")[0] for each in owner.events} == {"access_key", "project"}
    assert {each["type"].partition(".")[0] for each in guest.events} == {"project"}


async def test_texts_stay_sealed_unless_somebody_who_may_asks(api: Api) -> None:
    await project(api)
    reader = await api.key("events.read")
    async with subscribed(api.app, api.owner, after=0, type="project.*") as sealed:
        await sealed.until(has(1))
    async with subscribed(api.app, api.owner, after=0, type="project.*", unseal="true") as clear:
        await clear.until(has(1))
    assert sealed.events[0]["data"]["description"].startswith("s1.")
    assert clear.events[0]["data"]["description"] == "a secret plan"
    async with api.client(reader) as guest:
        problem(await guest.get("/api/events", params={"unseal": "true"}), 403, "not_allowed")


async def test_an_erased_text_is_gone_from_the_feed(api: Api, story: Story) -> None:
    made = await project(api)
    await story.keyring.destroy((await api.events())[0].stream_id)
    async with subscribed(api.app, api.owner, after=0, project_id=made, unseal="true") as client:
        await client.until(has(1))
    assert client.events[0]["data"]["description"] is None
    assert client.events[0]["data"]["erased"] is True


async def test_a_heartbeat_names_the_position_served_and_the_head(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.feed.listening.HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr("api.feed.tail.BEAT_SECONDS", 0.01)
    mine, other = await project(api, "mine"), await project(api, "other")
    async with subscribed(api.app, api.owner, project_id=mine) as client:
        await client.until(lambda it: bool(it.messages))
        await phases(api, other, 3)
        head = await api.store.head()
        await client.until(lambda it: it.last_id == head)
    assert client.events == []
    assert client.named("heartbeat")[-1].data == {"position": head, "head": head}


async def test_a_slow_reader_is_cut_with_the_position_to_go_on_from(api: Api) -> None:
    api.app.state.tail = Tail(api.store, kept_events=20)
    made = await project(api)
    async with subscribed(api.app, api.owner) as client:
        await client.until(lambda it: bool(it.messages))
        client.takes.clear()
        await phases(api, made, 60)
        client.takes.set()
        await asyncio.wait_for(client.ended.wait(), 5)
    cut = client.named("cut")[0]
    assert cut.data["resume_after"] == cut.id == client.last_id
    assert len(client.events) < 60
    async with subscribed(api.app, api.owner, last_id=client.last_id) as again:
        await again.until(has(60 - len(client.events)))
    assert client.positions + again.positions == (await whole(api))[1:]


async def test_nothing_is_kept_for_a_reader_that_takes_nothing(api: Api) -> None:
    tail = api.app.state.tail = Tail(api.store, kept_events=10)
    made = await project(api)
    async with subscribed(api.app, api.owner, slow=True), subscribed(api.app, api.owner) as client:
        await client.until(lambda it: bool(it.messages))
        await phases(api, made, 80)
        await client.until(has(80))
        assert len(tail._frames) <= 11


async def test_a_revoked_key_ends_its_feeds_at_once(api: Api) -> None:
    guest = await api.key("events.read")
    key = (await api.store.read(0, 100))[-1].stream_id
    async with subscribed(api.app, guest) as client, subscribed(api.app, api.owner) as owner:
        await client.until(lambda it: bool(it.messages))
        await api.post(f"/api/auth/keys/{key}/revoke")
        await asyncio.wait_for(client.ended.wait(), 5)
        assert not owner.ended.is_set()
    assert "revoked" in client.named("closed")[0].data["reason"]


async def test_an_expired_key_ends_its_feeds_at_the_next_heartbeat(
    api: Api, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    monkeypatch.setattr("api.feed.listening.HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr("api.feed.tail.BEAT_SECONDS", 0.01)
    guest = await api.key("events.read", expires_at=story.clock.now + timedelta(minutes=1))
    async with subscribed(api.app, guest) as client:
        await client.until(lambda it: len(it.named("heartbeat")) > 2)
        story.clock.advance(60)
        await asyncio.wait_for(client.ended.wait(), 5)
    assert "expired" in client.named("closed")[0].data["reason"]


async def test_a_server_that_stops_says_goodbye(api: Api) -> None:
    made = await project(api)
    async with subscribed(api.app, api.owner, after=0, project_id=made) as client:
        await client.until(has(1))
        await close_feeds(api.app)
        await asyncio.wait_for(client.ended.wait(), 5)
    assert client.named("closed")[0].data["resume_after"] == client.last_id


async def test_with_nobody_listening_the_tail_rests(api: Api) -> None:
    tail: Tail = api.app.state.tail
    async with subscribed(api.app, api.owner) as client:
        await client.until(lambda it: bool(it.messages))
        assert tail.listeners == 1
    assert tail.listeners == 0
    assert tail._runner is None


async def test_a_tail_that_fails_sends_its_listeners_away_and_a_new_one_begins(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await project(api)
    async with subscribed(api.app, api.owner) as client:
        await client.until(lambda it: bool(it.messages))
        with monkeypatch.context() as broken:
            broken.setattr("api.feed.tail.Frame", None)
            await phases(api, made, 1)
            await asyncio.wait_for(client.ended.wait(), 5)
    assert "connect again" in client.named("closed")[0].data["reason"]
    async with subscribed(api.app, api.owner, last_id=client.last_id) as again:
        await again.until(has(1))


@pytest.mark.parametrize("seed", seeds(5, fast=2))
async def test_the_union_of_what_came_over_broken_connections_is_the_log(
    api: Api, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    monkeypatch.setattr("api.feed.listening.CHUNK", random.choice([3, 7, 500]))
    api.app.state.tail = Tail(api.store, kept_events=random.choice([8, 40, 1000]))
    made = await project(api)
    got: list[int] = []
    last_id = 0

    async def write() -> None:
        for number in range(80):
            await phases(api, made, 1, start=number)
            await asyncio.sleep(random.random() * 0.004)

    writing = asyncio.create_task(write())
    cuts = 0
    while not writing.done() or last_id < await api.store.head():
        async with subscribed(api.app, api.owner, last_id=last_id, project_id=made) as client:
            await read_for_a_while(client, random)
        if client.messages:  # what a browser would remember
            last_id = client.last_id
        got += client.positions
        cuts += 1
    assert got == await whole(api)
    assert cuts > 5


async def read_for_a_while(client: Subscriber, random: Random) -> None:
    """Read, stall, read on, and leave without a word."""
    await asyncio.sleep(random.random() * 0.01)
    if random.random() < 0.3:
        client.takes.clear()
        await asyncio.sleep(random.random() * 0.03)
        client.takes.set()
    await asyncio.sleep(random.random() * 0.01)


async def test_a_filter_for_what_never_happens_moves_on_all_the_same(api: Api) -> None:
    api.app.state.tail = Tail(api.store, kept_events=10)
    made = await project(api)
    nothing = derived_id("no project")
    async with subscribed(api.app, api.owner, project_id=nothing) as quiet:
        await quiet.until(lambda it: bool(it.messages))
        await phases(api, made, 60)
        await asyncio.sleep(0.05)
        assert not quiet.ended.is_set()
    assert quiet.named("cut") == []
