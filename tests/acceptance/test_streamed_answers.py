"""Answers as they come, through the vendors' own SDKs: whole and once, whoever leaves, whatever breaks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from api.metrics import Metrics
from tests.acceptance.product import Product, product
from tests.support.answering import Reader, follow, serving
from tests.support.client import issue
from tests.support.vendors.server import VendorServer
from toybox.services import web_app

WORDS = " ".join(f"word{number}" for number in range(60))


@dataclass
class Desk:
    """A running product, its vendor, and a client over a real connection."""

    product: Product
    vendor: VendorServer
    client: httpx.AsyncClient
    loopback: str
    token: str

    def chat(self, text: str = "Say something.", **more: Any) -> dict[str, Any]:
        """A question."""
        messages = [{"role": "user", "content": text}]
        return {"provider": "vendor", "model": "m", "messages": messages, "max_output_tokens": 500, **more}

    async def queued(self, **more: Any) -> str:
        """The path of a new job."""
        answer = await self.client.post("/api/llm-jobs", json=self.chat(**more))
        assert answer.status_code == 202, answer.text
        return answer.headers["location"]

    async def ask(self, reader: Reader, *, up_to: int | None = None, **more: Any) -> httpx.Response:
        """A question whose answer is streamed."""
        return await follow(self.client, "/api/llm-jobs", reader, body=self.chat(stream=True, **more), up_to=up_to)

    async def detail(self, path: str) -> dict[str, Any]:
        """The job as it is stored."""
        head = await self.product.system.store.head()
        answer = await self.client.get(path, params={"min_position": head, "timeout_ms": 10_000})
        assert answer.status_code == 200, answer.text
        return answer.json()

    @asynccontextmanager
    async def another(self) -> AsyncIterator[httpx.AsyncClient]:
        """A second API on the same database, which knows nothing of the first one's connections."""
        async with serving(web_app(self.product.system, Metrics()), self.loopback, self.token) as client:
            yield client


@asynccontextmanager
async def desk(database: str, folder: Path, host: str) -> AsyncIterator[Desk]:
    with VendorServer() as vendor:
        async with product(database, folder, vendor=vendor) as made:
            token = await issue(made.system.commands, "*", label="tester")
            async with serving(web_app(made.system, Metrics()), host, token) as client:
                yield Desk(made, vendor, client, host, token)


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
        await follow(it.client, f"{place}/stream", again)
        await follow(it.client, f"{place}/stream", left)
        costs = await it.product.log("cost.recorded")
    assert len(left.told) > 0
    assert again.text == left.text == stored["output"]["text"] == WORDS
    assert [each.payload()["amount"] for each in costs] == [stored["output"]["cost"]]
    assert not costs[0].payload()["estimated"]


async def test_who_has_everything_is_not_told_to_come_back(database: str, tmp_path: Path, loopback: str) -> None:
    async with desk(database, tmp_path, loopback) as it:
        reader = Reader()
        answer = await it.ask(reader)
        over = await follow(it.client, f"{answer.headers['location']}/stream", reader)
    assert over.status_code == 204
