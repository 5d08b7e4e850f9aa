"""Access keys over HTTP: issued once, listed without their tokens, rotated, revoked; nobody gives what they lack."""

from tests.support.client import Api, problem

WANTED = {"label": "dashboard", "permissions": ["projects.read", "keys.issue"]}


async def test_a_key_is_issued_and_its_token_shown_once(whole_api: Api) -> None:
    api = whole_api
    answer = await api.post("/api/auth/keys", WANTED)
    token = answer.json()["token"]
    async with api.client(token) as guest:
        me = (await guest.get("/api/auth/me")).json()
        assert me["permissions"] == ["keys.issue", "projects.read"]
        assert me["actor"] == f"dashboard ({token[:10]})"
    again = await api.post("/api/auth/keys", WANTED, **{"Idempotency-Key": answer.headers["idempotency-key"]})
    assert (again.json()["token"], again.json()["repeated"], again.json()["id"]) == (None, True, answer.json()["id"])
    shown = await api.get(answer.headers["location"], min_position=answer.headers["toybox-position"])
    assert (shown.json()["label"], shown.json()["status"]) == ("dashboard", "valid")
    listed = await api.get("/api/auth/keys")
    assert [each["label"] for each in listed.json()["items"]] == ["dashboard", "owner"]
    assert token not in shown.text + listed.text
    assert "key_hash" not in listed.text


async def test_a_key_is_rotated_and_revoked(whole_api: Api) -> None:
    api = whole_api
    old = await api.post("/api/auth/keys", WANTED)
    path = f"/api/auth/keys/{old.json()['id']}"
    new = await api.post(f"{path}/rotate", {"overlap_seconds": 0}, **{"If-Match": old.headers["etag"]})
    async with api.client(new.json()["token"]) as guest:
        assert (await guest.get("/api/auth/me")).json()["permissions"] == ["keys.issue", "projects.read"]
    problem(await api.http.post(f"{path}/rotate", json={}), 409, "already_rotated")
    revoked = await api.post(f"{path}/revoke")
    assert (await api.post(f"{path}/revoke")).json()["versions"] == {}
    shown = (await api.get(path, min_position=revoked.headers["toybox-position"])).json()
    assert (shown["status"], shown["successor"]) == ("revoked", new.json()["id"])
    left = (await api.get("/api/auth/keys", revoked="false")).json()["items"]
    assert shown["id"] not in [each["id"] for each in left]


async def test_whoever_rotates_a_key_is_still_limited_as_its_holder(api: Api) -> None:
    first = (await api.post("/api/auth/keys", {"label": "agent", "permissions": ["llm_jobs.*"]})).json()
    second = (await api.post(f"/api/auth/keys/{first['id']}/rotate")).json()
    third = (await api.post(f"/api/auth/keys/{second['id']}/rotate")).json()
    ask = {"provider": "scripted", "model": "scripted-small", "messages": [{"role": "user", "content": "Hello"}]}
    for each in (first, second, third):
        async with api.client(each["token"]) as guest:
            assert (await guest.post("/api/llm-jobs", json=ask)).is_success
    queued = [each.payload() for each in await api.events() if each.type == "llm_job.queued"]
    assert [each["key_id"] for each in queued] == [first["id"]] * 3
    scope = {"kind": "key", "key_id": third["id"]}
    refused = problem(await api.http.post("/api/budgets", json={"scope": scope, "limit": "1"}), 422, "replaced_key")
    assert first["id"] in refused["detail"]
    slots = {"keys": [{"key_id": third["id"], "most": 1}]}
    problem(await api.http.put("/api/config/execution", json=slots), 422, "replaced_key")
    await api.post("/api/budgets", {"scope": {"kind": "key", "key_id": first["id"]}, "limit": "1"})


async def test_the_last_key_that_may_do_everything_is_kept(whole_api: Api) -> None:
    api = whole_api
    (owner,) = (await api.get("/api/auth/keys")).json()["items"]
    path = f"/api/auth/keys/{owner['id']}/revoke"
    refused = await api.http.post(path, json={})
    assert "issue another one first" in problem(refused, 422, "last_owner_key")["detail"]
    other = await api.post("/api/auth/keys", {"label": "other", "permissions": ["*"]})
    await api.get("/api/auth/keys", min_position=other.headers["toybox-position"])
    assert (await api.http.post(path, json={})).status_code == 200


async def test_nobody_gives_or_gains_what_they_do_not_have(api: Api) -> None:
    strong = await api.post("/api/auth/keys", {"label": "strong", "permissions": ["*"]})
    async with api.client(await api.key("keys.issue", "keys.rotate")) as guest:
        answer = await guest.post("/api/auth/keys", json={"label": "x", "permissions": ["projects.*"]})
        problem(answer, 403, "not_allowed")
        problem(await guest.post(f"/api/auth/keys/{strong.json()['id']}/rotate"), 403, "not_allowed")


async def test_a_key_that_makes_no_sense_is_refused(api: Api) -> None:
    for change, code in (
        ({"permissions": []}, "no_permissions"),
        ({"permissions": ["projects.fly"]}, "unknown_permission"),
        ({"permissions": ["all of it"]}, "invalid_request"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_in_the_past"),
        ({"expires_at": "2030-01-01"}, "invalid_request"),
        ({"key_hash": "0" * 64}, "invalid_request"),
    ):
        problem(await api.http.post("/api/auth/keys", json={**WANTED, **change}), 422, code)
