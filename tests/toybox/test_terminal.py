"""What people see: amounts, times, the picture of a project, changes between two moments."""

from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from typing import Any

import pytest
from rich.console import Console

from domain.errors import NotFound
from toybox.cli.history import changes
from toybox.client import Client
from toybox.terminal.naming import one_of, project_id
from toybox.terminal.output import dollars, figures, forget_consoles, money, show, span, table
from toybox.terminal.picture import enough, limit_of, picture, shortfall
from toybox.terminal.watching import Standing

Json = dict[str, Any]
PROJECT_ID = "45f061d9-4b93-56e4-b9a8-fbc38e461c08"
SHORTAGE: Json = {
    "kind": "budget", "job_id": "7b", "agent_id": "a2", "agent": "draft", "budget_id": "b1", "scope": "phase write",
    "limit": "0.02", "settled": "0.0123", "held": "0", "requested": "0.0101", "since": "2026-11-21T10:00:00Z",
    "name": "usd-lifetime", "unit": "usd", "retry_at": None,
}  # fmt: skip
TOKENS: Json = SHORTAGE | {
    "name": "total-tokens-day-utc", "unit": "total_tokens", "limit": "20000", "settled": "19000", "held": "500",
    "requested": "1200", "retry_at": "2026-11-22T00:00:00Z",
}  # fmt: skip
LIMITS: list[Json] = [
    {"name": "usd-lifetime", "unit": "usd", "limit": "0.02", "settled": "0.0123", "held": "0"},
    {"name": "total-tokens-day-utc", "unit": "total_tokens", "limit": "20000", "settled": "19000", "held": "500"},
]


def agent(number: int, name: str, status: str = "defined", **more: object) -> Json:
    known: Json = {
        "id": f"a{number}", "name": name, "status": status, "run": 1, "attempt": 1, "percentage": None,
        "depends_on": [], "waiting_for": [], "asset": None, "failure": None, "skipped_because": None,
        "retry_at": None, "spent": "0", "job": None,
    }  # fmt: skip
    return known | more


def project(*agents: Json, **more: object) -> Json:
    known: Json = {
        "id": PROJECT_ID, "name": "notes", "status": "running", "reason": None, "failed_agent": None, "phase": "write",
        "phases": [{"name": "write", "status": "running", "agents": list(agents)}], "waiting": [], "spent": "0.0123",
        "held": "0", "started_at": None, "ended_at": None,
    }  # fmt: skip
    return known | more


def drawn(view: Json, budgets: list[Json] | None = None, *, width: int = 80, encoding: str = "utf-8") -> str:
    nowhere = TextIOWrapper(BytesIO(), encoding, errors="replace")
    console = Console(width=width, color_system=None, record=True, file=nowhere)
    console.print(picture(view, budgets, console))
    return console.export_text()


@pytest.mark.parametrize(
    ("amount", "aligned", "said"),
    [
        ("0", "$0.0000", "$0.00"),
        ("0.5", "$0.5000", "$0.50"),
        ("0.007293", "$0.0073", "$0.0073"),
        ("0.000045", "$0.000045", "$0.000045"),
        ("0.000000000001", "$0.000000000001", "$0.000000000001"),
        ("1234.5", "$1,234.5000", "$1,234.50"),
        ("-0.25", "-$0.2500", "-$0.25"),
    ],
)
def test_amounts_align_in_tables_and_are_short_in_sentences(amount: str, aligned: str, said: str) -> None:
    assert (money(amount), dollars(amount)) == (aligned, said)


@pytest.mark.parametrize(("seconds", "said"), [(0.44, "0.4 s"), (12.3, "12 s"), (65, "1:05"), (3_725, "1:02:05")])
def test_spans_are_as_exact_as_people_need(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_the_picture_says_what_every_agent_waits_for() -> None:
    shown = drawn(
        project(
            agent(1, "facts", "completed", asset={"name": "facts.md", "version": 1}, spent="0.0123"),
            agent(2, "draft", "running", job={"id": "j", "status": "parked"}, attempt=2),
            agent(3, "check", depends_on=["draft"]),
            agent(4, "gate", "waiting", waiting_for=[{"kind": "checkpoint", "id": "c", "name": "Good?"}]),
            agent(5, "late", "failed", failure={"code": "timeout", "reason": "no answer in 60 s"}),
            agent(6, "rest", "skipped", skipped_because="late"),
            waiting=[SHORTAGE],
        ),
        [{"id": "b1", "scope": {"kind": "phase", "phase": "write"}, "limits": LIMITS}],
    )
    for line in (
        "notes  45f061d9  running",
        "write ✔ facts facts.md",
        "● draft waits for budget, attempt 2",
        "○ check after draft",
        "◆ gate  waits for checkpoint Good?",
        "✘ late  no answer in 60 s",
        "↷ rest  because late failed",
        "$0.0123 of $0.02",
        "phase write: total-tokens-day-utc",
        "19,000 of 20,000 total tokens, 500 held",
        "draft waits for money: the budget of phase write is $0.02",
    ):
        assert line in shown


def test_the_picture_keeps_to_the_width_and_to_the_characters_of_the_terminal() -> None:
    view = project(agent(1, "facts", "completed", asset={"name": "x" * 200, "version": 1}))
    narrow = drawn(view, [], width=40)
    assert "write ✔ facts xxx" in narrow
    assert max(len(line) for line in narrow.splitlines()) <= 40
    assert "+ facts" in drawn(view, [], encoding="ascii")


def test_a_failed_project_says_which_agent_and_why() -> None:
    broken = agent(1, "facts", "failed", failure={"code": "timeout", "reason": "no answer in 60 s"})
    shown = drawn(project(broken, status="failed", reason="agent_failed", failed_agent="facts"))
    assert "failed: agent failed: facts: no answer in 60 s" in shown


def test_a_shortage_names_the_limit_that_would_do() -> None:
    assert "the next call may cost $0.0101" in shortfall(SHORTAGE)
    assert str(enough(SHORTAGE)) == "0.03"


def test_a_shortage_of_tokens_is_told_in_tokens_and_with_the_end_of_its_window() -> None:
    said = shortfall(TOKENS)
    assert "the budget of phase write (total-tokens-day-utc) is 20,000 total tokens" in said
    assert "the next call may take 1,200 total tokens; it asks again at 2026-11-2" in said
    assert str(enough(TOKENS)) == "20700"


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ({"kind": "global"}, "global"),
        ({"kind": "provider", "provider": "openai"}, "provider openai"),
        ({"kind": "model", "provider": "openai", "model": "gpt-5-mini"}, "model openai/gpt-5-mini"),
        ({"kind": "key", "key_id": PROJECT_ID}, "key 45f061d9"),
    ],
)
def test_a_budget_is_called_by_what_it_covers(scope: Json, said: str) -> None:
    assert limit_of({"scope": scope}, LIMITS[0]) == said
    assert limit_of({"scope": scope}, LIMITS[1]) == f"{said}: total-tokens-day-utc"


@pytest.mark.parametrize(
    ("view", "stuck"),
    [
        (project(agent(1, "a", "running", job={"id": "j", "status": "parked"}), waiting=[SHORTAGE]), True),
        (project(agent(1, "a", "running", job={"id": "j", "status": "parked"})), False),
        (
            project(
                agent(1, "a", "running", job={"id": "j", "status": "parked"}),
                agent(2, "b", "running", job={"id": "k", "status": "running"}),
                waiting=[SHORTAGE],
            ),
            False,
        ),
        (
            project(
                agent(1, "a", "running", job={"id": "j", "status": "parked"}),
                waiting=[SHORTAGE, {"kind": "checkpoint", "checkpoint_id": "c", "agent": "b", "title": "?"}],
            ),
            False,
        ),
        (
            project(agent(1, "a", "running", job={"id": "j", "status": "parked"}), status="paused", waiting=[SHORTAGE]),
            False,
        ),
    ],
)
def test_a_project_is_stuck_only_when_nothing_but_money_could_move_it(view: Json, stuck: bool) -> None:
    assert Standing(view, [], 1).is_stuck is stuck


def test_changes_between_two_moments_are_told_in_names() -> None:
    before = project(agent(1, "facts", "running"))
    after = project(agent(1, "facts", "completed", asset={"name": "facts.md", "version": 1}), waiting=[SHORTAGE])
    told = [" ".join(line.plain.split()) for line in changes(before, after)]
    assert told == [
        "facts status: running → completed",
        "facts asset: – → facts.md version 1",
        "waits: draft for budget",
    ]
    assert next(iter(changes(None, after))).plain == "the project did not exist before"


ROW = ("bf5febba", "release-notes of the winter", "completed", "$0.0623", "4,833", "2026-11-21 13:58")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (100, ROW),
        (60, (*ROW[:1], "release-notes of the w…", *ROW[2:5])),
        (45, (*ROW[:1], "release-notes …", *ROW[2:4])),
        (30, (*ROW[:1], "release-notes of th…")),
        (5, ("bf5f…",)),
    ],
)
def test_a_narrow_table_leaves_out_its_last_columns_and_never_cuts_a_figure(
    width: int, shown: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    forget_consoles()
    show(table("ID", "NAME", "STATUS", figures("SPENT"), figures("BYTES"), "CREATED"), [ROW], "nothing")
    lines = capsys.readouterr().out.splitlines()
    forget_consoles()
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    assert " ".join(lines[1].split()) == " ".join(shown)


class Listing(Client):
    """A server with these projects."""

    def __init__(self, *names: str) -> None:
        super().__init__("http://127.0.0.1:1", "tbx_key")
        self._names = names

    def pages(self, path: str, *, limit: int | None = None, **params: object) -> Iterator[Json]:
        return iter(
            {"id": f"{number:08}-0", "name": name, "status": "running"} for number, name in enumerate(self._names)
        )


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("release-notez", "did you mean release-notes?"),
        ("0f", "give at least 4 characters of an id"),
        ("harbour", "toybox projects lists them"),
    ],
)
def test_a_project_that_is_not_there_is_answered_with_what_could_be_meant(said: str, hint: str) -> None:
    with pytest.raises(NotFound, match=hint):
        project_id(Listing("release-notes", "research"), said)


def test_a_short_id_is_told_to_be_short() -> None:
    with pytest.raises(NotFound, match="give at least 4 characters"):
        one_of([{"id": PROJECT_ID}], "45f", "budget", "toybox budgets")
