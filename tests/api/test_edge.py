"""The outermost layer: nobody without a key, every request named, every error a problem."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from fastapi.routing import APIRoute
from prometheus_client.parser import text_string_to_metric_families

from api.app import routers
from api.edge import OPEN
from api.openapi import dependencies_of, permission_of, routes_of
from api.permissions import May
from api.routing import Index, methods_of
from commands.identity.permissions import known_permissions
from domain.values import derived_id
from tests.support.client import Api, api_in_memory, problem
from tests.support.story import Story

ANYBODY = {"/health", "/ready", "/openapi.json", "/docs", "/api/auth/me"}
"""Routes that ask for no permission."""


def routes(api: Api) -> list[tuple[str, APIRoute]]:
    return [(method, route) for route in routes_of(api.app) for method in methods_of(route)]


async def test_every_route_names_a_permission_that_exists(api: Api) -> None:
    assert len(routes(api)) > 60
    for method, route in routes(api):
        assert any(isinstance(each, May) for each in dependencies_of(route)), f"{method} {route.path}"
        permission = permission_of(route)
        assert (permission is None) == (route.path in ANYBODY), f"{method} {route.path} takes {permission}"
        assert permission is None or permission in known_permissions()


async def test_there_are_no_routes_beside_those(api: Api) -> None:
    index = api.app.routes[0]
    assert isinstance(index, Index)
    assert api.app.routes == [index]
    assert len(index.routes) == sum(len(router.routes) for router in routers())


async def test_without_a_key_every_route_but_the_health_routes_is_refused(api: Api) -> None:
    async with api.client(None) as nobody:
        for method, route in routes(api):
            path = route.path.replace("{", "").replace("}", "")
            answer = await nobody.request(method, path)
            if path in OPEN:
                assert answer.status_code == 200
            else:
                problem(answer, 401, "not_authenticated")
                assert answer.headers["www-authenticate"].startswith(("Bearer ", "Basic "))


async def test_without_the_permission_every_route_is_refused_before_anything_is_read(api: Api) -> None:
    async with api.client(await api.key("llm_jobs.deliver")) as weak:
        for method, route in routes(api):
            if route.path not in ANYBODY:
                path = route.path.format_map({name: derived_id(name) for name in route.param_convertors})
                answer = await weak.request(method, path, content=b"not even JSON")
                assert problem(answer, 403, "not_allowed")["permission"] == permission_of(route)


@pytest.mark.parametrize("token", ["", "tbx_", "tbx_" + "0" * 49, "nonsense", "tbx_ünlesbar"])
async def test_a_wrong_key_is_refused(api: Api, token: str) -> None:
    async with api.client(None) as nobody:
        raw = [(b"Authorization", f"Bearer {token}".encode())]
        problem(await nobody.get("/api/auth/me", headers=raw), 401, "not_authenticated")


async def test_a_key_may_also_come_as_x_api_key(api: Api) -> None:
    async with api.client(None) as nobody:
        answer = await nobody.get("/api/auth/me", headers={"X-Api-Key": api.owner})
    assert answer.json()["permissions"] == ["*"]
    assert answer.json()["actor"].startswith("owner (tbx_")


async def test_a_browser_may_send_the_key_as_a_password_to_pages_only(api: Api) -> None:
    # Making the document takes a second, and is not what this is about.
    api.app.openapi_schema = {"info": {"title": "toybox", "version": "0", "description": ""}, "paths": {}}
    async with api.client(None) as nobody:
        assert (await nobody.get("/docs", auth=("me", api.owner))).status_code == 200
        problem(await nobody.get("/docs", headers={"Authorization": "Basic %%"}), 401, "not_authenticated")
        problem(await nobody.get("/api/auth/me", auth=("me", api.owner)), 401, "not_authenticated")


async def test_an_expired_key_is_refused(api: Api, story: Story) -> None:
    token = await api.key("*", expires_at=story.clock.now + timedelta(minutes=1))
    async with api.client(token) as guest:
        assert (await guest.get("/api/auth/me")).status_code == 200
        story.clock.advance(60)
        problem(await guest.get("/api/auth/me"), 401, "not_authenticated")


async def test_a_revoked_key_is_refused_within_two_seconds(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await api.key("projects.*")
    async with api.client(token) as guest:
        assert (await guest.get("/api/auth/me")).status_code == 200
        revoked = [each for each in await api.store.read(0, 100) if each.type == "access_key.issued"][-1]
        await api.post(f"/api/auth/keys/{revoked.stream_id}/revoke")
        monkeypatch.setattr("api.authentication.get_running_loop", Later)
        problem(await guest.get("/api/auth/me"), 401, "not_authenticated")


class Later:
    """A clock two seconds ahead."""

    def time(self) -> float:
        import asyncio

        return asyncio.get_running_loop().time() + 2.0


async def test_a_correlation_id_comes_back_and_enters_the_log(api: Api) -> None:
    wanted = derived_id("my story")
    answer = await api.post("/api/projects", {"name": "Story"}, **{"X-Correlation-Id": str(wanted)})
    assert answer.headers["x-correlation-id"] == str(wanted)
    assert {each.correlation_id for each in await api.events()} == {wanted}


async def test_a_correlation_id_that_is_no_uuid_becomes_one_and_a_trace_is_kept(api: Api) -> None:
    headers = {"X-Correlation-Id": "build 7", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    answer = await api.post("/api/projects", {"name": "Story"}, **headers)
    assert UUID(answer.headers["x-correlation-id"]) == derived_id("correlation", "build 7")
    assert {each.trace_id for each in await api.events()} == {"ab" * 16}


async def test_a_bug_is_answered_without_its_inside(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> int:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(api.store, "head", broken)
    answer = await api.http.get("/api/events")
    assert "secret inside" not in answer.text
    assert problem(answer, 500, "internal_error")["correlation_id"]


async def test_an_unknown_path_and_an_unknown_method_are_problems(api: Api) -> None:
    problem(await api.http.get("/api/nothing"), 404, "not_found")
    problem(await api.http.get("/api/projects/"), 404, "not_found")
    answer = await api.http.delete("/api/projects")
    assert problem(answer, 405, "method_not_allowed")["allow"] == "GET, HEAD, OPTIONS, POST"
    answer = await api.http.delete("/api/auth/me")
    assert problem(answer, 405, "method_not_allowed")["allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_a_path_or_query_of_the_wrong_shape_names_the_field(api: Api) -> None:
    found = problem(await api.http.get("/api/projects/seven"), 422, "invalid_request")
    assert (found["errors"][0]["in"], found["errors"][0]["field"]) == ("path", "project_id")
    found = problem(await api.http.get("/api/projects", params={"limit": 201}), 422, "invalid_request")
    assert (found["errors"][0]["in"], found["errors"][0]["field"]) == ("query", "limit")


@pytest.mark.parametrize("path", ["/api/projects?text=a%00b", "/api/projects/a%00b"])
async def test_a_nul_in_an_address_is_refused(api: Api, path: str) -> None:
    problem(await api.http.get(path), 422, "invalid_request")


async def test_an_unknown_method_is_one_label(api: Api) -> None:
    for method in ("BREW", "WHEN"):
        problem(await api.http.request(method, "/api/auth/me"), 405, "method_not_allowed")
    text = api.services.metrics.text().decode()
    assert 'method="other",route="unmatched",status="405"} 2.0' in text
    assert "BREW" not in text


async def test_a_dashboard_elsewhere_may_call_when_it_is_named(story: Story, tmp_path: Path) -> None:
    named, stranger = "https://dashboard.example", "https://stranger.example"
    async with api_in_memory(story, tmp_path, cors_origins=[named]) as api, api.client(None) as browser:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        allowed = await browser.options("/api/projects", headers={"Origin": named, **asked})
        assert allowed.headers["access-control-allow-origin"] == named
        refused = await browser.options("/api/projects", headers={"Origin": stranger, **asked})
        assert "access-control-allow-origin" not in refused.headers
        answer = await api.http.get("/api/auth/me", headers={"Origin": named})
        assert answer.headers["access-control-allow-origin"] == named
        assert "Toybox-Position" in answer.headers["access-control-expose-headers"]
        without_key = await browser.get("/api/auth/me", headers={"Origin": named})
        assert problem(without_key, 401, "not_authenticated")
        assert without_key.headers["access-control-allow-origin"] == named


async def test_requests_are_counted_by_route_and_never_by_id(api: Api) -> None:
    project = derived_id("somebody's project")
    await api.http.post(f"/api/projects/{project}/start")
    text = api.services.metrics.text().decode()
    assert str(project) not in text
    assert 'route="/api/projects/{project_id}/start",status="404"' in text
    assert list(text_string_to_metric_families(text))


async def test_health_answers_without_asking_anybody(api: Api) -> None:
    async with api.client(None) as nobody:
        assert (await nobody.get("/health")).json() == {"status": "ok"}
        assert (await nobody.get("/ready")).json() == {"status": "ready"}


async def test_the_document_and_the_page_show_every_route(api: Api) -> None:
    document = (await api.get("/openapi.json")).json()
    page = (await api.get("/docs")).text
    for method, route in routes(api):
        if route.include_in_schema:
            assert method.lower() in document["paths"][route.path]
            assert route.path in page
    assert "<script" not in page
