"""The registry of providers over HTTP."""

from tests.support.client import Api, problem

LOCAL = {"name": "local", "kind": "openai_compatible", "config": {"base_url": "http://127.0.0.1:8000/v1"}}


async def test_a_provider_is_registered_configured_and_removed(whole_api: Api) -> None:
    api = whole_api
    answer = await api.post("/api/ai-providers", LOCAL)
    path = answer.headers["location"]
    assert path == "/api/ai-providers/local"
    problem(await api.http.post("/api/ai-providers", json=LOCAL), 409, "conflict")
    config = {"config": {"base_url": "http://127.0.0.1:9000/v1", "models": ["m"]}}
    changed = await api.http.put(path, json=config, headers={"If-Match": answer.headers["etag"]})
    shown = await api.get(path, min_position=changed.headers["toybox-position"])
    assert (shown.json()["models"], shown.headers["etag"]) == (["m"], '"2"')
    assert [each["name"] for each in (await api.get("/api/ai-providers")).json()["items"]] == ["local"]
    await api.http.delete(path)
    head = await api.store.head()
    assert (await api.get("/api/ai-providers", min_position=head)).json()["items"] == []
    assert len((await api.get("/api/ai-providers", removed="true")).json()["items"]) == 1
    problem(await api.http.get("/api/ai-providers/nobody"), 404, "not_found")


async def test_a_secret_is_refused_and_not_repeated(api: Api) -> None:
    secret = "sk-" + "a1b2c3d4" * 4
    answer = await api.http.post("/api/ai-providers", json={**LOCAL, "config": {"base_url": f"http://{secret}.test"}})
    problem(answer, 422, "secret_refused")
    assert secret not in answer.text
    problem(await api.http.delete("/api/ai-providers/local"), 404, "not_found")
    problem(await api.http.put("/api/ai-providers/Local Host", json={"config": {}}), 422, "invalid_request")
