"""How a path is asked: HEAD wherever GET is, OPTIONS everywhere, and no parameter that nobody knows."""

import pytest

from tests.api.working import started
from tests.support.client import Api, problem


async def test_head_answers_like_get_without_its_body(whole_api: Api) -> None:
    project = await started(whole_api)
    shown = f"min_position={await whole_api.store.head()}"
    for path in ("/health", f"/api/projects?{shown}", f"/api/projects/{project}?{shown}", "/openapi.json"):
        head, get = await whole_api.http.head(path), await whole_api.http.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        assert head.headers["content-length"] == str(len(get.content))
        assert head.headers.get("etag") == get.headers.get("etag")
    assert (await whole_api.http.head("/api/nothing")).status_code == 404
    assert (await whole_api.http.head(f"/api/projects/{project}/start")).status_code == 405


async def test_an_endless_answer_has_no_head(api: Api) -> None:
    answer = await api.http.head("/api/events")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, OPTIONS")


async def test_options_tells_the_methods_of_a_path(api: Api) -> None:
    answer = await api.http.options("/api/projects")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    problem(await api.http.options("/api/nothing"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/api/projects?status=running&proyect_id=7", "proyect_id"),
        ("GET", "/api/auth/me?limit=3", "limit"),
        ("POST", "/api/projects?dry_run=true", "dry_run"),
    ],
)
async def test_a_parameter_that_nobody_knows_is_refused_and_named(api: Api, method: str, path: str, name: str) -> None:
    found = problem(await api.http.request(method, path, json={"name": "x"}), 422, "invalid_request")
    assert [each["field"] for each in found["errors"]] == [name]


async def test_the_permission_is_looked_at_before_the_parameters(api: Api) -> None:
    async with api.client(await api.key("llm_jobs.deliver")) as weak:
        problem(await weak.get("/api/projects?nonsense=1"), 403, "not_allowed")


async def test_what_a_client_sends_with_every_query_is_taken_everywhere(api: Api) -> None:
    assert (await api.http.get("/api/auth/me?min_position=1&timeout_ms=5")).status_code == 200


async def test_a_path_is_named_as_it_was_asked_for(api: Api) -> None:
    found = problem(await api.http.get("http://toybox.test//api/projects"), 404, "not_found")
    assert "//api/projects" in found["detail"]
    found = problem(await api.http.get("/api/projects/"), 404, "not_found")
    assert "slash at its end" in found["detail"]


@pytest.mark.parametrize("field", ["detail", "status", "code", "type", "title"])
async def test_a_problem_begins_with_what_every_problem_has(api: Api, field: str) -> None:
    assert field in list((await api.http.delete("/api/projects")).json())[:5]
