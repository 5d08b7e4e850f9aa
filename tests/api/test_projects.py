"""Projects over HTTP: made from blueprints, led through their life, looked at, replayed, compared."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import httpx
import orjson
import pytest
import yaml

from domain.ids import agent_id
from domain.values import derived_id
from tests.support.client import Api, problem

BLUEPRINT = """\
blueprint: 1
name: release-notes
description: Notes for a release.
inputs:
  changelog: {type: file, description: What changed}
  words: {type: number, description: How many words, default: 200}
budget: {limit: "0.50"}
defaults: {provider: scripted, model: scripted-small}
phases:
  - name: write
    agents:
      - {name: writer, instructions: You write., prompt: "Write {{ inputs.words }} words on {{ inputs.changelog }}"}
      - name: editor
        instructions: You edit.
        prompt: "Edit {{ outputs.writer }}"
        depends_on: [writer]
        checkpoint: true
"""
LONG = "- Fixed another thing\n" * 2000
"""Longer than what travels in an event."""


async def made(api: Api, **more: Any) -> httpx.Response:
    return await api.post("/api/projects", {"blueprint": BLUEPRINT, "inputs": {"changelog": "- Fixed it"}, **more})


async def test_a_blueprint_makes_a_project_with_agents_budget_and_inputs(api: Api) -> None:
    answer = await made(api, name="Notes 1.4", budget="0.75")
    types = [each.type for each in await api.events()]
    assert answer.status_code == 201
    assert types.count("agent.defined") == 2
    assert types.count("budget.opened") == 1
    assert "project.initialized" in types
    opened = next(each for each in await api.events() if each.type == "budget.opened")
    assert opened.payload()["limit"] == "0.75"


async def test_a_blueprint_may_come_as_json(api: Api) -> None:
    answer = await api.post("/api/projects", {"blueprint": yaml.safe_load(BLUEPRINT), "inputs": {"changelog": "x"}})
    assert answer.status_code == 201


async def test_a_long_input_goes_to_the_object_store(api: Api) -> None:
    answer = await made(api, inputs={"changelog": LONG})
    inputs = next(each for each in await api.events() if each.type == "project.initialized").payload()["inputs"]
    text = next(each for each in inputs if each["name"] == "changelog")["text"]
    assert text["sealed"] is None
    project = next(each.stream_id for each in await api.events() if each.type == "project.created")
    assert str(project) == answer.json()["id"]
    assert (await api.services.objects.read(project, text["digest"])).decode() == LONG


async def test_a_repeated_request_makes_no_second_project(api: Api) -> None:
    first = await made(api)
    key = {"Idempotency-Key": first.headers["idempotency-key"]}
    again = await api.post("/api/projects", {"blueprint": BLUEPRINT, "inputs": {"changelog": "- Fixed it"}}, **key)
    assert again.json() == {**first.json(), "repeated": True}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[writer]", "[author]"), "author"),
        (("instructions: You write.", "instructions: 7"), "instructions"),
        (("checkpoint: true", "nonsense: true"), "nonsense"),
        (("blueprint: 1", "blueprint: 1\n\tx: ["), "blueprint:2"),
    ],
)
async def test_a_blueprint_that_is_not_sound_is_refused_with_place_and_fix(
    api: Api, change: tuple[str, str], said: str
) -> None:
    broken = BLUEPRINT.replace(*change)
    for path in ("/api/projects", "/api/blueprints/validate"):
        found = problem(await api.http.post(path, json={"blueprint": broken}), 422, "blueprint_invalid")
        assert any(said in each for each in found["problems"])


@pytest.mark.parametrize("inputs", [{}, {"changelog": "x", "colour": "red"}, {"changelog": "x", "words": "many"}])
async def test_inputs_that_do_not_fit_are_refused(api: Api, inputs: dict[str, str]) -> None:
    answer = await api.http.post("/api/projects", json={"blueprint": BLUEPRINT, "inputs": inputs})
    problem(answer, 422, "blueprint_invalid")


async def test_an_input_never_reads_a_file_of_the_server(api: Api) -> None:
    await made(api, inputs={"changelog": "@/etc/hostname"})
    inputs = next(each for each in await api.events() if each.type == "project.initialized").payload()["inputs"]
    sealed = next(each for each in inputs if each["name"] == "changelog")["text"]["sealed"]
    assert (await api.services.keyring.unseal([sealed])) == ["@/etc/hostname"]


async def test_a_caller_cannot_bring_a_text_that_is_sealed_already(api: Api) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    stolen = {"digest": "0" * 64, "size": 1, "sealed": "s1." + "0" * 32 + ".AAAA"}
    body = {"inputs": [{"name": "a", "kind": "text", "text": stolen}]}
    problem(await api.http.post(f"/api/projects/{project}/initialize", json=body), 422, "invalid_request")


async def test_a_blueprint_is_checked_without_making_anything(api: Api) -> None:
    found = (await api.post("/api/blueprints/validate", {"blueprint": BLUEPRINT})).json()
    assert found["phases"] == {"write": ["writer", "editor"]}
    assert found["inputs"]["words"]["default"] == 200
    assert await api.events() == []
    assert (await api.get("/api/blueprints/schema")).json()["title"].startswith("toybox blueprint")


async def test_a_project_is_led_through_its_whole_life(whole_api: Api) -> None:
    api = whole_api
    project = (await made(api)).json()["id"]
    path = f"/api/projects/{project}"
    statuses: list[str] = []
    for verb in ("start", "pause", "resume", "cancel", "reset", "start", "cancel", "archive"):
        answer = await api.post(f"{path}/{verb}")
        shown = await api.get(path, min_position=answer.headers["toybox-position"])
        assert shown.headers["etag"] == answer.headers["etag"]
        statuses.append(shown.json()["status"])
    assert statuses == [
        "running", "paused", "running", "cancelled", "initialized", "running", "cancelled", "archived"
    ]  # fmt: skip


async def test_settings_are_changed_and_shown(whole_api: Api) -> None:
    api = whole_api
    project = (await made(api)).json()["id"]
    path = f"/api/projects/{project}"
    await api.http.patch(f"{path}/settings", json={"name": "Other", "description": "New words"})
    await api.http.put(f"{path}/quality-settings", json={"quality": {"checkpoints": ["writer"], "retries": 1}})
    answer = await api.http.put(
        f"{path}/ai-config", json={"ai": {"provider": "openai", "model": "m", "temperature": "0.2"}}
    )
    shown = (await api.get(path, min_position=answer.headers["toybox-position"])).json()
    assert (shown["name"], shown["description"]) == ("Other", "New words")
    assert shown["quality"] == {"checkpoints": ["writer"], "retries": 1, "minimum_score": None}
    assert shown["ai"]["temperature"] == "0.2"


async def test_what_is_shown_is_true_for_a_position_and_readable(whole_api: Api) -> None:
    api = whole_api
    answer = await made(api)
    project, position = answer.json()["id"], int(answer.headers["toybox-position"])
    shown = await api.get(f"/api/projects/{project}", min_position=position)
    assert int(shown.headers["toybox-position"]) >= position
    assert shown.headers["toybox-lag"] == "0"
    assert shown.json()["description"] == "Notes for a release."
    listed = (await api.get("/api/projects", status="initialized", text="NOTES")).json()
    assert [each["id"] for each in listed["items"]] == [project]
    assert listed["position"] >= position
    assert (listed["lag"], listed["incomplete_since"], listed["next"]) == (0, None, None)
    agents = (await api.get(f"/api/projects/{project}/agents")).json()["items"]
    assert [(each["name"], each["definition"]["prompt"]) for each in agents] == [
        ("editor", "Edit {{ outputs.writer }}"),
        ("writer", "Write {{ inputs.words }} words on {{ inputs.changelog }}"),
    ]
    lines = (await api.get(f"/api/projects/{project}/log", limit=3)).json()
    assert len(lines["items"]) == 3
    assert lines["next"]


async def test_a_position_that_is_not_shown_in_time_is_told(whole_api: Api) -> None:
    answer = await whole_api.http.get("/api/projects", params={"min_position": 10_000, "timeout_ms": 20})
    problem(answer, 503, "behind")
    assert answer.headers["retry-after"]


async def test_lists_go_on_after_a_cursor_and_refuse_a_broken_one(whole_api: Api) -> None:
    api = whole_api
    wanted = {(await api.post("/api/projects", {"name": f"p{number}"})).json()["id"] for number in range(5)}
    found: list[str] = []
    cursor: str | None = None
    head = await api.store.head()
    while True:
        page = (
            await api.get("/api/projects", limit=2, min_position=head, **({"cursor": cursor} if cursor else {}))
        ).json()
        found += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(found) == 5
    assert set(found) == wanted
    page = (await api.get("/api/projects", limit=2)).json()["next"]
    made_up = urlsafe_b64encode(orjson.dumps(["projects desc", "soon", "nobody"])).decode()
    mark = page.rpartition(".")[2]
    for broken in ("nonsense", "e30", "", f"{page}x", f"{made_up}.{mark}", made_up):
        problem(await api.http.get("/api/projects", params={"cursor": broken}), 422, "invalid_cursor")
    problem(await api.http.get("/api/budgets", params={"cursor": page}), 422, "invalid_cursor")


async def test_a_project_is_shown_as_it_was(whole_api: Api) -> None:
    api = whole_api
    first = await made(api)
    project, before = first.json()["id"], int(first.headers["toybox-position"])
    started = await api.post(f"/api/projects/{project}/start")
    await api.post(f"/api/projects/{project}/cancel")
    path = f"/api/projects/{project}"
    when = next(each.recorded_at for each in await api.events() if each.type == "project.started").isoformat()
    assert (await api.get(path, as_of=before)).json()["status"] == "initialized"
    then = await api.get(path, as_of=started.headers["toybox-position"])
    assert then.json()["status"] == "running"
    assert then.headers["toybox-position"] == started.headers["toybox-position"]
    for spelled in (when, when.replace("+", " "), when.replace("T", " ")):
        assert (await api.get(path, as_of=spelled)).json()["status"] == "running"
    problem(await api.http.get(path, params={"as_of": 10_000}), 422, "as_of_later")
    problem(await api.http.get(path, params={"as_of": "2999-01-01T00:00:00Z"}), 422, "as_of_later")
    problem(await api.http.get(path, params={"as_of": "yesterday"}), 422, "invalid_request")
    problem(await api.http.get(path, params={"as_of": 0}), 404, "not_found")
    agent = agent_id(derived_id("x"), "writer")
    problem(await api.http.get(f"/api/agents/{agent}", params={"as_of": before}), 404, "not_found")


async def test_a_project_is_replayed_and_compared(whole_api: Api) -> None:
    api = whole_api
    first = await made(api)
    project, before = first.json()["id"], int(first.headers["toybox-position"])
    await api.post(f"/api/projects/{project}/start")
    path = f"/api/projects/{project}"
    replay = (await api.get(f"{path}/replay", at=before, limit=200)).json()
    assert replay["project"]["status"] == "initialized"
    assert [each["position"] for each in replay["events"]] == [
        each.position for each in await api.events() if each.position <= before
    ]
    assert replay["events"][0]["data"]["description"] == "Notes for a release."
    diff = (await api.get(f"{path}/diff", **{"from": before})).json()
    changes = {each["path"]: each.get("value") for each in diff["patch"]}
    assert changes["/status"] == "running"
    assert (await api.get(f"{path}/diff", **{"from": before, "to": before})).json()["patch"] == []
    from_nothing = (await api.get(f"{path}/diff", **{"from": 0, "to": before})).json()["patch"]
    assert {"op": "add", "path": "/name", "value": "release-notes"} in from_nothing
    nowhere = derived_id("nowhere")
    problem(await api.http.get(f"/api/projects/{nowhere}/diff", params={"from": 0}), 404, "not_found")
    problem(await api.http.get(f"/api/projects/{nowhere}/replay"), 404, "not_found")


async def test_the_timeline_is_the_log_page_by_page(whole_api: Api) -> None:
    api = whole_api
    project = (await made(api)).json()["id"]
    path = f"/api/projects/{project}/timeline"
    own = [each.position for each in await api.events() if str(each.project_id) == project]
    first = (await api.get(path, limit=4)).json()
    rest = (await api.get(path, limit=200, cursor=first["next"])).json()
    assert [each["position"] for each in (*first["items"], *rest["items"])] == own
    only = (await api.get(path, type="budget.*")).json()["items"]
    assert {each["type"] for each in only} == {"budget.opened"}
    problem(await api.http.get(path, params={"cursor": "nonsense"}), 422, "invalid_cursor")
    problem(await api.http.get(f"/api/projects/{derived_id('no')}/timeline"), 404, "not_found")


async def test_the_timeline_stays_sealed_for_those_who_may_not_unseal(whole_api: Api) -> None:
    api = whole_api
    project = (await made(api)).json()["id"]
    path = f"/api/projects/{project}/timeline"
    async with api.client(await api.key("projects.read")) as guest:
        sealed = (await guest.get(path)).json()["items"][0]["data"]["description"]
        problem(await guest.get(path, params={"unseal": "true"}), 403, "not_allowed")
    assert sealed.startswith("s1.")
    assert (await api.get(path)).json()["items"][0]["data"]["description"] == "Notes for a release."
    assert (await api.get(path, unseal="false")).json()["items"][0]["data"]["description"] == sealed


async def test_erased_text_is_gone_from_every_answer(whole_api: Api) -> None:
    api = whole_api
    project = (await made(api)).json()["id"]
    stream = next(each.stream_id for each in await api.events() if each.type == "project.created")
    head = await api.store.head()
    await api.services.keyring.destroy(stream)
    shown = (await api.get(f"/api/projects/{project}", min_position=head)).json()
    assert (shown["description"], shown["erased"]) == (None, True)
    answers = [
        (await api.get(f"/api/projects/{project}/{what}")).text for what in ("timeline", "agents", "replay", "log")
    ]
    assert "Notes for a release" not in json.dumps(answers)
    assert "You write." not in json.dumps(answers)


async def test_what_looks_sealed_in_a_name_is_not_unsealed(whole_api: Api) -> None:
    api = whole_api
    await made(api)
    secret = next(each for each in await api.events() if each.type == "project.created").payload()["description"]
    stolen = await api.post("/api/projects", {"name": secret})
    shown = await api.get(f"/api/projects/{stolen.json()['id']}", min_position=stolen.headers["toybox-position"])
    assert shown.json()["name"] == secret
