"""Moments and positions as people write them, and what is not there."""

from uuid import uuid4

import pytest

from tests.support.client import Api, problem


@pytest.mark.parametrize(
    "when", ["-1", "-1.5", "1e3", "", "yesterday", "2026-11-21", "2026-11-21T10:00:00", "2026-13-01T00:00:00Z",
             "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"]
)  # fmt: skip
async def test_a_moment_that_means_nothing_is_refused_under_the_name_of_its_parameter(api: Api, when: str) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    for path, name in (("", "as_of"), ("/replay", "at"), ("/diff", "from")):
        answer = await api.http.get(f"/api/projects/{project}{path}", params={name: when})
        found = problem(answer, 422, "invalid_request")
        assert [(each["in"], each["field"]) for each in found["errors"]] == [("query", name)]
    answer = await api.http.get(f"/api/projects/{project}/diff", params={"from": 1, "to": when})
    assert problem(answer, 422, "invalid_request")["errors"][0]["field"] == "to"


async def test_before_its_beginning_a_thing_is_called_by_its_name(api: Api) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    answer = await api.http.get(f"/api/projects/{project}", params={"as_of": 0})
    assert f"there was no project {project} yet" in problem(answer, 404, "not_found")["detail"]


async def test_a_key_that_ends_outside_of_all_years_is_refused(api: Api) -> None:
    body = {"label": "late", "permissions": ["*"], "expires_at": "9999-12-31T23:59:59-12:00"}
    found = problem(await api.http.post("/api/auth/keys", json=body), 422, "invalid_request")
    assert found["errors"][0]["field"] == "expires_at"


@pytest.mark.parametrize("path", ["", "/timeline", "/replay", "/diff?from=0"])
async def test_a_position_that_the_log_has_not_reached_is_not_answered_as_if_it_had(api: Api, path: str) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    sign = "&" if "?" in path else "?"
    answer = await api.http.get(f"/api/projects/{project}{path}{sign}min_position=999&timeout_ms=10")
    problem(answer, 503, "behind")


@pytest.mark.parametrize("path", ["", "/agents", "/log", "/costs", "/timeline", "/replay", "/diff?from=0"])
async def test_nothing_is_listed_of_a_project_that_is_not_there(whole_api: Api, path: str) -> None:
    problem(await whole_api.http.get(f"/api/projects/{uuid4()}{path}"), 404, "not_found")


async def test_days_that_end_before_they_begin_are_refused(whole_api: Api) -> None:
    answer = await whole_api.http.get("/api/cost?first_day=2026-11-22&last_day=2026-11-20")
    assert problem(answer, 422, "invalid_request")["errors"][0]["field"] == "last_day"
    assert (await whole_api.http.get("/api/cost?first_day=2026-11-22&last_day=2026-11-22")).status_code == 200
