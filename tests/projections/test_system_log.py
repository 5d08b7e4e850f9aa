"""The system log: a line for every public event, found by its plain fields, with nothing sealed or private in it."""

from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from domain.agents import Agent
from domain.budgets import Budget
from domain.errors import Unavailable
from domain.kernel import EVENT_TYPES, Event, load_payload
from domain.llm_jobs import LlmJob
from domain.projects import Project
from projections.log_lines import Level, LogLine, line_of, says
from projections.log_lines.rendering import LONGEST, SEALED, WORDINGS, shown
from projections.projector import Applied, Connections, reading, rebuild
from projections.system_log import EVERYTHING, LogFilter, SystemLog, system_log
from tests.projections.town import busy
from tests.support.projections import Contents, Writing, assert_same, contents


async def lines(connections: Connections, wanted: LogFilter = EVERYTHING, most: int = 200) -> list[LogLine]:
    async with reading(connections, SystemLog) as read:
        found: list[LogLine] = []
        cursor = None
        while True:
            page = await system_log(read.connection, wanted, cursor=cursor, limit=most)
            assert len(page.items) <= 200
            found += page.items
            cursor = page.next
            if cursor is None:
                return found


async def test_every_public_event_of_a_town_has_one_line_and_no_private_one_has_any(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, SystemLog())
    found = await lines(connections, most=10_000)
    public = [each for each in busy().events if not EVENT_TYPES[each.type].PRIVATE]
    assert len(public) < len(busy().events)
    assert [each.position for each in found] == [each.position for each in reversed(public)]
    for line, stored in zip(reversed(found), public, strict=True):
        assert (line.type, line.actor, line.project_id, line.recorded_at) == (
            stored.type,
            stored.actor,
            stored.project_id,
            stored.recorded_at,
        )
        assert line.line
        assert not SEALED.search(line.line), line.line
        assert "{" not in line.line
        assert "None" not in line.line


async def test_lines_speak_of_things_by_their_names(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, SystemLog())
    said = {each.line for each in await lines(connections)}
    assert "project Project 1: started with phase collect" in said
    assert "agent reader: attempt 1 of run 1 began" in said
    assert "agent joiner: defined in phase collect" in said
    assert "project Project 1: agent joiner added to phase collect, after checker, counter" in said
    assert any(line.startswith("llm job reader 1.1: answered by scripted/scripted-small-1") for line in said)
    assert any(line.startswith("budget global: ") for line in said)
    assert any(line.startswith("budget project Project ") for line in said)
    assert any(line.startswith("checkpoint Good enough? (editor): ") for line in said)
    assert any(line.startswith("asset reader.md: version 1") for line in said)


async def test_the_log_is_searched_by_its_plain_fields(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, SystemLog())
    whole = await lines(connections)
    project = next(iter(busy().all(Project)))
    agent = next(stream for stream, each in busy().all(Agent).items() if each.project_id)

    async def check(wanted: LogFilter, positions: list[int]) -> None:
        assert positions
        assert [each.position for each in await lines(connections, wanted, most=7)] == positions

    await check(LogFilter(project_id=project), [each.position for each in whole if each.project_id == project])
    await check(LogFilter(stream_id=agent), [each.position for each in whole if each.stream_id == agent])
    types = [Agent.Ready.TYPE, Budget.Opened.TYPE]
    await check(LogFilter(types=types), [each.position for each in whole if each.type in types])
    await check(LogFilter(levels=["error"]), [each.position for each in whole if each.level == "error"])
    loud: list[Level] = ["warning", "error"]
    await check(LogFilter(levels=loud), [each.position for each in whole if each.level in loud])
    await check(LogFilter(levels=["warning"]), [each.position for each in whole if each.level == "warning"])
    await check(LogFilter(levels=["info", "error"]), [each.position for each in whole if each.level != "warning"])
    assert await lines(connections, LogFilter(levels=[])) == []
    text = "PHASE WRITE"
    await check(LogFilter(text=text), [each.position for each in whole if text.lower() in each.line.lower()])
    await check(LogFilter(actor="owner", up_to=50), [each.position for each in whole if each.position <= 50])
    assert await lines(connections, LogFilter(project_id=UUID(int=1))) == []
    assert await lines(connections, LogFilter(text="%")) == [each for each in whole if "%" in each.line]


async def test_what_went_wrong_is_louder_than_what_went_well(connections: Connections) -> None:
    levels: dict[str, Level] = {name: wording.level for name, wording in WORDINGS.items()}
    assert {levels[name] for name in ("project.failed", "agent.failed", "llm_job.failed", "budget.overdrawn")} == {
        "error"
    }
    assert {levels[name] for name in ("llm_job.parked", "agent.retry_scheduled", "checkpoint.expired")} == {"warning"}
    assert Counter(levels.values())["info"] > 30


def test_words_that_name_no_field_or_a_sealed_one_are_refused() -> None:
    with pytest.raises(TypeError, match="has no field colour"):
        says(Project.Paused, "paused by {colour}")
    with pytest.raises(TypeError, match="sealed text"):
        says(Project.Paused, "paused: {note}")
    with pytest.raises(TypeError, match="sealed text"):
        says(Project.Initialized, "given {inputs}")
    with pytest.raises(TypeError, match="has no field colour"):
        says(Project.Paused, "paused for {reason colour}")
    with pytest.raises(TypeError, match="has no field timestamp"):
        says(Project.Paused, "paused at {timestamp}")
    assert WORDINGS[Project.Paused.TYPE].text == "paused ({reason})"


def test_an_event_without_words_shows_its_plain_fields_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(WORDINGS, Agent.Defined.TYPE)
    stored = next(each for each in busy().events if each.type == Agent.Defined.TYPE and each.project_id)
    level, line = line_of(stored.type, load_payload(stored), "reader")
    assert (level, line[:22]) == ("info", "agent reader: defined ")
    assert "name=reader" in line
    assert "phase=collect" in line
    assert "on_failure=" in line
    assert "prompt" not in line
    assert not SEALED.search(line)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (7, "7"),
        ("so", "so"),
        (f"s1.{'0' * 32}.secret", ""),
        (["a", f"s1.{'0' * 32}.secret", "b"], "a, b"),
        ([], ""),
        ({"kind": "checkpoint", "name": "editor", "note": "more"}, "checkpoint editor"),
        ({"sealed": "s1"}, ""),
        (object(), ""),
    ],
)
def test_plain_values_are_spelled_as_people_read_them(value: object, words: str) -> None:
    assert shown(value) == words


@pytest.mark.parametrize(
    ("kind", "payload", "said"),
    [
        (
            LlmJob.Parked,
            {"requested": "1200", "limit": "1000", "scope": "global", "settled": "0", "held": "0"}
            | {"unit": "total_tokens"},
            "llm job: parked: 1200 total tokens do not fit under 1000 total tokens of global (0 spent, 0 held)",
        ),
        (
            LlmJob.Parked,
            {"requested": "1.5", "limit": "1", "scope": "global", "settled": "0.5", "held": "0", "unit": "usd"},
            "llm job: parked: 1.5 USD do not fit under 1 USD of global (0.5 spent, 0 held)",
        ),
        (
            Budget.LimitAdded,
            {"limit": "1000", "unit": "input_tokens", "name": "input-tokens-day-utc"},
            "budget: limited to 1000 input tokens besides (input-tokens-day-utc)",
        ),
        (
            Budget.Reserved,
            {"amount": "0", "input_tokens": 900, "output_tokens": 100, "attempt_id": "a"},
            "budget: 0 USD, 900 input and 100 output tokens held for try a",
        ),
        (
            Budget.Overdrawn,
            {"attempt_id": "a", "amount": "110", "held": "100", "unit": "output_tokens"},
            "budget: overdrawn: try a took 110 output tokens, 100 output tokens were held",
        ),
        (
            Agent.Progressed,
            {"attempt": 1, "run": 2, "percentage": 40},
            "agent: attempt 1 of run 2 is at 40 %",
        ),
        (Agent.Waiting, {"attempt": 1, "run": 2, "waiting_for": []}, "agent: attempt 1 of run 2 is held back"),
        (
            Agent.Waiting,
            {"attempt": 1, "run": 2, "waiting_for": [{"kind": "budget", "id": "b", "name": "global"}]},
            "agent: attempt 1 of run 2 is held back: waits for budget global",
        ),
    ],
)
def test_amounts_are_told_with_their_units_and_empty_parts_left_out(
    kind: type[Event], payload: dict[str, Any], said: str
) -> None:
    assert line_of(kind.TYPE, payload, None)[1] == said


def test_a_line_has_an_end() -> None:
    whole = {"name": "n" * 2000}
    assert line_of(Project.PhaseAdded.TYPE, whole, "Notes")[1] == f"project Notes: phase {'n' * 2000}"[:LONGEST]


@pytest.mark.parametrize("size", [1, 7])
async def test_names_reach_lines_whichever_batch_gave_them(connections: Connections, size: int) -> None:
    """Small batches know names from the rows, one large batch from its own events alone."""
    events = busy().events[:600]

    async def built_by(size: int) -> Contents:
        async with connections.connection() as connection, connection.transaction(force_rollback=True):
            await connection.execute(SystemLog().ddl().encode())
            for start in range(0, len(events), size):
                await SystemLog().apply(connection, [Applied(each) for each in events[start : start + size]])
            return await contents(connection, SystemLog().tables())

    whole = await built_by(len(events))
    assert len(whole["system_log_names"]) > 50
    assert_same(await built_by(size), whole, f"batches of {size} and a whole one differ")


async def test_a_type_of_tomorrow_is_refused_not_passed_over(connections: Connections) -> None:
    log = Writing()
    log.add_unknown(UUID(int=7))
    async with connections.connection() as connection, connection.transaction(force_rollback=True):
        with pytest.raises(Unavailable, match="upgrade this process"):
            await SystemLog().apply(connection, [Applied(each) for each in log.events])
