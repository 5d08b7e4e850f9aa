"""What every command route does alike: bodies, idempotency, versions, answers."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.bodies import parsed
from api.errors import Invalid
from api.routes.projects.making import EmptyProject
from domain.values import derived_id
from tests.support.client import LIMITS, Api, problem

NAMED = {"name": "Release notes"}
JSON = {"Content-Type": "application/json"}


async def test_a_command_is_answered_with_id_position_versions_and_etag(api: Api) -> None:
    answer = await api.post("/api/projects", NAMED)
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/projects/{body['id']}"
    assert body["versions"] == {body["id"]: 1}
    assert not body["repeated"]
    assert answer.headers["toybox-position"] == str(body["position"]) == str(await api.store.head())
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["idempotency-key"]


async def test_the_same_key_changes_nothing_and_is_answered_the_same(api: Api) -> None:
    first = await api.post("/api/projects", NAMED, **{"Idempotency-Key": "make-it"})
    again = await api.post("/api/projects", NAMED, **{"Idempotency-Key": "make-it"})
    assert again.json() == {**first.json(), "repeated": True}
    assert again.headers["etag"] == first.headers["etag"]
    assert len(await api.events()) == 1


async def test_many_at_once_with_the_same_key_make_one(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.post("/api/projects", NAMED, **{"Idempotency-Key": "make-it"}) for _ in range(20))
    )
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(not answer.json()["repeated"] for answer in answers) == 1


async def test_the_same_key_with_another_body_is_refused(api: Api) -> None:
    await api.post("/api/projects", NAMED, **{"Idempotency-Key": "make-it"})
    answer = await api.http.post("/api/projects", json={"name": "Other"}, headers={"Idempotency-Key": "make-it"})
    problem(answer, 422, "idempotency_key_reused")


async def test_the_same_key_of_another_caller_is_another_key(api: Api) -> None:
    first = await api.post("/api/projects", NAMED, **{"Idempotency-Key": "make-it"})
    async with api.client(await api.key("projects.create")) as other:
        second = await other.post("/api/projects", json=NAMED, headers={"Idempotency-Key": "make-it"})
    assert second.json()["id"] != first.json()["id"]


async def test_a_key_that_was_made_for_the_caller_can_be_used_again(api: Api) -> None:
    first = await api.post("/api/projects", NAMED)
    again = await api.post("/api/projects", NAMED, **{"Idempotency-Key": first.headers["idempotency-key"]})
    assert again.json()["repeated"]


@pytest.mark.parametrize("key", ["", "with blank", "x" * 201])
async def test_an_unusable_idempotency_key_is_refused(api: Api, key: str) -> None:
    answer = await api.http.post("/api/projects", json=NAMED, headers={"Idempotency-Key": key})
    assert problem(answer, 422, "invalid_request")["errors"][0]["field"] == "Idempotency-Key"


async def test_a_stale_if_match_is_refused_and_the_present_one_passes(api: Api) -> None:
    made = await api.post("/api/projects", NAMED)
    path = f"/api/projects/{made.json()['id']}/phases"
    await api.post(path, {"name": "write"}, **{"If-Match": '"1"'})
    found = problem(
        await api.http.post(path, json={"name": "edit"}, headers={"If-Match": '"1"'}), 412, "version_conflict"
    )
    assert (found["current"], found["expected"]) == (2, 1)
    await api.post(path, {"name": "edit"}, **{"If-Match": 'W/"2"'})
    await api.post(path, {"name": "last"}, **{"If-Match": "*"})


@pytest.mark.parametrize("tag", ["7", '"x"', '"1", "2"'])
async def test_an_if_match_that_is_no_version_is_refused(api: Api, tag: str) -> None:
    path = f"/api/projects/{derived_id('any')}/start"
    answer = await api.http.post(path, headers={"If-Match": tag})
    assert problem(answer, 422, "invalid_request")["errors"][0]["field"] == "If-Match"


async def test_if_match_on_what_has_no_version_yet_is_refused(api: Api) -> None:
    answer = await api.http.post("/api/projects", json=NAMED, headers={"If-Match": '"1"'})
    problem(answer, 422, "if_match_unexpected")


async def test_a_command_about_nothing_is_not_found(api: Api) -> None:
    problem(await api.http.post(f"/api/projects/{derived_id('nothing')}/start"), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "colour": "red"}, "colour"),
        ({"name": 7}, "name"),
        ({}, "name"),
        ({"name": "x", "settings": {"priority": "5"}}, "settings.priority"),
        ({"name": "x", "settings": {"priority": 5.0}}, "settings.priority"),
        ({"name": "x", "quality": {"retries": True}}, "quality.retries"),
        ({"name": "x", "ai": {"speed": "fast"}}, "ai.speed"),
        ({"name": ""}, "name"),
    ],
)
async def test_a_body_of_the_wrong_shape_names_every_field(api: Api, body: object, field: str) -> None:
    answer = await api.http.post("/api/projects", json=body)
    found = problem(answer, 422, "invalid_request")
    assert [each["in"] for each in found["errors"]] == ["body"]
    assert found["errors"][0]["field"] == field
    assert field in found["detail"]


async def test_a_wrong_value_is_never_repeated(api: Api) -> None:
    answer = await api.http.post("/api/projects", json={"name": "x", "settings": {"priority": "hunter2"}})
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("raw", [b"{", b"[]", b"null", b'"text"', b"\xff{}", b'{"name": "\xed\xa0\x80"}'])
async def test_what_is_no_json_object_is_refused(api: Api, raw: bytes) -> None:
    problem(await api.http.post("/api/projects", content=raw, headers=JSON), 422, "invalid_request")


@pytest.mark.parametrize("escape", [r"\u0000", r"\\\u0000", r"\ud800", r"\udc00\ud800"])
async def test_text_that_the_log_cannot_hold_is_refused(api: Api, escape: str) -> None:
    raw = b'{"name": "x", "description": "%s"}' % escape.encode()
    problem(await api.http.post("/api/projects", content=raw, headers=JSON), 422, "invalid_request")


async def test_a_backslash_before_u0000_is_plain_text(api: Api) -> None:
    raw = rb'{"name": "x", "description": "\\u0000"}'
    assert (await api.http.post("/api/projects", content=raw, headers=JSON)).status_code == 201


@given(st.text(alphabet='\\u0ax"', max_size=12))
def test_only_a_real_nul_is_refused_whatever_stands_around_it(text: str) -> None:
    import json

    raw = json.dumps({"name": "x", "description": f"{text}\0"}).encode()
    with pytest.raises(Invalid):
        parsed(EmptyProject, raw)
    fine = json.dumps({"name": "x", "description": text}).encode()
    assert parsed(EmptyProject, fine).description == text


async def test_a_body_without_the_right_content_type_is_refused(api: Api) -> None:
    answer = await api.http.post("/api/projects", content=b"{}", headers={"Content-Type": "text/plain"})
    problem(answer, 415, "unsupported_media_type")
    problem(await api.http.post("/api/projects", content=b"{}"), 415, "unsupported_media_type")


async def test_a_body_that_may_be_left_out_may_be_left_out(api: Api) -> None:
    made = (await api.post("/api/projects", NAMED)).json()["id"]
    assert (await api.http.post(f"/api/projects/{made}/cancel")).status_code == 200
    assert (await api.http.post(f"/api/projects/{made}/archive", json={})).status_code == 200


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused(api: Api, declared: bool) -> None:
    made = (await api.post("/api/projects", NAMED)).json()["id"]
    whole = b'{"name": "' + b"x" * LIMITS.body_bytes + b'"}'

    async def piece_by_piece():
        for at in range(0, len(whole), 10_000):
            yield whole[at : at + 10_000]

    content = whole if declared else piece_by_piece()
    answer = await api.http.post(f"/api/projects/{made}/phases", content=content, headers=JSON)
    assert problem(answer, 413, "body_too_large")["limit"] == LIMITS.body_bytes


async def test_a_project_that_must_not_do_that_says_what_it_must_be(api: Api) -> None:
    made = (await api.post("/api/projects", NAMED)).json()["id"]
    found = problem(await api.http.post(f"/api/projects/{made}/resume"), 422, "wrong_status")
    assert "must be paused" in found["detail"]


async def test_a_stopping_process_says_when_to_come_back(api: Api) -> None:
    await api.services.commands.sequencer.stop()
    answer = await api.http.post("/api/projects", json=NAMED)
    problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_new_things_have_ids_that_come_from_the_command(api: Api) -> None:
    made = UUID((await api.post("/api/projects", NAMED)).json()["id"])
    stored = (await api.events())[0]
    assert made == stored.stream_id == derived_id("project", stored.command_id)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [("", {"name": "two\nlines"}, "one line"), ("/{id}/phases", {"name": "Not A Slug"}, "lower-case")],
)
async def test_what_a_pattern_asks_for_is_said_in_words(api: Api, path: str, body: object, words: str) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    found = problem(await api.http.post("/api/projects" + path.format(id=project), json=body), 422, "invalid_request")
    assert words in found["errors"][0]["message"]
