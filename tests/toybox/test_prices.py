"""Prices from the command line, and a re-rating whose server is killed in its middle: nothing twice, nothing left."""

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.postgres.embedded import running_conninfo
from domain.errors import Unavailable
from tests.support.postgres import server_folder
from tests.toybox.programs import PATIENCE, Toybox
from toybox.client import Client

pytestmark = pytest.mark.process
JOBS = 60
MENDED = "scripted@1970-01-01.1"
CARD: dict[str, Any] = {
    "provider": "scripted",
    "effective_from": "1970-01-01",
    "fix": 1,
    "source": "twice as dear",
    "models": [{"model": "*", "prices": [{"rates": {"input": "2", "output": "10"}}]}],
}


@pytest.fixture
def toybox() -> Iterator[Toybox]:
    with server_folder() as folder:
        yield Toybox(folder)


@contextmanager
def client_of(program: Toybox) -> Iterator[Client]:
    with Client(program.address["url"], (program.data_dir / "owner.key").read_text().strip()) as client:
        yield client


def happened(program: Toybox, kind: str) -> list[dict[str, Any]]:
    conninfo = running_conninfo(program.data_dir)
    assert conninfo
    with psycopg.connect(conninfo, autocommit=True) as connection:
        rows = connection.execute("select data::text from events where type = %s order by position", [kind])
        return [json.loads(text) for (text,) in rows.fetchall()]


def spend(client: Client, jobs: int) -> None:
    """So many answers of the scripted provider."""
    client.post("/api/budgets", {"scope": {"kind": "global"}, "limit": "5"})
    body = {"provider": "scripted", "model": "any", "max_output_tokens": 50}
    for number in range(jobs):
        client.post("/api/llm-jobs", {**body, "messages": [{"role": "user", "content": f"Hello {number}?"}]})
    until = time.monotonic() + PATIENCE
    while client.get("/api/cost")["total"]["attempts"] < jobs:
        assert time.monotonic() < until, "the jobs did not end"
        time.sleep(0.1)


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_prices_are_imported_approved_and_applied_to_what_was_spent(toybox: Toybox) -> None:
    folder = toybox.data_dir.parent
    with toybox.up():
        assert "gpt-6-sol" in toybox("prices", "list", "openai").out
        shown = toybox("prices", "show", "openai/gpt-6-sol", "--at", "2026-11-21").out
        assert "prompts above 272,000 tokens" in shown
        assert "came with this release" in shown
        unknown = toybox("prices", "show", "acme/one").out
        assert "toybox prices import FILE" in unknown

        broken = written(folder, "broken.json", '{\n  "provider": "acme",\n  "models": [,]\n}')
        assert f"{broken}, line 3, column 14" in toybox("prices", "import", broken, code=3).last_words
        negative = json.dumps({**CARD, "models": [{"model": "*", "prices": [{"rates": {"input": "-2"}}]}]})
        told = toybox("prices", "import", written(folder, "negative.json", negative), code=3).last_words
        assert "models.0.prices.0.rates.input" in told
        assert "never negative" in told

        with client_of(toybox) as client:
            spend(client, 3)
        card = written(folder, "card.json", json.dumps(CARD))
        assert f"prices approve {MENDED}" in toybox("prices", "import", card).out
        assert "waiting" in {each["kind"] for each in toybox("prices", "check", "--json").json}
        assert "is not approved yet" in toybox("doctor").out
        assert "is in force" in toybox("prices", "approve", MENDED).out
        assert MENDED in toybox("prices", "show", "scripted/any").out
        assert [each["status"] for each in toybox("prices", "cards", "--json").json] == ["approved"]

        tried = toybox("prices", "rerate", "--card", MENDED, "--dry-run", "--json").json[0]
        assert (tried["changed"], Decimal(tried["after"])) == (3, 2 * Decimal(tried["before"]))
        assert "3 of 3 attempts are re-rated" in toybox("prices", "rerate", "--card", MENDED).out
        assert "nothing had to be changed" in toybox("prices", "rerate", "--card", MENDED).err
        assert len(toybox("accounting", "changes", "--json").json) == 3


def test_months_are_closed_and_exports_reconciled_with_clear_words(toybox: Toybox) -> None:
    folder = toybox.data_dir.parent
    with toybox.up():
        assert "2999-01 is not over" in toybox("accounting", "close-month", "2999-01", code=3).last_words
        assert "are closed" in toybox("accounting", "close-month", "2025-12").out
        closed = {**CARD, "provider": "acme", "effective_from": "2025-06-01", "fix": 0}
        late = written(folder, "late.json", json.dumps(closed))
        assert "--reaches-back" in toybox("prices", "import", late, code=3).last_words
        assert "is in force" in toybox("prices", "import", late, "--reaches-back", "--approve").out

        assert "no estimates" in toybox("accounting", "estimates").err
        export = written(folder, "usage.csv", "response_id,input_tokens,output_tokens\nnobody,10,x\n")
        assert "line 2: output_tokens is 'x'" in toybox("accounting", "reconcile", export, code=3).last_words
        export = written(folder, "usage.jsonl", '{"response_id": "nobody", "input_tokens": 10, "output_tokens": 2}\n')
        assert "1 unmatched" in toybox("accounting", "reconcile", export, code=1).out
        odd = written(folder, "odd.csv", "response_id,tokens\nx,1\n")
        assert "line 1: columns tokens are not known" in toybox("accounting", "reconcile", odd, code=3).last_words


def test_a_re_rating_whose_server_is_killed_is_finished_by_the_same_command(toybox: Toybox) -> None:
    folder = toybox.data_dir.parent
    with toybox.up() as server:
        with client_of(toybox) as client:
            spend(client, JOBS)
            before = Decimal(client.get("/api/cost")["total"]["amount"])
            toybox("prices", "import", written(folder, "card.json", json.dumps(CARD)), "--approve")
            cursor: str | None = None
            for _ in range(4):
                page = client.post("/api/prices/rerate", {"card": MENDED}, cursor=cursor, limit=7)
                cursor = page["next"]
            with ThreadPoolExecutor(1) as executor, suppress(Unavailable):
                page = executor.submit(client.post, "/api/prices/rerate", {"card": MENDED}, cursor=cursor, limit=7)
                time.sleep(0.01)
                server.send_signal(signal.SIGKILL)
                page.result()
        server.wait(PATIENCE)
    with toybox.up():
        assert 0 < len(happened(toybox, "cost.re_rated")) < JOBS
        told = toybox("prices", "rerate", "--card", MENDED, "--json").json[0]
        assert told["changed"] + told["unchanged"] == JOBS
        assert toybox("prices", "rerate", "--card", MENDED, "--json").json[0]["changed"] == 0
        rated = happened(toybox, "cost.re_rated")
        assert len({each["attempt_id"] for each in rated}) == len(rated) == JOBS
        with client_of(toybox) as client:
            assert Decimal(client.get("/api/cost")["total"]["amount"]) == 2 * before
            (budget,) = client.get("/api/budgets")["items"]
            assert (Decimal(budget["settled"]), Decimal(budget["held"])) == (2 * before, 0)
