"""Cost reports over HTTP: periods and groups, CSV that comes back as it went, trees that add up, and bad questions."""

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from api.spreadsheets import Name, csv_text
from bench.load.spending import load
from bench.reports import asked
from domain.values import derived_id
from tests.api.working import BLUEPRINT, Worker, started
from tests.support.client import Api, api_on_postgres, problem
from tests.support.postgres import fresh_database
from toybox.terminal.explaining import lines_of_tree, wrong

PLAIN = BLUEPRINT.replace('checkpoint: {title: "Publish?", question: "Is it true?"}', "")
REPORT = "/api/cost/report"


async def spent(api: Api) -> tuple[str, int]:
    """A project that ran to its end, and the head."""
    project = await started(api, PLAIN)
    return project, await Worker(api).work()


async def test_a_report_tells_periods_groups_averages_and_the_time_before(whole_api: Api) -> None:
    api = whole_api
    project, head = await spent(api)
    asked: dict[str, Any] = {"group_by": "agent,tier", "zone": "Asia/Kolkata", "min_position": head}
    told = (await api.get(REPORT, **asked)).json()
    assert {(each["agent"], each["tier"], each["amount"]) for each in told["items"]} == {
        ("writer", "standard", "0.4"),
        ("editor", "standard", "0.4"),
    }
    assert {each["project_id"] for each in told["items"]} == {project}
    assert all(each["begins"].endswith("T00:00:00+05:30") for each in told["items"])
    assert (told["total"]["amount"], told["total"]["attempts"], told["total"]["per_attempt"]) == ("0.8", 2, "0.4")
    tokens = told["total"]["input_tokens"] + told["total"]["output_tokens"]
    assert Decimal(told["total"]["per_1k_tokens"]) == (Decimal(800) / tokens).quantize(Decimal("1e-12"))
    assert (told["previous"]["total"]["amount"], told["previous"]["change"]) == ("0", "0.8")
    assert told["previous"]["change_percent"] is None
    first = (await api.get(REPORT, **asked, limit=1)).json()
    second = (await api.get(REPORT, **asked, limit=1, cursor=first["next"])).json()
    assert [*first["items"], *second["items"]] == told["items"]
    assert second["next"] is None
    whole = (await api.get(REPORT, bucket="none", group_by="key")).json()
    assert [each["amount"] for each in whole["items"]] == ["0.8"]
    assert whole["items"][0]["key_id"] is not None, "whoever started the project did so with a key"
    assert whole["previous"] is None
    own = (await api.get(REPORT, bucket="none", key_id=whole["items"][0]["key_id"])).json()
    assert own["total"]["amount"] == "0.8"
    assert (await api.get("/api/cost", by="key")).json()["items"][0]["key_id"] == whole["items"][0]["key_id"]


async def test_history_has_no_gaps_and_top_spenders_are_compared(whole_api: Api) -> None:
    api = whole_api
    project, head = await spent(api)
    history = (await api.get("/api/cost/history", zone="Europe/Berlin", min_position=head)).json()
    assert len(history["items"]) == 30
    assert all(one["ends"] == two["begins"] for one, two in zip(history["items"], history["items"][1:], strict=False))
    assert (history["items"][-1]["cumulative"], history["items"][0]["amount"]) == ("0.8", "0")
    top = (await api.get("/api/cost/top", by="agent", limit=1)).json()
    assert [(each["amount"], each["share"], each["before"]) for each in top["items"]] == [("0.4", "0.5", "0")]
    assert (top["others"], top["total"]["amount"]) == ("0.4", "0.8")
    (only,) = (await api.get("/api/cost/top", by="project")).json()["items"]
    assert only["project_id"] == project


async def test_csv_comes_back_as_the_json_says_and_carries_no_formula(whole_api: Api) -> None:
    api = whole_api
    evil = "=cmd|' /C calc'!A0"
    created = await api.post("/api/projects", {"blueprint": PLAIN, "name": evil})
    await api.post(f"/api/projects/{created.json()['id']}/start")
    head = await Worker(api).work()
    asked: dict[str, Any] = {"group_by": ["project", "model"], "min_position": head}
    told = (await api.get(REPORT, **asked)).json()["items"]
    answer = await api.http.get(REPORT, params=asked, headers={"Accept": "text/csv, application/json;q=0.5"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.text.count("\r\n") == len(told) + 1
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert row["project"] == f"'{evil}"
    assert (row["amount"], int(row["attempts"]), row["begins"]) == ("0.8", 2, told[0]["begins"])
    assert {name for name in told[0] if name != "besides"} == set(row)
    by_parameter = await api.get(REPORT, **asked, format="csv")
    assert by_parameter.text == answer.text


def test_cells_are_quoted_as_rfc_4180_says_and_come_back_whole() -> None:
    names = ['a"b', "a,b", "a\r\nb", "=1+1", "+1", "-1", "@x", "\tx", "plain", "\uff1d1"]
    text = csv_text(["name", "amount"], [[Name(each), "-0.5"] for each in names])
    back = list(csv.reader(io.StringIO(text, newline="")))
    assert back[0] == ["name", "amount"]
    assert [row[0].removeprefix("'") for row in back[1:]] == names
    assert all(row[1] == "-0.5" for row in back[1:]), "an amount is no formula"
    assert [row[0] for row in back[1:] if row[0].startswith("'")] == [
        f"'{each}" for each in ("=1+1", "+1", "-1", "@x", "\tx", "\uff1d1")
    ]


def by_the_card(node: Any) -> Any:
    """The same tree with rates that the staged bills could have been made at."""
    for line in (node.get("detail") or {}).get("lines", ()):
        line.update(rate=line["amount"], per=line["quantity"])
    for each in node["parts"]:
        by_the_card(each)
    return node


async def test_a_tree_adds_up_and_a_difference_is_told(whole_api: Api) -> None:
    api = whole_api
    project, head = await spent(api)
    answer = (await api.get("/api/cost/tree", project_id=project, min_position=head)).json()
    assert (answer["tree"]["amount"], answer["reported"], answer["tree"]["attempts"]) == ("0.8", "0.8", 2)
    staged = wrong(answer)
    assert staged
    assert all("quantity x rate" in each for each in staged), "the staged bills were not made from a card"
    by_the_card(answer["tree"])
    assert wrong(answer) == []
    said = list(lines_of_tree(answer["tree"]))
    recorded = [each.position for each in await api.events() if each.type == "cost.recorded"]
    assert all(any(f"event {position}" in line for line in said) for position in recorded)
    assert any(" x " in line and "card " in line for line in said)
    phase = answer["tree"]["parts"][0]
    agent = phase["parts"][0]
    attempt = agent["parts"][0]["parts"][0]["parts"][0]
    assert [phase["kind"], agent["kind"], attempt["kind"]] == ["phase", "agent", "attempt"]
    for scope, key in (("agent_id", agent["id"]), ("attempt_id", attempt["id"])):
        own = (await api.get("/api/cost/tree", **{scope: key})).json()
        by_the_card(own["tree"])
        assert wrong(own) == []
    attempt["detail"]["lines"][0]["amount"] = "0.3"
    assert any("the difference is" in each for each in wrong(answer))
    attempt["detail"]["lines"][0]["amount"], answer["reported"] = "0", "0.7"
    assert any(each.startswith("what reports say") and "-0.1" in each for each in wrong(answer))


@pytest.mark.parametrize(
    ("path", "params", "code", "saying"),
    [
        (REPORT, {"zone": "Mars/Olympus"}, "unknown_time_zone", "Europe/Berlin"),
        (REPORT, {"from": "2026-05-02", "to": "2026-05-01"}, "invalid_range", "from comes first"),
        (REPORT, {"from": "2020-01-01", "to": "2026-01-01"}, "too_many_buckets", "bucket=week"),
        (REPORT, {"group_by": "colour"}, "unknown_group", "choose among"),
        (REPORT, {"from": "yesterday"}, "invalid_request", "2026-11-01"),
        (REPORT, {"from": "0001-01-01"}, "invalid_request", "after 1970"),
        (REPORT, {"from": "2026-05-01T10:07:00Z"}, "no_quarter_hour", ":15"),
        (REPORT, {"from": "1970-01-01", "to": "9000-01-01", "bucket": "none"}, "invalid_range", "ask for less time"),
        ("/api/cost/top", {"from": "1970-01-01", "to": "9000-01-01"}, "invalid_range", "ask for less time"),
        (REPORT, {"bucket": "year"}, "invalid_request", ""),
        (REPORT, {"limit": 100000}, "invalid_request", ""),
        (REPORT, {"cursor": "abc"}, "invalid_cursor", ""),
        (REPORT, {"format": "xlsx"}, "invalid_request", ""),
        ("/api/cost/top", {"by": "day"}, "invalid_request", ""),
        ("/api/cost/tree", {}, "invalid_request", "exactly one"),
        (
            "/api/cost/tree",
            {"job_id": str(derived_id("a")), "agent_id": str(derived_id("b"))},
            "invalid_request",
            "one",
        ),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_with_what_to_ask(
    whole_api: Api, path: str, params: dict[str, str], code: str, saying: str
) -> None:
    found = problem(await whole_api.http.get(path, params=params), 422, code)
    assert saying in found["detail"]


async def test_nobody_reads_costs_without_the_permission(whole_api: Api) -> None:
    stranger = whole_api.client(await whole_api.key("projects.read"))
    for path in (REPORT, "/api/cost/history", "/api/cost/top", f"/api/cost/tree?job_id={derived_id('x')}"):
        problem(await stranger.get(path), 403, "not_allowed")
    problem(await whole_api.http.get(f"/api/cost/tree?job_id={derived_id('x')}"), 404, "not_found")


async def test_the_measured_mix_of_reports_is_answered_over_generated_costs(
    postgres_server: str, postgres_with_read_models: str, tmp_path: Path
) -> None:
    with fresh_database(postgres_server, template=postgres_with_read_models) as conninfo:
        assert "20,000 facts" in await load(conninfo, 20_000, 10_000)
        async with api_on_postgres(conninfo, tmp_path) as api:
            for path, params in asked().values():
                answer = (await api.get(path, **params)).json()
                assert answer["items"], params
