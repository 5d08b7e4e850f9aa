"""Budgets and costs over HTTP: limits, holds, what was spent on what and why."""

from domain.values import derived_id
from tests.api.working import BLUEPRINT, Worker, started
from tests.support.client import Api, problem


async def test_a_budget_is_opened_changed_shown_and_closed(whole_api: Api) -> None:
    api = whole_api
    answer = await api.post("/api/budgets", {"scope": {"kind": "global"}, "limit": "25", "thresholds": [50]})
    path = answer.headers["location"]
    problem(await api.http.post("/api/budgets", json={"scope": {"kind": "global"}, "limit": "1"}), 409, "conflict")
    changed = await api.http.patch(path, json={"limit": "30.50"}, headers={"If-Match": answer.headers["etag"]})
    stale = await api.http.patch(path, json={"limit": "31"}, headers={"If-Match": answer.headers["etag"]})
    problem(stale, 412, "version_conflict")
    shown = await api.get(path, min_position=changed.headers["toybox-position"])
    assert (shown.json()["limit"], shown.json()["headroom"], shown.json()["status"]) == ("30.5", "30.5", "open")
    assert shown.headers["etag"] == changed.headers["etag"] == '"2"'
    assert (await api.get(path, as_of=answer.headers["toybox-position"])).json()["limit"] == "25"
    closed = await api.post(f"{path}/close")
    listed = await api.get("/api/budgets", status="closed", min_position=closed.headers["toybox-position"])
    assert [each["kind"] for each in listed.json()["items"]] == ["global"]


async def test_a_budget_that_makes_no_sense_is_refused(api: Api) -> None:
    for body, code in (
        ({"scope": {"kind": "global", "phase": "x"}, "limit": "1"}, "invalid_scope"),
        ({"scope": {"kind": "galaxy"}, "limit": "1"}, "invalid_request"),
        ({"scope": {"kind": "global"}, "limit": "-1"}, "invalid_request"),
        ({"scope": {"kind": "global"}, "limit": "NaN"}, "invalid_request"),
        ({"scope": {"kind": "global"}, "limit": "1e3", "thresholds": [0]}, "invalid_request"),
        ({"scope": {"kind": "global"}}, "invalid_request"),
    ):
        problem(await api.http.post("/api/budgets", json=body), 422, code)
    problem(await api.http.patch(f"/api/budgets/{derived_id('no')}", json={"limit": "1"}), 404, "not_found")


async def test_a_scope_is_limited_per_day_besides_and_tells_a_forecast(whole_api: Api) -> None:
    api = whole_api
    answer = await api.post("/api/budgets", {"scope": {"kind": "global"}, "limit": "25"})
    path = answer.headers["location"]
    daily = {"kind": "day", "time_zone": "Europe/Berlin"}
    await api.post("/api/budgets", {"scope": {"kind": "global"}, "limit": "5", "window": daily})
    problem(await api.http.patch(path, json={"limit": "30"}), 422, "which_limit")
    name = "usd-day-europe-berlin"
    changed = await api.http.patch(path, json={"limit": "6", "name": name})
    shown = await api.get(path, min_position=changed.headers["toybox-position"])
    assert [(each["name"], each["limit"]) for each in shown.json()["limits"]] == [("usd-lifetime", "25"), (name, "6")]
    told = (await api.get(f"{path}/forecast")).json()["items"]
    assert [(each["name"], each["per_hour"], each["full_at"]) for each in told] == [
        ("usd-lifetime", "0", None),
        (name, "0", None),
    ]
    closed = await api.post(f"{path}/close", {"name": name})
    left = await api.get(path, min_position=closed.headers["toybox-position"])
    assert ([each["name"] for each in left.json()["limits"]], left.json()["status"]) == (["usd-lifetime"], "open")
    bad = {"scope": {"kind": "global"}, "limit": "1", "window": {"kind": "day", "time_zone": "Europe/Bonn"}}
    problem(await api.http.post("/api/budgets", json=bad), 422, "invalid_request")
    problem(await api.http.get(f"/api/budgets/{derived_id('no')}/forecast"), 404, "not_found")


async def test_cost_settings_have_defaults_until_somebody_chooses(whole_api: Api) -> None:
    api = whole_api
    path = "/api/config/global-cost-settings"
    before = (await api.get(path)).json()
    assert (before["exhausted"], before["thresholds"], before["changed_at"]) == ("park", [50, 80, 100], None)
    chosen = await api.http.put(path, json={"exhausted": "deny", "thresholds": [90], "time_zone": "Asia/Tokyo"})
    after = (await api.get(path, min_position=chosen.headers["toybox-position"])).json()
    assert (after["exhausted"], after["thresholds"], after["time_zone"]) == ("deny", [90], "Asia/Tokyo")
    problem(await api.http.put(path, json={"time_zone": "Mars/Olympus"}), 422, "invalid_request")


async def test_what_a_run_cost_is_told_by_group_and_line_by_line(whole_api: Api) -> None:
    api = whole_api
    project = await started(api, BLUEPRINT.replace('checkpoint: {title: "Publish?", question: "Is it true?"}', ""))
    head = await Worker(api).work()
    report = (await api.get("/api/cost", by="agent", project_id=project, min_position=head)).json()
    assert {each["name"]: each["amount"] for each in report["items"]} == {"writer": "0.4", "editor": "0.4"}
    assert report["total"]["amount"] == "0.8"
    own = (await api.get(f"/api/projects/{project}/costs", by="model")).json()
    assert [(each["model"], each["attempts"], each["amount"]) for each in own["items"]] == [
        ("scripted-small-1", 2, "0.8")
    ]
    lines = (await api.get("/api/cost/lines", project_id=project)).json()["items"]
    assert [each["amount"] for each in lines] == ["0.4", "0.4"]
    assert {line["bucket"] for each in lines for line in each["lines"]} == {"input", "output"}
    nothing = (await api.get("/api/cost", by="day", first_day="2999-01-01")).json()
    assert (nothing["items"], nothing["total"]["amount"]) == ([], "0")


async def test_a_report_by_something_else_is_refused(api: Api) -> None:
    problem(await api.http.get("/api/cost", params={"by": "colour"}), 422, "invalid_request")
    problem(await api.http.get("/api/cost", params={"first_day": "soon"}), 422, "invalid_request")
