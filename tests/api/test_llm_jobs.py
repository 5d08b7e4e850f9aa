"""LLM jobs over HTTP: asked, listed, shown with their answer, cancelled."""

from typing import Any

from domain.values import derived_id
from tests.api.working import Worker
from tests.support.client import Api, problem

CHAT: dict[str, Any] = {
    "provider": "scripted",
    "model": "scripted-small",
    "messages": [{"role": "user", "content": "Say hello"}],
    "max_output_tokens": 100,
    "timeout_seconds": 60,
}
LONG = "Hello again. " * 3000


async def test_a_chat_is_queued_answered_and_shown(whole_api: Api) -> None:
    api = whole_api
    answer = await api.post("/api/llm-jobs", CHAT)
    assert answer.status_code == 202
    path = answer.headers["location"]
    queued = (await api.get(path, min_position=answer.headers["toybox-position"])).json()
    assert (queued["status"], queued["output"], queued["attempts"]) == ("queued", None, [])
    head = await Worker(api).work(LONG)
    shown = (await api.get(path, min_position=head)).json()
    assert (shown["status"], shown["output"]["text"], shown["output"]["cost"]) == ("completed", LONG, "0.4")
    assert "sealed" not in shown["output"]
    assert [(each["attempt"], each["status"], each["cost"]) for each in shown["attempts"]] == [(1, "completed", "0.4")]
    listed = (await api.get("/api/llm-jobs", status=["completed", "failed"])).json()["items"]
    assert [each["job_id"] for each in listed] == [shown["job_id"]]
    problem(await api.http.post(f"{path}/cancel", json={"reason": "too_late"}), 422, "not_due")


async def test_an_erased_answer_is_gone(whole_api: Api) -> None:
    api = whole_api
    answer = await api.post("/api/llm-jobs", CHAT)
    head = await Worker(api).work(LONG)
    job = (await api.store.read(int(answer.headers["toybox-position"]) - 1, 1))[0].stream_id
    await api.services.keyring.destroy(job)
    shown = (await api.get(f"/api/llm-jobs/{job}", min_position=head)).json()
    assert (shown["output"]["text"], shown["erased"]) == (None, True)


async def test_a_long_conversation_is_kept_beside_the_log(api: Api) -> None:
    long = {**CHAT, "messages": [{"role": "user", "content": LONG}]}
    await api.post("/api/llm-jobs", long)
    text = (await api.events())[0].payload()["messages"]
    assert text["sealed"] is None
    job = (await api.events())[0].stream_id
    assert LONG in (await api.services.objects.read(job, text["digest"])).decode()


async def test_a_job_is_cancelled_once(api: Api) -> None:
    path = (await api.post("/api/llm-jobs", CHAT)).headers["location"]
    await api.post(f"{path}/cancel", {"reason": "not_needed"}, **{"If-Match": '"1"'})
    problem(await api.http.post(f"{path}/cancel", json={"reason": "not_needed"}), 422, "not_due")
    problem(
        await api.http.post(f"/api/llm-jobs/{derived_id('no')}/cancel", json={"reason": "unwanted"}), 404, "not_found"
    )


async def test_a_chat_of_a_wrong_shape_is_refused(api: Api) -> None:
    for change in (
        {"messages": []},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": {"digest": "0" * 64, "size": 3}},
        {"temperature": "3"},
        {"not_before": "2026-11-21T10:00:00"},
        {"job_id": str(derived_id("mine"))},
    ):
        problem(await api.http.post("/api/llm-jobs", json={**CHAT, **change}), 422, "invalid_request")
    elsewhere = {**CHAT, "project_id": str(derived_id("no"))}
    problem(await api.http.post("/api/llm-jobs", json=elsewhere), 404, "not_found")
