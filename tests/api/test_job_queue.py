"""The queue over HTTP: how it stands, dead letters and putting them back, execution settings."""

from datetime import timedelta
from typing import Any

from commands.handling import Caller
from commands.llm_jobs import DenyLlmJob
from domain.ids import execution_settings_id
from domain.values import derived_id, instant_text
from tests.api.test_llm_jobs import CHAT
from tests.support.client import Api, problem
from tests.support.story import OWNER

SETTINGS = "/api/config/execution"


async def buried(api: Api, *kinds: str) -> tuple[list[str], int]:
    """Chats that failed for good, for these reasons, and the position of the last."""
    made: list[str] = []
    position = 0
    for kind in kinds:
        answer = await api.post("/api/llm-jobs", CHAT)
        made.append(answer.json()["id"])
        deny = DenyLlmJob(job_id=answer.json()["id"], attempt=1, kind=kind)
        position = (await api.services.commands.send(deny, Caller(OWNER, "worker", f"deny {made[-1]}"))).position
    return made, position


async def test_dead_letters_are_listed_and_put_back_one_by_one(whole_api: Api) -> None:
    api = whole_api
    (one, two), head = await buried(api, "price_unknown", "erased")
    shown = (await api.get("/api/llm-jobs/dead-letters", min_position=head)).json()["items"]
    assert [(each["job_id"], each["status"], each["failure"]) for each in shown] == [
        (two, "failed", "erased"),
        (one, "failed", "price_unknown"),
    ]
    assert shown[0]["dead_lettered_at"]
    only = (await api.get("/api/llm-jobs/dead-letters", failure="erased", provider="scripted")).json()["items"]
    assert [each["job_id"] for each in only] == [two]
    answer = await api.post(f"/api/llm-jobs/{one}/requeue", {"attempts": 2, "seconds": 60})
    again = (await api.get(f"/api/llm-jobs/{one}", min_position=answer.headers["toybox-position"])).json()
    assert (again["status"], again["failure"], again["max_attempts"], again["requeues"]) == ("queued", None, 2, 1)
    assert again["deadline"] is not None
    problem(await api.http.post(f"/api/llm-jobs/{one}/requeue", json={}), 422, "not_dead")
    problem(await api.http.post(f"/api/llm-jobs/{one}/requeue", json={"attempts": 0}), 422, "invalid_request")
    problem(await api.http.post(f"/api/llm-jobs/{derived_id('no')}/requeue", json={}), 404, "not_found")


async def test_many_dead_letters_are_put_back_by_what_they_have_in_common(whole_api: Api) -> None:
    api = whole_api
    made, head = await buried(api, "price_unknown", "erased", "price_unknown", "price_unknown")
    await api.get("/api/llm-jobs/dead-letters", min_position=head)
    body: dict[str, Any] = {"failure": "price_unknown", "limit": 2}
    answer = await api.post("/api/llm-jobs/requeue", body)
    assert answer.json()["job_ids"] == [made[0], made[2]], "the oldest first"
    left = await api.get("/api/llm-jobs/dead-letters", min_position=answer.headers["toybox-position"])
    assert [each["job_id"] for each in left.json()["items"]] == [made[3], made[1]]
    problem(await api.http.post("/api/llm-jobs/requeue", json={"provider": "unheard-of"}), 404, "not_found")
    problem(await api.http.post("/api/llm-jobs/requeue", json={"limit": 201}), 422, "invalid_request")


async def test_a_deadline_is_shown_and_must_be_to_come(whole_api: Api) -> None:
    api = whole_api
    moment = api.services.now() + timedelta(hours=1)
    answer = await api.post("/api/llm-jobs", {**CHAT, "deadline": instant_text(moment)})
    shown = (await api.get(answer.headers["location"], min_position=answer.headers["toybox-position"])).json()
    assert shown["deadline"] == instant_text(moment)
    past = {**CHAT, "deadline": "2000-01-01T00:00:00Z"}
    problem(await api.http.post("/api/llm-jobs", json=past), 422, "invalid_deadline")


async def test_the_queue_tells_who_waits_and_how_many_slots_are_taken(whole_api: Api) -> None:
    api = whole_api
    await api.http.put(SETTINGS, json={"providers": [{"provider": "scripted", "most": 7}], "per_model": 3})
    for _ in range(3):
        await api.post("/api/llm-jobs", CHAT)
    later = instant_text(api.services.now() + timedelta(hours=1))
    last = await api.post("/api/llm-jobs", {**CHAT, "not_before": later, "priority": 9})
    _, head = await buried(api, "erased")
    assert head > int(last.headers["toybox-position"])
    found = (await api.get("/api/llm-jobs/queue", min_position=head)).json()
    assert [found[each] for each in ("queued", "running", "parked", "retrying", "dead_letters")] == [4, 0, 0, 0, 1]
    waiting = [(each["provider"], each["priority"], each["jobs"], each["delayed"]) for each in found["waiting"]]
    assert waiting == [("scripted", 5, 3, 0), ("scripted", 9, 1, 1)]
    assert [bool(each["oldest_at"]) for each in found["waiting"]] == [True, False]
    assert {each["name"]: (each["in_flight"], each["limit"]) for each in found["slots"]} == {
        "provider scripted": (0, 7)
    }


async def test_execution_settings_have_defaults_until_somebody_chooses(whole_api: Api) -> None:
    api = whole_api
    before = (await api.get(SETTINGS)).json()
    told = [before[each] for each in ("weight", "ageing_seconds", "per_provider", "changed_at")]
    assert told == [1, 60, None, None]
    project = str(derived_id("some project"))
    chosen = {"per_provider": 4, "weights": [{"project_id": project, "weight": 3}]}
    answer = await api.http.put(SETTINGS, json=chosen)
    assert answer.json()["id"] == str(execution_settings_id())
    after = await api.get(SETTINGS, min_position=answer.headers["toybox-position"])
    assert (after.json()["per_provider"], after.json()["weights"]) == (4, [{"project_id": project, "weight": 3}])
    assert after.headers["etag"] == '"1"'
    stale = await api.http.put(SETTINGS, json={}, headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    twice = {"providers": [{"provider": "a", "most": 1}, {"provider": "a", "most": 2}]}
    refused = problem(await api.http.put(SETTINGS, json=twice), 422, "invalid_request")
    assert "name each only once: provider a" in str(refused)
