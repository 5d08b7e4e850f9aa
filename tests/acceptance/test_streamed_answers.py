"""Answers as they come, through the vendors' own SDKs: whole and once, whoever leaves, whatever breaks."""

import asyncio
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx
import orjson
import psycopg
import pytest

from api.app import close_feeds
from api.streaming import JobListener
from commands.budgets import ChangeBudgetLimit, OpenBudget
from commands.identity.access_keys import RevokeAccessKey
from commands.providers import RegisterProvider
from domain.identity.tokens import parse_token
from domain.ids import Scope, budget_id
from domain.providers import ProviderConfig
from tests.acceptance.product import CARD
from tests.support.answering import Reader, follow, parsed
from tests.support.client import problem as found_problem
from tests.support.desk import desk

WORDS = " ".join(f"word{number}" for number in range(60))
EVERYTHING = Scope(kind="global")


def problem(answer: httpx.Response, status: int, code: str, **facts: str) -> dict[str, Any]:
    """The problem that was answered, with these facts in it."""
    found = found_problem(answer, status, code)
    assert facts.items() <= found.items()
    return found


async def test_an_answer_comes_as_it_is_written_and_ends_with_its_bill(
    database: str, tmp_path: Path, loopback: str
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        it.vendor.behave(text=WORDS, pause=0.005)
        reader = Reader()
        answer = await it.ask(reader)
        assert answer.headers["content-type"].startswith("text/event-stream")
        stored = await it.detail(answer.headers["location"])
    assert reader.text == WORDS == stored["output"]["text"]
    assert [each for each in reader.names if each != "first_token"] == ["queued", "admitted", "started", "completed"]
    assert sum(each.name == "delta" for each in reader.told) > 5, "in pieces, not at once"
    done = reader.one("completed")
    assert (done["finish_reason"], done["cost"], done["spent"]) == ("stop", stored["output"]["cost"], done["cost"])
    assert done["usage"]
    assert Decimal(done["cost"]) > 0
    assert "sealed" not in str(done)


async def test_a_client_that_leaves_in_the_middle_costs_nothing_of_the_answer(
    database: str, tmp_path: Path, loopback: str
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        it.vendor.behave(text=WORDS, pause=0.01)
        left = Reader()
        answer = await it.ask(left, up_to=8)
        place = answer.headers["location"]
        await it.product.came("llm_job.completed")
        assert it.vendor.entries()[-1]["outcome"] == "answered"
        stored = await it.detail(place)
        again = Reader()
        await it.rest(again, place)
        await it.rest(left, place)
        costs = await it.product.log("cost.recorded")
    assert len(left.told) > 0
    assert again.text == left.text == stored["output"]["text"] == WORDS
    assert [each.payload()["amount"] for each in costs] == [stored["output"]["cost"]]
    assert not costs[0].payload()["estimated"]


async def test_who_has_everything_is_not_told_to_come_back(database: str, tmp_path: Path, loopback: str) -> None:
    async with desk(database, tmp_path, loopback) as it:
        reader = Reader()
        answer = await it.ask(reader)
        over = await it.rest(reader, answer.headers["location"])
    assert over.status_code == 204


async def test_fifty_cuts_between_two_servers_add_up_to_the_stored_text(
    database: str, tmp_path: Path, loopback: str
) -> None:
    random, text = Random(5), " ".join(f"wörd{number}" for number in range(600))
    async with desk(database, tmp_path, loopback) as it, it.another() as other:
        it.vendor.behave(text=text, pause=0.015)
        place = await it.queued(max_output_tokens=1_000)
        reader, cuts = Reader(), 0
        while not reader.is_over:
            few = 1 if cuts < 60 else None
            await follow(random.choice([it.client, other]), f"{place}/stream", reader, up_to=few)
            cuts += 1
        stored = await it.detail(place)
    assert cuts >= 50
    assert reader.text == stored["output"]["text"] == text
    assert len({each.id for each in reader.told}) == len(reader.told)
    assert "restarted" not in reader.names


@pytest.mark.parametrize("kind", ["cut", "error_in_stream"])
async def test_an_answer_that_breaks_off_is_void_and_the_next_attempt_is_told_from_its_beginning(
    database: str, tmp_path: Path, loopback: str, kind: str
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        it.vendor.behave(kind, text="half of it was never meant to be seen as an answer", pause=0.01)
        it.vendor.behave(text=WORDS)
        reader = Reader()
        answer = await it.ask(reader)
        stored = await it.detail(answer.headers["location"])
        costs = [Decimal(each.payload()["amount"]) for each in await it.product.log("cost.recorded")]
        late = Reader()
        await it.rest(late, answer.headers["location"])
    assert reader.text == late.text == stored["output"]["text"] == WORDS
    void = reader.one("restarted")["void"]
    assert void["attempt"] == 1
    assert void["characters"] > 0
    assert reader.one("retry_scheduled")["due_at"]
    assert len(costs) == 2
    assert Decimal(reader.one("completed")["spent"]) == sum(costs)
    assert not [each for each in late.told if each.name == "delta" and each.data["attempt"] == 1], "void is not told"


async def test_the_sdk_of_anthropic_streams_through_as_well(database: str, tmp_path: Path, loopback: str) -> None:
    prices = tmp_path / "toybox" / "prices"
    prices.mkdir(parents=True)
    (prices / "claude.json").write_bytes(orjson.dumps({**CARD, "provider": "claude"}))
    async with desk(database, tmp_path, loopback) as it:
        config = ProviderConfig(base_url=it.vendor.base_url, key_env="VENDOR_KEY")
        await it.product.send(RegisterProvider(name="claude", kind="anthropic", config=config))
        it.vendor.behave(text=WORDS, pause=0.005)
        reader = Reader()
        answer = await it.ask(reader, provider="claude", up_to=9)
        await it.rest(reader, answer.headers["location"])
        stored = await it.detail(answer.headers["location"])
    assert reader.text == stored["output"]["text"] == WORDS
    assert reader.one("completed")["cost"] == stored["output"]["cost"] != "0"


async def test_a_job_that_is_parked_says_why_and_goes_on_when_the_budget_is_raised(
    database: str, tmp_path: Path, loopback: str
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        await it.product.send(OpenBudget(scope=EVERYTHING, limit=Decimal("0.000001")))
        reader = Reader()
        asking = asyncio.create_task(it.ask(reader))
        await it.product.came("llm_job.parked")
        await asyncio.sleep(0.3)
        assert reader.names == ["queued", "parked"]
        await it.product.send(ChangeBudgetLimit(budget_id=budget_id(EVERYTHING), limit=Decimal(1)))
        await asking
    told = reader.one("parked")
    assert (told["scope"], told["limit"], told["settled"], told["held"]) == ("global", "0.000001", "0", "0")
    assert Decimal(told["requested"]) > Decimal("0.000001")
    assert "retry_at" in told
    assert [each for each in reader.names if each != "first_token"][1:] == [
        "parked",
        "resumed",
        "admitted",
        "started",
        "completed",
    ]


async def test_a_job_that_may_be_left_goes_on_and_one_that_may_not_is_cancelled_and_paid_for(
    database: str, tmp_path: Path, loopback: str
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        it.vendor.behave(text=WORDS, pause=0.2, times=-1)
        reader = Reader()
        answer = await it.ask(reader, up_to=8, on_disconnect="cancel", disconnect_seconds=2)
        job = UUID(answer.headers["location"].rpartition("/")[2])
        async with asyncio.timeout(4), it.another() as other:  # somebody else reads on, elsewhere: nobody has left
            await follow(other, f"/api/llm-jobs/{job}/stream", reader, seconds=3)
        assert not await it.product.log("llm_job.cancelled")
        cancelled = (await it.product.came("llm_job.cancelled", seconds=10))[0]
        assert cancelled.payload()["reason"] == "disconnected"
        await it.vendor.came("disconnected")
        await it.product.came("llm_job.late_usage")
        costs = await it.product.log("cost.recorded")
        await it.rest(reader, str(answer.headers["location"]))
        rows = await it.product.shown("select count(*) from llm_job_readers", 1)
    assert reader.names[-2:] == ["cancelled", "late_usage"], "what it cost all the same is told to who comes back"
    assert [UUID(each.payload()["job_id"]) for each in costs] == [job]
    assert Decimal(costs[0].payload()["amount"]) > 0
    assert rows == [(0,)]


async def test_whoever_may_not_read_or_cancel_is_told_before_anything_is_queued(
    database: str, tmp_path: Path, loopback: str
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        asks, reads = await it.holder("llm_jobs.queue"), await it.holder("llm_jobs.read")
        both = await it.holder("llm_jobs.queue", "llm_jobs.read")
        place = await it.queued()
        for refused, headers in (
            (it.client.post("/api/llm-jobs", json=it.chat(stream=True), headers=asks), "llm_jobs.read"),
            (it.client.post("/api/llm-jobs?wait=1", json=it.chat(), headers=asks), "llm_jobs.read"),
            (it.client.get(f"{place}/stream", headers=asks), "llm_jobs.read"),
            (it.client.post("/api/llm-jobs", json=it.chat(stream=True), headers=reads), "llm_jobs.queue"),
            (
                it.client.post("/api/llm-jobs", json=it.chat(stream=True, on_disconnect="cancel"), headers=both),
                "llm_jobs.cancel",
            ),
        ):
            problem(await refused, 403, "not_allowed", permission=headers)
        assert len(await it.product.log("llm_job.queued")) == 1
        reader = Reader()
        await it.rest(reader, place, headers=reads)
        assert reader.is_over


async def test_a_key_that_is_revoked_hears_nothing_more(database: str, tmp_path: Path, loopback: str) -> None:
    async with desk(database, tmp_path, loopback) as it:
        it.vendor.behave(text=WORDS, pause=0.1)
        place = await it.queued()
        reads = await it.holder("llm_jobs.read")
        known = parse_token(reads["Authorization"].removeprefix("Bearer "))
        assert known is not None
        reader = Reader()
        listening = asyncio.create_task(it.rest(reader, place, headers=reads))
        await it.product.came("llm_job.first_token")
        await it.product.send(RevokeAccessKey(key_id=known.key_id))
        await asyncio.wait_for(listening, 5)
    assert reader.told[-1].name == "closed"
    assert "revoked" in reader.told[-1].data["reason"]


async def test_waiting_answers_with_the_job_when_it_ends_in_time(database: str, tmp_path: Path, loopback: str) -> None:
    async with desk(database, tmp_path, loopback) as it:
        done = await it.client.post("/api/llm-jobs?wait=10", json=it.chat())
        stored = await it.detail(done.headers["location"])
        preferred = await it.client.post("/api/llm-jobs", json=it.chat(), headers={"Prefer": "wait=10"})
        it.vendor.behave(delay=1.5, times=-1)
        began = asyncio.get_running_loop().time()
        late = await it.client.post("/api/llm-jobs", json=it.chat(), headers={"Prefer": "respond-async, wait=1"})
        took = asyncio.get_running_loop().time() - began
        patient = await it.client.post("/api/llm-jobs", json=it.chat(), headers={"Prefer": "wait=100000"})
    assert (done.status_code, done.json()) == (200, stored)
    assert done.json()["output"]["text"].startswith("Answered:")
    assert "preference-applied" not in done.headers
    assert (preferred.status_code, preferred.headers["preference-applied"]) == (200, "wait=10")
    assert (late.status_code, late.headers["preference-applied"]) == (202, "wait=1")
    assert 1 <= took < 1.5
    assert (patient.status_code, patient.headers["preference-applied"]) == (200, "wait=300")


async def test_the_same_question_again_joins_the_stream_of_the_first(
    database: str, tmp_path: Path, loopback: str
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        it.vendor.behave(text=WORDS, pause=0.01)
        reader, key = Reader(), {"Idempotency-Key": "once", "Accept": "text/event-stream"}
        first = await follow(it.client, "/api/llm-jobs", reader, body=it.chat(), headers=key, up_to=7)
        again = await follow(it.client, "/api/llm-jobs", reader, body=it.chat(), headers=key)
        assert first.headers["location"] == again.headers["location"]
        assert len(await it.product.log("llm_job.queued")) == 1
    assert reader.text == WORDS


async def test_what_makes_no_sense_is_refused_with_its_fix(database: str, tmp_path: Path, loopback: str) -> None:
    async with desk(database, tmp_path, loopback) as it:
        post, nobody = "/api/llm-jobs", f"/api/llm-jobs/{UUID(int=7)}/stream"
        for wait in ("-1", "301", "soon"):
            problem(await it.client.post(post, params={"wait": wait}, json=it.chat()), 422, "invalid_request")
        for prefer in ("wait=soon", "wait=-1", "wait="):
            refused = await it.client.post(post, json=it.chat(), headers={"Prefer": prefer})
            assert "Prefer: wait=10" in problem(refused, 422, "invalid_request")["detail"]
        senseless: list[tuple[dict[str, Any], dict[str, str]]] = [
            ({"stream": True}, {"wait": "1"}),
            ({"on_disconnect": "cancel"}, {}),
            ({"stream": True, "disconnect_seconds": 1}, {}),
        ]
        for body, wait in senseless:
            problem(await it.client.post(post, params=wait, json=it.chat(**body)), 422, "invalid_request")
        assert not await it.product.log("llm_job.queued")
        problem(await it.client.get(nobody), 404, "not_found")
        place = await it.queued()
        reader = Reader()
        await it.rest(reader, place)
        for last in ("7", "x.1.1.00000000", "1.0.0.0", "1.1.1.zzzzzzzz", "9" * 10 + ".0.0.00000000"):
            refused = await it.client.get(f"{place}/stream", headers={"Last-Event-ID": last})
            problem(refused, 422, "invalid_request")
        for last in ("99.1.0.00000000", "1.1.0.00000000", "3.2.0.00000000", "3.1.9999.00000000", "1.0.5.00000000"):
            refused = await it.client.get(f"{place}/stream", headers={"Last-Event-ID": last})
            assert "begin anew" in problem(refused, 422, "unknown_event_id")["detail"]


async def test_a_model_without_a_price_ends_its_stream_with_the_command_that_fixes_it(
    database: str, tmp_path: Path, loopback: str
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        config = ProviderConfig(base_url=it.vendor.openai_url, key_env="VENDOR_KEY")
        await it.product.send(RegisterProvider(name="priceless", kind="openai_compatible", config=config))
        reader = Reader()
        await it.ask(reader, provider="priceless")
        assert not it.vendor.entries()
    assert reader.names == ["queued", "denied", "failed", "dead_lettered"]
    failed = reader.one("failed")
    assert (failed["kind"], failed["spent"]) == ("price_unknown", "0")
    assert "priceless" in failed["note"]


@pytest.mark.parametrize("trouble", ["locked", "gone"])
async def test_the_call_goes_on_where_drafts_cannot_be_written(
    database: str, tmp_path: Path, loopback: str, trouble: str
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        it.vendor.behave(text=WORDS, pause=0.02)
        reader = Reader()
        async with await psycopg.AsyncConnection.connect(database) as connection:
            if trouble == "gone":
                await connection.execute("drop table llm_job_drafts")
                await connection.commit()
            else:
                await connection.execute("lock table llm_job_drafts in access exclusive mode")
            await it.ask(reader)
            await connection.rollback()
    assert reader.text == WORDS
    assert reader.one("completed")["finish_reason"] == "stop"
    assert reader.one("completed")["total_ms"] < 60 * 20 + 1_500, "the call did not wait for its drafts"


async def test_drafts_are_sealed_and_an_erased_answer_is_not_told(database: str, tmp_path: Path, loopback: str) -> None:
    async with desk(database, tmp_path, loopback) as it:
        it.vendor.behave(text=WORDS, pause=0.01)
        answer = await it.ask(Reader())
        job = UUID(answer.headers["location"].rpartition("/")[2])
        rows = await it.product.shown("select job_id, sealed from llm_job_drafts order by start", 2)
        texts = await it.product.system.keyring.unseal([sealed for _, sealed in rows])
        await it.product.system.keyring.destroy(job)
        erased = await it.product.system.keyring.unseal([sealed for _, sealed in rows])
        reader = Reader()
        await it.rest(reader, answer.headers["location"])
        assert await it.product.system.drafts.sweep(0) == len(rows)
    assert {job_id for job_id, _ in rows} == {job}
    assert WORDS.startswith("".join(map(str, texts)))
    assert "word" not in str(rows)
    assert set(erased) == {None}
    assert (reader.text, reader.one("completed")["erased"]) == ("", True)


async def test_a_client_that_falls_too_far_behind_is_cut_and_can_go_on(
    database: str, tmp_path: Path, loopback: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(database, tmp_path, loopback) as it:
        board = it.client_app.state.board
        monkeypatch.setattr(board, "kept", 200)
        it.vendor.behave(text=WORDS, pause=0.01)
        place = await it.queued()
        job = UUID(place.rpartition("/")[2])
        listener = JobListener(board, job)
        reader = Reader()
        async with aclosing(listener.chunks()) as chunks:
            async for chunk in chunks:
                for each in parsed(chunk):
                    reader.take(each)
                if reader.text:
                    await it.product.came("llm_job.completed")  # it takes nothing meanwhile
        assert reader.told[-1].name == "cut"
        assert reader.told[-1].data["resume_after"] == reader.last_id
        assert len(reader.text) < len(WORDS)
        await it.rest(reader, place)
    assert reader.text == WORDS


async def test_a_server_that_stops_says_so_and_another_goes_on(database: str, tmp_path: Path, loopback: str) -> None:
    async with desk(database, tmp_path, loopback) as it:
        it.vendor.behave(text=WORDS, pause=0.02)
        place = await it.queued()
        reader = Reader()
        listening = asyncio.create_task(it.rest(reader, place))
        await it.product.came("llm_job.first_token")
        await asyncio.sleep(0.1)
        await close_feeds(it.client_app)
        await listening
        assert reader.told[-1].name == "closed"
        async with it.another() as other:
            await follow(other, f"{place}/stream", reader)
    assert reader.text == WORDS
