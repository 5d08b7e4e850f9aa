"""Checkpoints and assets over HTTP: the inbox, decisions bound to a digest, content by ranges."""

import hashlib

import httpx
import pytest

from tests.api.working import Worker, started, stream_of
from tests.support.client import LIMITS, Api, problem

TEXT = "The text. " * 50
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()


async def held(api: Api) -> tuple[str, str, int]:
    """A project whose writer's result waits for a decision: the project, the checkpoint and the head."""
    project = await started(api)
    head = await Worker(api).work(TEXT)
    return project, str(await stream_of(api, "checkpoint.requested")), head


async def test_a_result_is_looked_at_approved_and_gone_from_the_inbox(whole_api: Api) -> None:
    api = whole_api
    project, checkpoint, head = await held(api)
    inbox = (await api.get("/api/checkpoints/inbox", min_position=head, project_id=project)).json()["items"]
    assert [each["checkpoint"]["id"] for each in inbox] == [checkpoint]
    assert inbox[0]["checkpoint"]["digest"] == DIGEST

    path = f"/api/checkpoints/{checkpoint}"
    await api.post(f"{path}/view")
    await api.post(f"{path}/escalate", {"note": "hurry"})
    body = {"decision": "approve", "digest": DIGEST, "comment": "Well done"}
    answer = await api.post(f"{path}/resolve", body)
    shown = await api.get(path, min_position=answer.headers["toybox-position"])
    found = shown.json()
    assert (found["status"], found["decision"], found["comment"]) == ("resolved", "approve", "Well done")
    assert (found["escalation"], len(found["viewed_by"])) == ("hurry", 1)
    assert shown.headers["etag"] == answer.headers["etag"]
    assert (await api.get(path, as_of=head)).json()["status"] == "pending"

    again = await api.http.post(f"{path}/resolve", json=body)
    assert problem(again, 409, "already_decided")["decision"] == "approve"
    head = await Worker(api).work(TEXT)
    assert (await api.get("/api/checkpoints/inbox", min_position=head)).json()["items"] == []
    listed = (await api.get("/api/checkpoints", project_id=project, status="resolved")).json()["items"]
    assert [each["id"] for each in listed] == [checkpoint]
    assert (await api.get(f"/api/projects/{project}")).json()["status"] == "completed"


async def test_an_edit_brings_its_content_and_becomes_the_result(whole_api: Api) -> None:
    api = whole_api
    _, checkpoint, _ = await held(api)
    body = {"decision": "edit", "digest": DIGEST, "content": "A better text.", "content_type": "text/html"}
    answer = await api.post(f"/api/checkpoints/{checkpoint}/resolve", body)
    asset = await stream_of(api, "asset.superseded")
    shown = (await api.get(f"/api/assets/{asset}", min_position=answer.headers["toybox-position"])).json()
    assert (shown["newest"], shown["status"], shown["media_type"]) == (2, "approved", "text/html")
    content = await api.get(f"/api/assets/{asset}/content")
    assert content.text == "A better text."
    assert (await api.get(f"/api/assets/{asset}/content", version=1)).text == TEXT


async def test_a_decision_that_does_not_fit_is_refused_and_stores_nothing(whole_api: Api) -> None:
    api = whole_api
    _, checkpoint, head = await held(api)
    path = f"/api/checkpoints/{checkpoint}/resolve"
    problem(await api.http.post(path, json={"decision": "approve"}), 422, "digest_required")
    problem(await api.http.post(path, json={"decision": "approve", "digest": "0" * 64}), 409, "digest_mismatch")
    problem(await api.http.post(path, json={"decision": "respond", "digest": DIGEST}), 422, "comment_required")
    unexpected = {"decision": "approve", "digest": DIGEST, "content": "x"}
    problem(await api.http.post(path, json=unexpected), 422, "content_unexpected")
    problem(await api.http.post(path, json={"decision": "maybe"}), 422, "invalid_request")
    stale = await api.http.post(path, json={"decision": "approve", "digest": DIGEST}, headers={"If-Match": '"9"'})
    problem(stale, 412, "version_conflict")
    assert await api.store.head() == head


async def test_what_is_not_there_is_not_found(whole_api: Api) -> None:
    api = whole_api
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    for path in (f"/api/checkpoints/{project}", f"/api/assets/{project}", f"/api/assets/{project}/content"):
        problem(await api.http.get(path), 404, "not_found")
    problem(await api.http.post(f"/api/checkpoints/{project}/resolve", json={"decision": "approve"}), 404, "not_found")
    problem(await api.http.put(f"/api/assets/{project}/content", content=b"x"), 404, "not_found")


async def upload(api: Api, project: str, content: bytes, name: str = "notes.txt") -> httpx.Response:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return await api.http.put(f"/api/projects/{project}/assets/{name}", content=content, headers=headers)


async def test_a_file_is_uploaded_replaced_and_decided_on(whole_api: Api) -> None:
    api = whole_api
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    answer = await upload(api, project, b"one")
    asset = answer.json()["id"]
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/assets/{asset}"
    assert answer.json()["digest"] == hashlib.sha256(b"one").hexdigest()
    problem(await upload(api, project, b"two"), 409, "conflict")
    plain = {"Content-Type": "text/plain"}
    answer = await api.http.put(f"/api/assets/{asset}/content", content=b"two", headers=plain | {"If-Match": '"1"'})
    two = answer.json()["digest"]
    problem(await api.http.put(f"/api/assets/{asset}/content", content=b"two", headers=plain), 422, "unchanged")
    await api.post(f"/api/assets/{asset}/approve", {"digest": two})
    other = await api.http.post(f"/api/assets/{asset}/reject", json={"digest": two})
    problem(other, 409, "already_decided")
    head = await api.store.head()
    listed = (await api.get("/api/assets", project_id=project, min_position=head)).json()["items"]
    assert [(each["name"], each["newest"], each["status"]) for each in listed] == [("notes.txt", 2, "approved")]


async def test_an_upload_that_cannot_be_kept_is_refused(api: Api) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    problem(await upload(api, project, b"x" * (LIMITS.upload_bytes + 1)), 413, "body_too_large")
    problem(await upload(api, project, b"x", name=".hidden"), 422, "invalid_request")
    problem(await upload(api, "6f0b2c5e-7d0f-5b58-9a53-2f6d5d1b7c11", b"x"), 404, "not_found")
    wrong = await api.http.put(f"/api/projects/{project}/assets/a", content=b"x", headers={"Content-Type": "nonsense"})
    problem(wrong, 422, "invalid_request")


async def test_content_is_answered_whole_by_range_or_not_at_all(api: Api) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    body = bytes(range(256)) * 600
    asset = (await upload(api, project, body)).json()["id"]
    path = f"/api/assets/{asset}/content"

    whole = await api.get(path)
    assert whole.content == body
    assert whole.headers["content-type"].startswith("text/plain")
    assert whole.headers["content-disposition"].startswith("attachment")
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["etag"] == f'"{hashlib.sha256(body).hexdigest()}"'

    same = await api.http.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=153000-", 153_000, 153_600),
        ("bytes=-5", 153_595, 153_600),
        ("bytes=153599-999999", 153_599, 153_600),
        ("bytes=-999999", 0, 153_600),
        ("bytes=-", 0, 153_600),
        ("bytes=0-1,5-6", 0, 153_600),
        ("lines=1-2", 0, 153_600),
    ],
)
async def test_a_range_is_answered_exactly(api: Api, asked: str, start: int, end: int) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    body = bytes(range(256)) * 600
    asset = (await upload(api, project, body)).json()["id"]
    answer = await api.http.get(f"/api/assets/{asset}/content", headers={"Range": asked})
    assert answer.content == body[start:end]
    partial = (start, end) != (0, len(body))
    assert answer.status_code == (206 if partial else 200)
    assert answer.headers.get("content-range") == (f"bytes {start}-{end - 1}/{len(body)}" if partial else None)


@pytest.mark.parametrize("asked", ["bytes=3-", "bytes=9-10", "bytes=2-1", "bytes=-0"])
async def test_a_range_of_nothing_is_refused(api: Api, asked: str) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    asset = (await upload(api, project, b"abc")).json()["id"]
    answer = await api.http.get(f"/api/assets/{asset}/content", headers={"Range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */3")


async def test_a_range_of_other_content_is_answered_whole(api: Api) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    asset = (await upload(api, project, b"abc")).json()["id"]
    answer = await api.http.get(f"/api/assets/{asset}/content", headers={"Range": "bytes=0-0", "If-Range": '"other"'})
    assert (answer.status_code, answer.content) == (200, b"abc")


async def test_erased_content_is_gone(api: Api) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    asset = (await upload(api, project, b"abc")).json()["id"]
    stored = next(each for each in await api.events() if each.type == "asset.created")
    await api.services.keyring.destroy(stored.project_id)  # pyright: ignore[reportArgumentType] -- it has one
    problem(await api.http.get(f"/api/assets/{asset}/content"), 410, "erased")
