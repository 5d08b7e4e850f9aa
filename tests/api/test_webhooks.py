"""Webhooks over HTTP: a secret goes out once, an address is judged before it is taken, everything can be looked at."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.posting import Attempt, Beginning, Posted
from streams.envelope import unseal
from tests.support.client import Api, problem
from tests.support.receiver import Receiver, receiving, verified

NOBODY = "/api/webhooks/00000000-0000-0000-0000-000000000001"


@pytest.fixture
async def receiver(loopback: str) -> AsyncIterator[Receiver]:
    async with receiving(loopback) as made:
        yield made


def wanted(receiver: Receiver, **more: object) -> dict[str, Any]:
    return {"url": receiver.url, "types": ["budget.*"], "description": "Pages somebody.", **more}


async def made(api: Api, receiver: Receiver) -> tuple[str, str]:
    """A webhook's path and its secret."""
    answer = await api.post("/api/webhooks", wanted(receiver))
    return answer.headers["location"], answer.json()["secret"]


async def test_a_webhook_is_subscribed_changed_rotated_and_removed_and_its_secret_shown_once(
    whole_api: Api, receiver: Receiver
) -> None:
    api = whole_api
    made = await api.post("/api/webhooks", wanted(receiver), **{"Idempotency-Key": "once"})
    path, secret = made.headers["location"], made.json()["secret"]
    assert (made.status_code, path) == (201, f"/api/webhooks/{made.json()['id']}")
    assert secret.startswith("whsec_")
    again = await api.post("/api/webhooks", wanted(receiver), **{"Idempotency-Key": "once"})
    assert again.json() == {**made.json(), "repeated": True, "secret": None}
    shown = await api.get(path, min_position=made.headers["toybox-position"])
    assert shown.headers["etag"] == made.headers["etag"] == '"1"'
    body = shown.json()
    assert (body["url"], body["origin"]) == (receiver.url, receiver.url.split("/hook")[0])
    assert (body["description"], body["status"], body["deliveries"]) == ("Pages somebody.", "active", None)
    changed = await api.http.patch(path, json={"types": ["*"]}, headers={"If-Match": '"1"'})
    assert changed.json()["versions"] == {body["id"]: 2}
    problem(await api.http.patch(path, json={"types": ["*"]}, headers={"If-Match": '"1"'}), 412, "version_conflict")
    rotated = await api.post(f"{path}/rotate", {"overlap_seconds": 60})
    assert rotated.json()["secret"] not in (None, secret)
    for step in ("pause", "resume"):
        await api.post(f"{path}/{step}")
    await api.post(f"{path}/replay", {"from_position": 1})
    last = await api.post(f"{path}/dead-letters/requeue")
    listed = await api.get("/api/webhooks", min_position=last.headers["toybox-position"], status="active")
    assert [each["types"] for each in listed.json()["items"]] == [["*"]]
    assert listed.json()["items"][0]["old_secret_until"]
    said = [shown.text, changed.text, listed.text, *(each.data.decode() for each in await api.events())]
    assert not [each for each in said if secret[6:] in each or rotated.json()["secret"][6:] in each]
    assert "s3cr3t-path" not in "".join(each.data.decode() for each in await api.events())
    removed = await api.http.delete(path)
    assert removed.is_success
    gone = await api.http.get(path, params={"min_position": removed.headers["toybox-position"]})
    problem(gone, 404, "not_found")
    problem(await api.http.post(f"{path}/pause"), 409, "webhook_removed")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"url": "https://10.0.0.1/x"}, 422, "webhook_address_private"),
        ({"url": "https://[::ffff:169.254.169.254]/latest"}, 422, "webhook_address_private"),
        ({"url": "http://1.1.1.1/x"}, 422, "webhook_unencrypted"),
        ({"url": "https://u:p@hooks.example.org/x"}, 422, "invalid_webhook_url"),
        ({"url": "gopher://hooks.example.org/x"}, 422, "invalid_webhook_url"),
        ({"url": "https://127.0.0.1:1/" + "x" * 2000}, 422, "invalid_request"),
        ({"types": []}, 422, "invalid_request"),
        ({"types": ["BUDGET"]}, 422, "invalid_request"),
        ({"types": ["budget.nothing"]}, 422, "unknown_event_type"),
        ({"types": ["access_key.issued"]}, 422, "private_event_type"),
        ({"secret_id": str(UUID(int=1))}, 422, "invalid_request"),
        ({"project_id": str(UUID(int=1))}, 404, "not_found"),
        ({"from_position": -1}, 422, "invalid_request"),
    ],
)
async def test_what_is_wrong_is_told_and_nothing_is_kept(
    whole_api: Api, receiver: Receiver, change: dict[str, object], status: int, code: str
) -> None:
    answer = await whole_api.http.post("/api/webhooks", json=wanted(receiver, **change))
    problem(answer, status, code)
    assert not [each for each in await whole_api.events() if each.type.startswith("webhook.")]


async def test_an_address_is_judged_again_when_it_is_changed(whole_api: Api, receiver: Receiver) -> None:
    path, _ = await made(whole_api, receiver)
    problem(await whole_api.http.patch(path, json={"url": "https://10.0.0.1/"}), 422, "webhook_address_private")
    problem(await whole_api.http.patch(path, json={}), 422, "nothing_to_change")
    problem(await whole_api.http.patch(NOBODY, json={"types": ["*"]}), 404, "not_found")


async def test_a_test_reaches_the_receiver_at_once_and_tells_what_it_made_of_it(
    whole_api: Api, receiver: Receiver
) -> None:
    path, secret = await made(whole_api, receiver)
    await whole_api.post(f"{path}/pause")
    found = (await whole_api.post(f"{path}/test")).json()
    assert (found["arrived"], found["status"], found["problem"]) == (True, 204, None)
    (got,) = receiver.got
    assert verified(got, secret)
    assert unseal(got.body).event.type == "webhook.test"
    receiver.answers = lambda _: (403, {}, b"wrong\nsignature")
    found = (await whole_api.post(f"{path}/test")).json()
    assert (found["arrived"], found["problem"], found["said"]) == (False, "answered 403", "wrong signature")
    problem(await whole_api.http.post(f"{NOBODY}/test"), 404, "not_found")


async def test_deliveries_and_dead_letters_are_listed_a_page_at_a_time(whole_api: Api, receiver: Receiver) -> None:
    api = whole_api
    path, _ = await made(api, receiver)
    webhook = UUID(path.rpartition("/")[2])
    assert api.services.webhooks
    deliveries: Any = api.services.webhooks.deliveries
    await deliveries.begin(webhook, Beginning(9, 0, 9, 0))
    for position in range(1, 6):
        tried = Attempt(position, f"{uuid4()}.1", "budget.settled", 3, Posted(500, "answered 500", "Oh.", None, 7))
        await deliveries.died(webhook, 9, tried)
    first = (await api.get(f"{path}/dead-letters", limit=3)).json()
    second = (await api.get(f"{path}/dead-letters", limit=3, cursor=first["next"])).json()
    assert [each["position"] for each in (*first["items"], *second["items"])] == [1, 2, 3, 4, 5]
    assert second["next"] is None
    assert first["items"][0].items() >= {"problem": "answered 500", "said": "Oh.", "attempts": 3}.items()
    first = (await api.get(f"{path}/deliveries", limit=3)).json()
    second = (await api.get(f"{path}/deliveries", limit=3, cursor=first["next"])).json()
    assert [each["position"] for each in (*first["items"], *second["items"])] == [5, 4, 3, 2, 1]
    standing = (await api.get(path)).json()["deliveries"]
    assert standing.items() >= {"position": 5, "dead_letters": 5, "last_problem": "answered 500"}.items()
    problem(await api.http.get(f"{path}/deliveries", params={"cursor": first["next"][:-1]}), 422, "invalid_cursor")
    problem(await api.http.get(f"{NOBODY}/dead-letters"), 404, "not_found")


async def test_every_route_asks_for_its_permission_before_anything_is_sent(api: Api) -> None:
    async with api.client(await api.key("keys.*", "events.*")) as guest:
        for method, path, permission in (
            ("GET", "", "webhooks.read"),
            ("GET", "/{}", "webhooks.read"),
            ("POST", "", "webhooks.subscribe"),
            ("PATCH", "/{}", "webhooks.change"),
            ("DELETE", "/{}", "webhooks.remove"),
            ("POST", "/{}/pause", "webhooks.pause"),
            ("POST", "/{}/resume", "webhooks.resume"),
            ("POST", "/{}/rotate", "webhooks.rotate"),
            ("POST", "/{}/replay", "webhooks.replay"),
            ("POST", "/{}/test", "webhooks.test"),
            ("POST", "/{}/dead-letters/requeue", "webhooks.requeue"),
            ("GET", "/{}/dead-letters", "webhooks.read"),
            ("GET", "/{}/deliveries", "webhooks.read"),
        ):
            answer = await guest.request(method, f"/api/webhooks{path.format(UUID(int=1))}")
            assert problem(answer, 403, "not_allowed")["permission"] == permission


async def test_where_nobody_keeps_webhooks_it_is_said(api: Api) -> None:
    body = {"url": "https://1.1.1.1/x", "types": ["*"]}
    problem(await api.http.post("/api/webhooks", json=body), 503, "unavailable")
