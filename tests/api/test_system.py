"""Routes for whoever runs toybox: standing, lag, parked keys, rebuilds, metrics."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from api.metrics import Metrics
from domain.posting import Tally
from domain.values import derived_id
from projections.projector import PROJECTIONS
from tests.api.working import Worker, started
from tests.support.client import Api, problem


async def test_the_standing_of_everything_is_told(whole_api: Api) -> None:
    api = whole_api
    await api.post("/api/projects", {"name": "x"})
    head = await api.store.head()
    await api.get("/api/projects", min_position=head)
    status = (await api.get("/api/system/status")).json()
    assert status["head"] == head
    found = (await api.get("/api/system/projections")).json()["items"]
    assert [each["name"] for each in found] == sorted(PROJECTIONS)
    assert {each["state"] for each in found} == {"following"}
    lines = (await api.get("/api/system/log", min_position=head, text="project")).json()["items"]
    assert len(lines) == 1


async def test_a_read_model_is_rebuilt_beside_the_live_one(whole_api: Api) -> None:
    api = whole_api
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    path = "/api/system/projections/project_overviews/rebuild"
    assert (await api.http.post(path)).status_code == 202
    while True:
        found = (await api.get("/api/system/projections")).json()["items"]
        last = next(each for each in found if each["name"] == "project_overviews")["last_rebuild"]
        if last:
            break
        await asyncio.sleep(0.02)
    assert last["ok"], last
    assert last["rows"] == {"project_overviews": 1}
    assert (await api.get(f"/api/projects/{project}", min_position=await api.store.head())).json()["name"] == "x"
    problem(await api.http.post("/api/system/projections/nothing/rebuild"), 404, "not_found")


async def test_a_parked_key_is_told_marks_answers_and_is_taken_up_again(whole_api: Api) -> None:
    api = whole_api
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    head = await api.store.head()
    await api.get("/api/projects", min_position=head)
    async with api.services.connections.connection() as connection:
        await connection.execute(
            "insert into projection_parked (generation, key, projection, position, type, reason)"
            " select generation, %s, projection, %s, 'project.created', 'planted' from projection_positions"
            " where projection = 'project_overviews' and status = 'live'",
            [project, head],
        )
    shown = await api.get(f"/api/projects/{project}")
    assert shown.headers["toybox-incomplete-since"] == str(head)
    assert (await api.get("/api/projects")).json()["incomplete_since"] == head
    parked = (await api.get("/api/system/parked")).json()
    assert [(each["projection"], each["reason"]) for each in parked["projections"]] == [
        ("project_overviews", "planted")
    ]
    metrics = (await api.get("/metrics")).text
    assert 'toybox_parked{follower="project_overviews",kind="projection"} 1.0' in metrics
    done = (await api.post(f"/api/system/parked/project_overviews/{project}/retry")).json()
    assert done == {"applied": 1, "parked": None}
    assert "toybox-incomplete-since" not in (await api.get(f"/api/projects/{project}")).headers
    again = await api.http.post(f"/api/system/parked/project_overviews/{derived_id('no')}/retry")
    problem(again, 404, "not_found")
    assert (await api.post("/api/system/parked/reactions/retry")).json() == {"answered": 0}


async def test_metrics_tell_of_the_log_its_followers_and_the_money(whole_api: Api) -> None:
    api = whole_api
    tokens: dict[str, Any] = {"limit": "2000000", "unit": "total_tokens", "window": {"kind": "lifetime"}}
    await api.post("/api/budgets", {"scope": {"kind": "global"}, **tokens})
    await api.post("/api/budgets", {"scope": {"kind": "global"}, "limit": "25"})
    await api.post("/api/budgets", {"scope": {"kind": "provider", "provider": "other"}, **tokens})
    project = await started(api)
    head = await Worker(api).work()
    await api.get(f"/api/projects/{project}", min_position=head)
    await api.get("/api/budgets", min_position=head)
    text = (await api.get("/metrics")).text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["toybox_log_head_position",] == head
    assert found["toybox_budget_usd", "global", "limit"] == 25
    assert found["toybox_budget_usd", "global", "settled"] == 0.4
    assert found["toybox_budget_usd", "global", "held"] == 0
    assert ("toybox_budget_usd", "limit", "provider") not in found, "tokens are no money"
    assert found["toybox_projection_lag_events", "budget_states"] == 0
    assert found["toybox_reaction_lag_events", "mark_ready_agents"] == head
    assert found["toybox_events_appended_total",] == head
    assert found["toybox_append_batch_commands_count",] > 0
    assert found["toybox_llm_jobs", "queued"] == 0
    assert project not in text
    assert "tbx_" not in text


def test_metrics_tell_what_was_posted_to_webhooks_and_for_how_long_the_oldest_event_waits() -> None:
    now, metrics = datetime(2026, 11, 21, 12, tzinfo=UTC), Metrics()
    posted = Tally()
    posted.tries["delivered"], posted.tries["failed"] = 3, 2
    posted.due = {derived_id(each): now - timedelta(seconds=each) for each in (5, 90)}
    metrics.webhooks(posted, now)
    metrics.webhooks(posted, now)
    text = metrics.text().decode()
    for line in (
        'toybox_webhook_tries_total{outcome="delivered"} 3.0',
        'toybox_webhook_tries_total{outcome="failed"} 2.0',
        'toybox_webhook_tries_total{outcome="dead"} 0.0',
        "toybox_webhooks_waiting 2.0",
        "toybox_webhook_oldest_waiting_seconds 90.0",
    ):
        assert line in text.splitlines()
    posted.due.clear()
    metrics.webhooks(posted, now)
    assert "toybox_webhook_oldest_waiting_seconds 0.0" in metrics.text().decode().splitlines()
