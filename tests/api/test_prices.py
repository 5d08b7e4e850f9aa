"""Prices over HTTP: which holds and why; cards that come and go; re-rating, late usage, exports, closed months."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from commands.budgets import OpenBudget
from commands.llm_jobs import CompleteAttempt
from domain.ids import attempt_id
from domain.pricing import Usage
from domain.values import derived_id
from tests.commands.staging import GLOBAL, admit, complete, queue, usd
from tests.support.client import Api, problem

TODAY = datetime.now(UTC).date()
NAME = f"acme@{TODAY}"


def card(rate: str = "2", *, fix: int = 0, **more: Any) -> dict[str, Any]:
    models = [{"model": "one", "also": ["uno"], "prices": [{"rates": {"input": rate, "output": "10"}}]}]
    facts = {"provider": "acme", "effective_from": str(TODAY), "fix": fix, "source": "their page", "models": models}
    return {"card": {**facts, **more}}


async def bring(api: Api, rate: str = "2", *, fix: int = 0, **more: Any) -> str:
    """A card in force."""
    name = (await api.post("/api/price-cards", card(rate, fix=fix, **more))).json()["name"]
    await api.post(f"/api/price-cards/{name}/approve")
    return name


async def spend(api: Api, number: int, *, amount: str | None, **usage: Any) -> UUID:
    """A job at acme whose answer used 1,000 tokens in and 100 out, at 2 and 10 USD a million: 0.003."""
    job = derived_id("spent", number)
    used = Usage.simple("one", input_tokens=1000, output_tokens=100)
    done: CompleteAttempt = complete(job, None, model="one", response_id=f"resp-{number}", **usage)
    if amount is not None:
        line = {"model": "one", "per": 1_000_000, "rate_id": f"{NAME}/one/standard.standard.any.0#"}
        lines = [
            line | {"bucket": "input", "quantity": 1000, "rate": "2", "amount": "0.002"},
            line | {"bucket": "output", "quantity": 100, "rate": "10", "amount": "0.001"},
        ]
        for each in lines:
            each["rate_id"] = f"{each['rate_id']}{each['bucket']}"
        facts = done.model_dump() | {"lines": lines, "usage": used.model_dump(), "amount": amount}
        done = CompleteAttempt.model_validate(facts | {"priced_on": TODAY}, strict=False)
    await api.send(queue(job, provider="acme", model="one"))
    await api.send(admit(job, provider="acme", model="one"))
    await api.send(done)
    return job


async def head(api: Api) -> int:
    return await api.store.head()


async def test_a_card_is_imported_approved_shown_and_retired(whole_api: Api) -> None:
    api = whole_api
    made = await api.post("/api/price-cards", card())
    assert (made.status_code, made.headers["location"], made.json()["name"]) == (201, f"/api/price-cards/{NAME}", NAME)
    waiting = (await api.get("/api/prices/quote", provider="acme", model="one")).json()
    assert (waiting["applies"], waiting["history"]) == (None, [])
    assert f"toybox prices approve {NAME}" in waiting["why"]
    approved = await api.post(f"/api/price-cards/{NAME}/approve", {}, **{"If-Match": made.headers["etag"]})
    view = (await api.get(f"/api/price-cards/{NAME}", min_position=approved.headers["toybox-position"])).json()
    assert (view["status"], view["approved_by"][:6], view["card"]["models"][0]["also"]) == (
        "approved",
        "owner ",
        ["uno"],
    )
    found = (await api.get("/api/prices/quote", provider="acme", model="uno-2026-10-01")).json()
    assert found["applies"]["prices"] == [
        {
            "tier": "standard", "speed": "standard", "region": None, "above_input_tokens": 0, "when": "tier standard",
            "rates": [
                {"bucket": "input", "usd": "2", "unit": "per million tokens"},
                {"bucket": "output", "usd": "10", "unit": "per million tokens"},
            ],
        }
    ]  # fmt: skip
    assert "uno-2026-10-01 is a snapshot of uno" in found["why"]
    assert "was imported and approved" in found["why"]
    retired = await api.post(f"/api/price-cards/{NAME}/retire")
    listed = await api.get("/api/price-cards", status="retired", min_position=retired.headers["toybox-position"])
    assert [each["retired_from"] for each in listed.json()["items"]] == [str(TODAY)]
    gone = (await api.get("/api/prices/quote", provider="acme", model="one")).json()
    assert (gone["applies"], len(gone["history"])) == (None, 1)
    assert "is retired" in gone["why"]


async def test_shipped_prices_are_listed_by_day_and_page_by_page(api: Api) -> None:
    first = (await api.get("/api/prices", provider="anthropic", at="2026-11-21", limit=2)).json()
    rest = (await api.get("/api/prices", provider="anthropic", at="2026-11-21", cursor=first["next"])).json()
    names = [each["model"] for each in (*first["items"], *rest["items"])]
    assert (len(first["items"]), names) == (2, sorted(names))
    assert len(set(names)) == len(names) > 5
    assert (await api.get("/api/prices", provider="anthropic", at="2020-01-01")).json()["items"] == []
    banded = (await api.get("/api/prices", model="gpt-6-sol", at="2026-11-21")).json()["items"][0]
    assert [each["when"] for each in banded["prices"]][:2] == [
        "tier standard, prompts up to 272,000 tokens", "tier standard, prompts above 272,000 tokens",
    ]  # fmt: skip
    assert banded["origin"] == "shipped"


async def test_the_card_of_a_later_day_is_passed_over_until_then_and_a_fix_replaces(api: Api) -> None:
    tomorrow = TODAY + timedelta(days=1)
    await bring(api, "2")
    await bring(api, "3", effective_from=str(tomorrow))
    now = (await api.get("/api/prices/quote", provider="acme", model="one")).json()
    assert now["applies"]["card"] == NAME
    assert f"acme@{tomorrow} is passed over: it begins on {tomorrow}" in now["why"]
    then = (await api.get("/api/prices/quote", provider="acme", model="one", at=str(tomorrow))).json()
    assert then["applies"]["card"] == f"acme@{tomorrow}"
    await bring(api, "4", fix=1)
    mended = (await api.get("/api/prices/quote", provider="acme", model="one")).json()
    assert (mended["applies"]["card"], mended["applies"]["prices"][0]["rates"][0]["usd"]) == (f"{NAME}.1", "4")
    assert [each["in_force"] for each in mended["history"]] == [False, True, False]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": [{"model": "a", "prices": [{"rates": {"input": "-1"}}]}]}, "never negative; this is '-1'"),
        ({"models": [{"model": "a", "prices": [{"rates": {"input": 1}}]}]}, "a rate is text"),
        ({"models": [{"model": "a", "prices": [{"rates": {"inputs": "1"}}]}]}, "did you mean input"),
        ({"models": [{"model": "a", "prices": [{"tier": "batch", "rates": {"input": "1"}}]}]}, "default tier"),
        ({"models": [{"model": "a", "prices": [{"rates": {"input": "99999"}}]}]}, "10000 at most"),
        (
            {"models": [{"model": "a", "prices": [{"rates": {"input": "1"}}]}] * 2},
            "a stands twice, here and under a: leave one out",
        ),
        ({"models": []}, "models"),
        ({"sauce": "x"}, "sauce: this field is not known"),
        ({"effective_from": "soon"}, "effective_from"),
    ],
)
async def test_a_wrong_card_is_refused_with_place_and_fix(api: Api, change: dict[str, Any], said: str) -> None:
    refused = problem(await api.http.post("/api/price-cards", json=card(**change)), 422, "invalid_card")
    assert said in refused["detail"]
    assert not [each for each in await api.events() if each.type.startswith("price_card.")]


async def test_what_does_not_fit_the_state_is_refused(api: Api) -> None:
    shipped: dict[str, Any] = {"provider": "openai", "effective_from": "2026-11-01"}
    taken = problem(await api.http.post("/api/price-cards", json=card(**shipped)), 409, "price_card_exists")
    assert "openai@2026-11-01.1" in taken["detail"]
    problem(await api.http.post(f"/api/price-cards/{NAME}/approve"), 404, "not_found")
    await bring(api)
    problem(await api.http.post(f"/api/price-cards/{NAME}/withdraw"), 422, "price_card_status")
    problem(await api.http.post("/api/price-cards", json=card("3")), 409, "price_card_exists")
    problem(await api.http.post("/api/cost/closed-months", json={"month": "2026-13"}), 422, "invalid_request")
    problem(await api.http.post("/api/cost/closed-months", json={"month": f"{TODAY:%Y-%m}"}), 422, "month_not_over")


async def test_every_route_asks_for_its_permission(api: Api) -> None:
    async with api.client(await api.key("keys.*")) as guest:
        for method, path, permission in (
            ("GET", "/api/prices", "prices.read"),
            ("GET", "/api/prices/quote?provider=a&model=b", "prices.read"),
            ("GET", "/api/price-cards", "prices.read"),
            ("GET", "/api/prices/check", "prices.read"),
            ("GET", "/api/prices/changes", "costs.read"),
            ("GET", "/api/cost/estimates", "costs.read"),
            ("GET", "/api/cost/closed-months", "costs.read"),
            ("POST", "/api/price-cards", "prices.import"),
            ("POST", f"/api/price-cards/{NAME}/approve", "prices.approve"),
            ("POST", f"/api/price-cards/{NAME}/retire", "prices.approve"),
            ("POST", f"/api/price-cards/{NAME}/withdraw", "prices.import"),
            ("POST", "/api/prices/rerate", "prices.read"),
            ("POST", "/api/cost/reconciliations", "costs.reconcile"),
            ("POST", f"/api/llm-jobs/{UUID(int=1)}/usage", "costs.reconcile"),
            ("POST", "/api/cost/closed-months", "accounting.close"),
        ):
            answer = await guest.request(method, path, json={} if method == "POST" else None)
            assert problem(answer, 403, "not_allowed")["permission"] == permission
    async with api.client(await api.key("prices.read")) as reader:
        answer = await reader.post("/api/prices/rerate", json={"card": "openai@2026-11-01"})
        assert problem(answer, 403, "not_allowed")["permission"] == "prices.rerate"
        answer = await reader.post("/api/prices/rerate", json={"card": "openai@2026-11-01", "dry_run": True})
        assert problem(answer, 403, "not_allowed")["permission"] == "costs.read", "it tells what projects have spent"


async def test_a_fix_re_rates_what_its_card_has_priced_once(whole_api: Api) -> None:
    api = whole_api
    await api.send(OpenBudget(scope=GLOBAL, limit=usd(10)))
    await bring(api)
    for number in range(5):
        await spend(api, number, amount="0.003")
    await spend(api, 5, amount=None)  # nobody counted it
    mended = await bring(api, "4", fix=1)
    at = {"min_position": await head(api)}
    wanted = {"card": mended, "dry_run": True}
    tried = (await api.http.post("/api/prices/rerate", json=wanted, params=at)).json()
    counts = ("examined", "changed", "unchanged", "no_usage", "before", "after", "delta")
    assert [tried[name] for name in counts] == [6, 5, 0, 1, "0.015", "0.025", "0.01"]
    assert [(each["model"], each["attempts"], each["delta"]) for each in tried["items"]] == [("one", 5, "0.01")]
    assert not [each for each in await api.events() if each.type == "cost.re_rated"]

    some = await api.http.post("/api/prices/rerate", json={"card": mended}, params={**at, "limit": 2})
    assert (some.json()["changed"], some.json()["next"] is None) == (2, False)  # and here it was killed
    at = {"min_position": await head(api)}
    again = (await api.http.post("/api/prices/rerate", json={"card": mended}, params=at)).json()
    assert (again["changed"], again["unchanged"], again["delta"], again["next"]) == (3, 2, "0.006", None)
    at = {"min_position": await head(api)}
    done = (await api.http.post("/api/prices/rerate", json={"card": mended}, params=at)).json()
    assert (done["changed"], done["unchanged"]) == (0, 5)
    assert len([each for each in await api.events() if each.type == "cost.re_rated"]) == 5

    report = (await api.get("/api/cost", by="model", **at)).json()["total"]
    assert (report["amount"], report["estimated"], report["attempts"]) == ("1.025", 1, 6)
    budget = (await api.get("/api/budgets", **at)).json()["items"][0]
    assert (budget["settled"], budget["held"]) == ("1.025", "0")
    changes = (await api.get("/api/prices/changes", card=mended, month=f"{TODAY:%Y-%m}", **at)).json()["items"]
    assert [(each["kind"], each["delta"], each["actor"][:6]) for each in changes] == [
        ("re_rated", "0.002", "owner ")
    ] * 5


async def test_re_rating_by_a_card_that_is_not_in_use_is_refused(whole_api: Api) -> None:
    api = whole_api
    unknown = problem(await api.http.post("/api/prices/rerate", json={"card": "x@2026-01-01"}), 404, "not_found")
    assert "there is no price card" in unknown["detail"]
    await api.post("/api/price-cards", card())
    waits = problem(await api.http.post("/api/prices/rerate", json={"card": NAME}), 404, "not_found")
    assert f"toybox prices approve {NAME}" in waits["detail"]
    await api.post(f"/api/price-cards/{NAME}/approve")
    early = {"card": NAME, "to_day": "2020-01-01"}
    problem(await api.http.post("/api/prices/rerate", json=early), 422, "invalid_request")


async def test_late_usage_is_priced_as_on_its_day_and_counts_once(whole_api: Api) -> None:
    api = whole_api
    await bring(api)
    job = await spend(api, 1, amount=None)
    listed = (await api.get("/api/cost/estimates", min_position=await head(api))).json()["items"]
    assert [(each["attempt_id"], each["response_id"], each["amount"], each["counted"]) for each in listed] == [
        (str(attempt_id(job, 1)), "resp-1", "1", False)
    ]
    path, told = f"/api/llm-jobs/{job}/usage", {"attempt": 1, "input_tokens": 1000, "output_tokens": 100}
    wrong = {**told, "counts": {"input_cache_read": 1001}}
    assert (
        "parts are input_cache_read 1001"
        in problem(await api.http.post(path, json=wrong), 422, "usage_inconsistent")["detail"]
    )
    priceless = {**told, "tier": "scale"}
    assert "tier scale" in problem(await api.http.post(path, json=priceless), 422, "price_unknown")["detail"]
    problem(await api.http.post(path, json={**told, "attempt": 2}), 404, "not_found")
    problem(await api.http.post(f"/api/llm-jobs/{UUID(int=9)}/usage", json=told), 404, "not_found")
    done = await api.post(path, told)
    assert await api.events()
    corrected = (await api.events())[-1]
    assert (corrected.type, corrected.payload()["amount"]) == ("cost.corrected", "0.003")
    again = await api.post(path, told)
    assert again.json()["versions"] == {}
    problem(await api.http.post(path, json={**told, "output_tokens": 99}), 422, "usage_known")
    left = await api.get("/api/cost/estimates", min_position=done.headers["toybox-position"])
    assert left.json()["items"] == []


async def test_an_export_is_matched_applied_and_compared(whole_api: Api) -> None:
    api = whole_api
    await bring(api)
    guessed, counted, other = await spend(api, 1, amount=None), await spend(api, 2, amount="0.003"), derived_id("x")
    await spend(api, 3, amount="0.003")
    plain = {"input_tokens": 1000, "output_tokens": 100}
    rows: list[dict[str, Any]] = [
        {"row": 2, "response_id": "resp-1", **plain},
        {"row": 3, "attempt_id": str(attempt_id(counted, 1)), **plain},
        {"row": 4, "response_id": "resp-3", **plain, "output_tokens": 101, "reported_cost": "0.5"},
        {"row": 5, "attempt_id": str(other), **plain},
        {"row": 6, **plain},
        {"row": 7, "response_id": "resp-1", "input_tokens": 5},
    ]
    at = {"min_position": await head(api)}
    tried = (await api.http.post("/api/cost/reconciliations", json={"rows": rows, "dry_run": True}, params=at)).json()
    assert [each["outcome"] for each in tried["items"]] == [
        "would_apply", "agrees", "drift", "unmatched", "refused", "refused",
    ]  # fmt: skip
    assert tried["items"][2]["said"] == "output tokens 100 here, 101 there; 0.003 USD here, 0.5 USD there"
    assert "give attempt_id or response_id" in tried["items"][4]["said"]
    assert "output_tokens is missing" in tried["items"][5]["said"]
    done = (await api.http.post("/api/cost/reconciliations", json={"rows": rows}, params=at)).json()
    assert [done[name] for name in ("applied", "agrees", "drift", "unmatched", "refused")] == [1, 1, 1, 1, 2]
    assert (done["items"][0]["recorded"], done["items"][0]["told"]) == ("1", "0.003")
    after = (await api.http.post("/api/cost/reconciliations", json={"rows": rows}, params=at)).json()
    assert (after["applied"], after["agrees"]) == (0, 2)
    assert guessed


async def test_the_check_names_what_is_wrong_with_its_fix(whole_api: Api) -> None:
    api = whole_api
    await spend(api, 1, amount=None)
    await api.send(queue(derived_id("odd"), provider="openai", model="gpt-6-sol-2026-10-01"))
    found = (await api.get("/api/prices/check", min_position=await head(api), max_age_days=1)).json()
    kinds = [(each["level"], each["kind"], each["provider"]) for each in found["items"]]
    assert kinds[0] == ("problem", "no_price", "acme")
    assert "toybox prices import FILE" in found["items"][0]["fix"]
    assert ("warning", "old_card", "openai") in kinds
    assert ("note", "alias", "openai") in kinds
    assert ("warning", "estimates", None) in kinds
    await api.post("/api/price-cards", card())
    waits = (await api.get("/api/prices/check")).json()["items"]
    assert (waits[0]["kind"], waits[0]["card"]) == ("no_price", NAME)
    assert ("warning", "waiting") in [(each["level"], each["kind"]) for each in waits]
    await api.post(f"/api/price-cards/{NAME}/approve")
    assert not [each for each in (await api.get("/api/prices/check")).json()["items"] if each["level"] == "problem"]


async def test_a_closed_month_is_shown(whole_api: Api) -> None:
    api = whole_api
    assert (await api.get("/api/cost/closed-months")).json()["closed_through"] is None
    closed = await api.post("/api/cost/closed-months", {"month": "2025-12"})
    shown = await api.get("/api/cost/closed-months", min_position=closed.headers["toybox-position"])
    assert (shown.json()["closed_through"], shown.json()["closings"][0]["by"][:6]) == ("2025-12", "owner ")
