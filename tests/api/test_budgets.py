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
