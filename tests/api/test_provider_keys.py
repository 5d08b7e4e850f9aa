"""Provider keys over HTTP: a key comes in and never goes out, not even in what is wrong with it."""

import pytest

from domain.ids import provider_key_id
from tests.support.client import Api, problem

KEY = "plantedKey-0123456789-quokka"
NEXT = "plantedNext-0123456789-wombat"
WANTED = {"provider": "openai", "label": "team-a", "key": KEY}
PATH = f"/api/api-keys/{provider_key_id('openai', 'team-a')}"


async def test_a_key_is_stored_rotated_and_revoked_and_never_shown(whole_api: Api) -> None:
    api = whole_api
    stored = await api.post("/api/api-keys", WANTED)
    assert (stored.status_code, stored.headers["location"]) == (201, PATH)
    shown = await api.get(PATH, min_position=stored.headers["toybox-position"])
    assert (shown.json()["status"], shown.json()["current"]["last_four"]) == ("stored", KEY[-4:])
    assert shown.headers["etag"] == stored.headers["etag"] == '"1"'
    rotated = await api.post(f"{PATH}/rotate", {"key": NEXT, "overlap_seconds": 60}, **{"If-Match": '"1"'})
    after = await api.get(PATH, min_position=rotated.headers["toybox-position"])
    assert (after.json()["status"], after.json()["old"]["last_four"]) == ("rotating", KEY[-4:])
    revoked = await api.post(f"{PATH}/revoke")
    assert (await api.http.delete(PATH)).json()["versions"] == {}
    listed = await api.get("/api/api-keys", min_position=revoked.headers["toybox-position"])
    assert [each["status"] for each in listed.json()["items"]] == ["revoked"]
    assert (await api.get("/api/api-keys", revoked="false")).json()["items"] == []
    assert (await api.get("/api/api-keys", provider="anthropic")).json()["items"] == []
    said = [stored.text, shown.text, rotated.text, after.text, revoked.text, listed.text]
    assert not [each for each in said if KEY[:-4] in each or NEXT[:-4] in each]
    problem(await api.http.get("/api/api-keys/00000000-0000-0000-0000-000000000001"), 404, "not_found")


async def test_a_repeated_request_is_answered_as_before_and_keeps_one_secret(api: Api) -> None:
    first = await api.post("/api/api-keys", WANTED, **{"Idempotency-Key": "once"})
    again = await api.post("/api/api-keys", WANTED, **{"Idempotency-Key": "once"})
    assert again.json() == {**first.json(), "repeated": True}
    assert api.services.provider_secrets
    assert len(await api.services.provider_secrets.kept()) == 1
    other = await api.http.post("/api/api-keys", json={**WANTED, "key": NEXT}, headers={"Idempotency-Key": "once"})
    problem(other, 422, "idempotency_key_reused")
    assert NEXT not in other.text


async def test_the_same_key_has_the_same_fingerprint_here_and_another_elsewhere(api: Api) -> None:
    for label in ("one", "two"):
        await api.post("/api/api-keys", {**WANTED, "label": label})
    prints = [each.payload()["fingerprint"] for each in await api.events() if each.type == "provider_key.stored"]
    assert len(set(prints)) == 1
    assert KEY.encode().hex() not in prints[0]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"key": ""}, "invalid_provider_key"),
        ({"key": f"{KEY} {KEY}"}, "invalid_provider_key"),
        ({"key": KEY * 150}, "invalid_provider_key"),
        ({"key": KEY * 1000}, "invalid_request"),
        ({"key": [KEY]}, "invalid_request"),
        ({"key": None, "secret": KEY}, "invalid_request"),
        ({"label": f"Label {KEY}"}, "invalid_request"),
        ({"provider": KEY}, "invalid_request"),
        ({"project_id": KEY}, "invalid_request"),
        ({"project_id": "00000000-0000-0000-0000-000000000001"}, None),
    ],
)
async def test_what_is_wrong_is_told_without_the_key(api: Api, change: dict[str, object], code: str | None) -> None:
    answer = await api.http.post("/api/api-keys", json={**WANTED, **change})
    problem(answer, 422 if code else 404, code or "not_found")
    assert KEY[:12] not in answer.text
    assert not [each for each in await api.events() if each.type.startswith("provider_key.")]


async def test_what_does_not_fit_the_state_is_refused(api: Api) -> None:
    problem(await api.http.post(f"{PATH}/rotate", json={"key": NEXT}), 404, "not_found")
    problem(await api.http.post(f"{PATH}/revoke"), 404, "not_found")
    await api.post("/api/api-keys", WANTED)
    problem(await api.http.post("/api/api-keys", json=WANTED), 409, "provider_key_exists")
    problem(await api.http.post(f"{PATH}/rotate", json={"key": KEY}), 422, "same_provider_key")
    problem(await api.http.post(f"{PATH}/rotate", json={"key": NEXT, "overlap_seconds": -1}), 422, "invalid_request")
    stale = await api.http.post(f"{PATH}/rotate", json={"key": NEXT}, headers={"If-Match": '"7"'})
    problem(stale, 412, "version_conflict")


async def test_every_route_asks_for_its_permission_before_it_keeps_anything(api: Api) -> None:
    async with api.client(await api.key("keys.*", "providers.*")) as guest:
        for method, path, permission in (
            ("GET", "/api/api-keys", "provider_keys.read"),
            ("GET", PATH, "provider_keys.read"),
            ("POST", "/api/api-keys", "provider_keys.store"),
            ("POST", f"{PATH}/rotate", "provider_keys.rotate"),
            ("POST", f"{PATH}/revoke", "provider_keys.revoke"),
            ("DELETE", PATH, "provider_keys.revoke"),
        ):
            answer = await guest.request(method, path, json=WANTED if method == "POST" else None)
            assert problem(answer, 403, "not_allowed")["permission"] == permission
    async with api.client(None) as nobody:
        assert (await nobody.post("/api/api-keys", json=WANTED)).status_code == 401
    assert api.services.provider_secrets
    assert await api.services.provider_secrets.kept() == []
