"""Providers' health over HTTP: what is known, circuits by hand, the rules."""

from tests.support.client import Api, problem

HEALTH = "/api/ai-providers/openai/health"
CIRCUIT = "/api/ai-providers/openai/circuit"


async def test_a_circuit_is_opened_and_closed_by_hand_with_its_reason(whole_api: Api) -> None:
    api = whole_api
    shown = (await api.get(HEALTH)).json()
    assert (shown["level"], shown["since"], shown["circuits"], shown["recent"]["attempts"]) == ("healthy", None, [], 0)
    answer = await api.post(CIRCUIT, {"action": "open", "reason": "their status page is red"})
    at = answer.headers["toybox-position"]
    found = await api.get(HEALTH, min_position=at)
    circuit = found.json()["circuits"][0]
    assert (circuit["state"], circuit["cause"], circuit["retry_at"]) == ("open", "operator", None)
    assert circuit["note"] == "their status page is red"
    assert "toybox providers close" in circuit["reason"]
    assert found.headers["etag"] == '"2"'
    assert [each["name"] for each in (await api.get("/api/provider-health")).json()["items"]] == ["openai"]
    problem(await api.http.post(CIRCUIT, json={"action": "open"}), 422, "circuit_open")
    answer = await api.post(CIRCUIT, {"action": "close"})
    shown = (await api.get(HEALTH, min_position=answer.headers["toybox-position"])).json()
    assert shown["circuits"] == []
    problem(await api.http.post(CIRCUIT, json={"action": "close"}), 422, "circuit_closed")


async def test_nobody_opens_the_circuit_of_a_provider_that_does_not_exist(whole_api: Api) -> None:
    problem(await whole_api.http.get("/api/ai-providers/opnai/health"), 404, "not_found")
    problem(await whole_api.http.post("/api/ai-providers/opnai/circuit", json={"action": "open"}), 404, "not_found")
    problem(await whole_api.http.post(CIRCUIT, json={"action": "melt"}), 422, "invalid_request")


async def test_the_rules_of_health_are_chosen_and_checked(whole_api: Api) -> None:
    api, path = whole_api, "/api/config/health"
    assert (await api.get(path)).json()["rules"]["cooldown_seconds"] == 10
    answer = await api.http.put(path, json={"rules": {"cooldown_seconds": 30, "open_at": "0.6"}})
    shown = (await api.get(path, min_position=answer.headers["toybox-position"])).json()
    assert (shown["rules"]["cooldown_seconds"], shown["rules"]["open_at"], shown["version"]) == (30, "0.6", 1)
    wrong = await api.http.put(path, json={"rules": {"degraded_at": "0.9"}})
    problem(wrong, 422, "invalid_thresholds")
    problem(await api.http.put(path, json={"rules": {"cooldown_seconds": 600}}), 422, "invalid_cooldown")
    problem(await api.http.put(path, json={"rules": {"alpha": "0"}}), 422, "invalid_request")


async def test_a_job_says_where_it_may_go_and_what_it_waits_for(whole_api: Api) -> None:
    api = whole_api
    body = {
        "provider": "openai",
        "model": "gpt-5-mini",
        "messages": [{"role": "user", "content": "Hello"}],
        "fallbacks": [{"provider": "openai", "model": "gpt-5"}],
    }
    queued = await api.post("/api/llm-jobs", body)
    path = queued.headers["location"]
    shown = (await api.get(path, min_position=queued.headers["toybox-position"])).json()
    assert shown["waiting_for"] == []
    assert shown["fallbacks"] == [{"provider": "openai", "model": "gpt-5"}]
    assert shown["target"] == {"provider": "openai", "model": "gpt-5-mini"}
    answer = await api.post(CIRCUIT, {"action": "open"})
    shown = (await api.get(path, min_position=answer.headers["toybox-position"])).json()
    assert shown["status"] == "queued"
    assert shown["waiting_for"] == [{"kind": "circuit", "name": "openai", "cause": "operator", "until": None}]
