"""The log as a download: which events, in what form, for whom, and how a download that breaks off is told."""

import json
from typing import Any

import httpx
import pytest

from domain.kernel import EVENT_TYPES
from streams.envelope import NotOurs, unseal
from tests.api.working import Worker, started
from tests.support.client import Api, problem

EVENTS, COSTS = "/api/events/export", "/api/cost/export"


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text == "" or answer.text.endswith("\n")
    return [json.loads(line) for line in answer.content.split(b"\n") if line]


def positions(answer: httpx.Response) -> list[int]:
    return [int(each["position"]) for each in lines(answer)]


async def test_every_public_event_leaves_as_its_cloudevent_and_private_ones_stay(api: Api) -> None:
    await started(api)
    head = await Worker(api).work()
    answer = await api.get(EVENTS)
    log = [each for each in await api.store.read(0, 10_000) if not EVENT_TYPES[each.type].PRIVATE]
    assert len(log) > 15
    assert positions(answer) == [each.position for each in log]
    for line, stored in zip(answer.content.splitlines(), log, strict=True):
        back = unseal(line[:-1].replace(b',"streamversion"', b',"prev":"0","streamversion"', 1) + b"}")
        assert back.event == stored
        assert '"prev"' not in line.decode()
    assert (answer.headers["toybox-after"], answer.headers["toybox-position"]) == ("0", str(head))
    assert f'filename="toybox-events-0-{head}.ndjson"' in answer.headers["content-disposition"]
    with pytest.raises(NotOurs):
        unseal(answer.content.splitlines()[0])


async def test_a_download_goes_on_where_another_one_ended(api: Api) -> None:
    await started(api)
    first = await api.get(EVENTS, to=5)
    rest = await api.get(EVENTS, **{"from": first.headers["toybox-position"]})
    assert max(positions(first)) <= 5 < min(positions(rest))
    assert positions(first) + positions(rest) == positions(await api.get(EVENTS))


async def test_an_instant_means_the_last_position_of_then(api: Api) -> None:
    await started(api)
    middle = (await api.store.read(0, 10_000))[4]
    answer = await api.get(EVENTS, to=middle.recorded_at.isoformat())
    assert int(answer.headers["toybox-position"]) == await api.store.position_at(middle.recorded_at)


async def test_one_project_and_some_types_can_be_asked_for(api: Api) -> None:
    wanted, other = await started(api), await started(api)
    found = lines(await api.get(EVENTS, project_id=wanted))
    assert {each["project"] for each in found} == {wanted}
    assert other != wanted
    agents = lines(await api.get(EVENTS, project_id=wanted, type="agent.*"))
    assert {each["type"].split(".")[1] for each in agents} == {"agent"}
    problem(await api.http.get(EVENTS, params={"type": "nonsense"}), 422, "invalid_request")


async def test_texts_stay_sealed_unless_the_key_may_read_them_and_asks(api: Api) -> None:
    await started(api)

    def instructions(answer: httpx.Response) -> set[str]:
        return {each["data"]["instructions"] for each in lines(answer) if each["type"] == "toybox.agent.defined.v1"}

    assert all(text.startswith("s1.") for text in instructions(await api.get(EVENTS)))
    assert instructions(await api.get(EVENTS, unseal="true")) == {"You write.", "You edit."}
    async with api.client(await api.key("events.read")) as http:
        assert (await http.get(EVENTS)).is_success
        problem(await http.get(EVENTS, params={"unseal": "true"}), 403, "not_allowed")


async def test_events_about_keys_are_for_who_may_read_keys_and_asks(api: Api) -> None:
    found = lines(await api.get(EVENTS, private="true"))
    assert [each["type"] for each in found] == ["toybox.access_key.issued.v1"]
    async with api.client(await api.key("events.read")) as http:
        problem(await http.get(EVENTS, params={"private": "true"}), 403, "not_allowed")
    async with api.client(await api.key("costs.read")) as http:
        problem(await http.get(EVENTS), 403, "not_allowed")


async def test_costs_leave_as_flat_facts(api: Api) -> None:
    project = await started(api)
    await Worker(api).work()
    facts = lines(await api.get(COSTS))
    recorded = [each for each in await api.events() if each.type == "cost.recorded"]
    assert recorded
    assert [each["amount"] for each in facts] == [each.payload()["amount"] for each in recorded]
    assert {each["project_id"] for each in facts} == {project}
    async with api.client(await api.key("events.read")) as http:
        problem(await http.get(COSTS), 403, "not_allowed")


async def test_a_span_that_ends_before_it_begins_or_after_the_log_is_refused(api: Api) -> None:
    head = await api.store.head()
    await started(api)
    problem(await api.http.get(EVENTS, params={"from": head + 2, "to": head}), 422, "from_after_to")
    problem(await api.http.get(EVENTS, params={"to": head + 1000}), 422, "as_of_later")
    assert (await api.get(EVENTS, **{"from": head, "to": head})).content == b""


async def test_a_download_breaks_off_when_its_key_is_revoked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.exporting.CHUNK", 3)
    await started(api)
    token = await api.key("events.read")
    known, asked = api.services.authenticate, 0

    async def revoked_after_a_while(shown: str):
        nonlocal asked
        asked += 1
        return await known(shown) if asked < 3 else None

    object.__setattr__(api.services, "authenticate", revoked_after_a_while)
    async with api.client(token) as http:
        answer = await http.get(EVENTS)
    assert 0 < len(lines(answer)) < len(await api.events())
