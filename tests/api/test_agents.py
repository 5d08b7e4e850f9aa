"""Agents over HTTP: the library, a project's own, their log, configuring, cancelling, running again."""

from domain.ids import library_agent_id
from domain.values import derived_id
from tests.api.working import Worker, started
from tests.support.client import Api, problem


async def test_the_library_is_kept_shown_and_copied_from(whole_api: Api) -> None:
    api = whole_api
    editor = {"name": "editor", "instructions": "You edit.", "prompt": "Edit it.", "retries": 1}
    answer = await api.post("/api/agents", editor)
    stream = str(library_agent_id("editor"))
    assert (answer.json()["id"], answer.headers["location"]) == (stream, f"/api/agents/{stream}")
    problem(await api.http.post("/api/agents", json=editor), 409, "conflict")
    await api.http.patch(f"/api/agents/{stream}", json={"prompt": "Edit it well."})
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    await api.post(f"/api/projects/{project}/phases", {"name": "edit"})
    added = await api.post(
        f"/api/projects/{project}/agents", {"name": "copy", "phase": "edit", "library": "editor"}, **{"If-Match": '"2"'}
    )
    head = added.headers["toybox-position"]
    listed = (await api.get("/api/agents", min_position=head)).json()["items"]
    assert [(each["name"], each["definition"]["prompt"]) for each in listed] == [("editor", "Edit it well.")]
    copy = await api.get(added.headers["location"])
    assert copy.json()["definition"]["instructions"] == "You edit."
    assert copy.json()["definition"]["retries"] == 1
    await api.http.delete(added.headers["location"])
    await api.http.delete(f"/api/agents/{stream}")
    head = await api.store.head()
    assert (await api.get("/api/agents", min_position=head)).json()["items"] == []
    assert len((await api.get("/api/agents", removed="true")).json()["items"]) == 1


async def test_an_agent_tells_what_it_did_and_runs_again(whole_api: Api) -> None:
    api = whole_api
    project = await started(api)
    before = await api.store.head()
    head = await Worker(api).work()
    writer = next(
        each["id"]
        for each in (await api.get(f"/api/projects/{project}/agents", min_position=head)).json()["items"]
        if each["name"] == "writer"
    )
    path = f"/api/agents/{writer}"
    shown = await api.get(path, min_position=head)
    assert (shown.json()["status"], shown.json()["attempts"][0]["outcome"]) == ("waiting", "in review")
    assert (await api.get(path, as_of=before)).json()["status"] == "defined"
    lines = (await api.get(f"{path}/log", limit=2)).json()
    assert len(lines["items"]) == 2
    more = (await api.get(f"{path}/log", cursor=lines["next"])).json()["items"]
    positions = [each["position"] for each in (*lines["items"], *more)]
    assert positions == sorted(positions, reverse=True)
    await api.post(f"{path}/reset", {}, **{"If-Match": shown.headers["etag"]})
    await api.post(f"{path}/cancel", {"note": "enough"})
    head = await Worker(api).work()
    assert (await api.get(path, min_position=head)).json()["status"] == "cancelled"
    problem(await api.http.post(f"{path}/cancel"), 422, "wrong_status")


async def test_agents_that_are_not_there_are_not_found(api: Api) -> None:
    nowhere = derived_id("nowhere")
    problem(await api.http.patch(f"/api/agents/{nowhere}", json={}), 404, "not_found")
    problem(await api.http.post(f"/api/agents/{nowhere}/cancel"), 404, "not_found")
    problem(await api.http.post(f"/api/agents/{nowhere}/reset"), 404, "not_found")
    problem(await api.http.delete(f"/api/agents/{nowhere}"), 404, "not_found")
    problem(await api.http.get(f"/api/agents/{nowhere}/log"), 404, "not_found")
    await api.post("/api/agents", {"name": "editor"})
    problem(await api.http.post(f"/api/agents/{library_agent_id('editor')}/cancel"), 404, "not_found")


async def test_an_agent_of_a_wrong_shape_is_refused(api: Api) -> None:
    project = (await api.post("/api/projects", {"name": "x"})).json()["id"]
    path = f"/api/projects/{project}/agents"
    problem(await api.http.post(path, json={"name": "a b", "phase": "x"}), 422, "invalid_request")
    problem(await api.http.post(path, json={"name": "a", "phase": "nowhere"}), 422, "unknown_phase")
    problem(await api.http.post(path, json={"name": "a", "phase": "x", "project_id": project}), 422, "invalid_request")


async def test_an_agent_that_was_cancelled_is_retried(whole_api: Api) -> None:
    project = await started(whole_api)
    head = await Worker(whole_api).work()
    agents = (await whole_api.get(f"/api/projects/{project}/agents", min_position=head)).json()["items"]
    path = f"/api/agents/{next(each['id'] for each in agents if each['name'] == 'writer')}"
    problem(await whole_api.http.post(f"{path}/retry"), 422, "wrong_status")
    await whole_api.post(f"{path}/cancel")
    head = await Worker(whole_api).work()
    assert (await whole_api.get(f"/api/projects/{project}", min_position=head)).json()["status"] == "failed"
    answer = await whole_api.post(f"{path}/retry")
    head = answer.headers["toybox-position"]
    shown = (await whole_api.get(path, min_position=head)).json()
    assert (shown["run"], shown["status"]) == (2, "defined")
    assert (await whole_api.get(f"/api/projects/{project}", min_position=head)).json()["status"] == "running"
