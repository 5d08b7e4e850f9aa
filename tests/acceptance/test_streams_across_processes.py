"""Streams through processes of their own, which are killed: the job ends, its cost counts, its text is told whole."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
import pytest

from adapters.postgres.embedded import make_data_dir
from tests.acceptance.installation import Installation, Running
from tests.acceptance.product import CARD
from tests.support.answering import Reader, follow
from tests.support.vendors.server import VendorServer

WORDS = " ".join(f"word{number}" for number in range(80))
CHAT: dict[str, Any] = {
    "provider": "vendor",
    "model": "m",
    "messages": [{"role": "user", "content": "Say something."}],
    "max_output_tokens": 500,
    "stream": True,
}
pytestmark = pytest.mark.process


@dataclass
class Servers:
    """Two servers with an API and nothing else, on one database, and workers in other processes."""

    installation: Installation
    vendor: VendorServer
    one: Running
    two: Running
    key: str

    def client(self, of: Running) -> httpx.AsyncClient:
        """A client of one of them."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=of.url, headers=headers, timeout=30)

    @contextmanager
    def worker(self, name: str) -> Iterator[Running]:
        """Another worker."""
        with self.installation.process("worker", name=name, VENDOR_KEY=self.vendor.key or "") as running:
            yield running

    def happened(self, kind: str) -> list[dict[str, Any]]:
        """Payloads of these events."""
        with psycopg.connect(self.installation.database) as connection:
            rows = connection.execute("select data::text from events where type = %s order by position", [kind])
            return [orjson.loads(text) for (text,) in rows.fetchall()]

    async def until(self, kind: str, seconds: float = 40) -> None:
        """Return when it has happened."""
        until = time.monotonic() + seconds
        while not await asyncio.to_thread(self.happened, kind):
            assert time.monotonic() < until, f"{kind} did not come"
            await asyncio.sleep(0.1)


@contextmanager
def servers(database: str, folder: Path) -> Iterator[Servers]:
    """Started, and stopped at the end unless they were killed."""
    installation = Installation(folder, database)
    prices = make_data_dir(installation.program.data_dir) / "prices"
    prices.mkdir()
    (prices / "vendor.json").write_bytes(orjson.dumps(CARD))
    with (
        VendorServer() as vendor,
        installation.process("projector"),
        installation.process("api", name="one") as one,
        installation.process("api", name="two", TOYBOX_RUN_DIR=str(folder / "two")) as two,
    ):
        key = (installation.program.data_dir / "owner.key").read_text().strip()
        made = Servers(installation, vendor, one, two, key)
        config = {"base_url": vendor.openai_url, "key_env": "VENDOR_KEY"}
        body = {"name": "vendor", "kind": "openai_compatible", "config": config}
        headers = {"Authorization": f"Bearer {key}"}
        httpx.post(f"{one.url}/api/ai-providers", json=body, headers=headers, timeout=30).raise_for_status()
        yield made


async def test_a_server_is_killed_in_mid_stream_and_another_one_tells_the_rest(
    database: str, tmp_path: Path, loopback: str
) -> None:
    assert loopback
    with servers(database, tmp_path) as it, it.worker("only"):
        it.vendor.behave(text=WORDS, pause=0.05)
        reader = Reader()
        async with it.client(it.one) as client:
            answer = await follow(client, "/api/llm-jobs", reader, body=CHAT, up_to=12)
            place = answer.headers["location"]
            second = asyncio.create_task(follow(client, f"{place}/stream", Reader()))
            await asyncio.sleep(0.2)
            it.one.kill()
            with suppress(httpx.TransportError):
                await second
        assert 0 < len(reader.text) < len(WORDS)
        assert not it.happened("llm_job.completed"), "it was killed too late"
        fresh = Reader()
        async with it.client(it.two) as client:
            await asyncio.gather(follow(client, f"{place}/stream", reader), follow(client, f"{place}/stream", fresh))
            stored = (await client.get(place, params={"min_position": fresh.told[-1].data["position"]})).json()
        costs = it.happened("cost.recorded")
    assert reader.text == fresh.text == stored["output"]["text"] == WORDS
    assert [(each["amount"], each["estimated"]) for each in costs] == [(stored["output"]["cost"], False)]
    assert len({each.id for each in reader.told}) == len(reader.told)


async def test_a_worker_is_killed_in_mid_stream_and_its_text_is_void(
    database: str, tmp_path: Path, loopback: str
) -> None:
    assert loopback
    with servers(database, tmp_path) as it:
        it.vendor.behave(text="this answer is never heard to its end, because its worker dies", pause=1.0)
        it.vendor.behave(text=WORDS)
        reader = Reader()
        async with it.client(it.two) as client:
            with it.worker("first") as first:
                asking = asyncio.create_task(follow(client, "/api/llm-jobs", reader, body=CHAT, seconds=60))
                await it.until("llm_job.first_token")
                await asyncio.sleep(1.5)
                first.kill()
            with it.worker("second"):
                answer = await asking
                seen = {"min_position": reader.told[-1].data["position"], "timeout_ms": 5_000}
                stored = (await client.get(answer.headers["location"], params=seen)).json()
        costs = it.happened("cost.recorded")
    void = reader.one("restarted")["void"]
    assert (void["attempt"], void["characters"] > 0) == (1, True)
    assert [each for each in reader.names if each in ("attempt_lost", "restarted", "completed")] == [
        "attempt_lost",
        "restarted",
        "completed",
    ]
    assert reader.text == WORDS == stored["output"]["text"]
    assert sum(Decimal(each["amount"]) for each in costs) > 0
