"""What fails is tried again in its time, elsewhere if need be, and never under the same attempt id."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from faults.crew.fleet import start
from faults.dag.process import Order
from tests.acceptance.product import FAST, VENDOR, blueprint, product
from tests.support.vendors.server import VendorServer


async def test_failed_attempts_are_made_again_when_they_are_due_and_not_before(database: str, tmp_path: Path) -> None:
    prompt = "This is agent one.\n#scripted: fail rate_limited 4 times\n#scripted: text At last."
    async with product(database, tmp_path) as toybox:
        await toybox.create(blueprint({"one": {"prompt": prompt, "retries": 1}}))
        await toybox.start()
        await toybox.ended("completed")
        assert await toybox.output("one") == "At last."
        agent = await toybox.agent("one")
        assert (agent.run, agent.attempt) == (1, 2)
        assert [(await toybox.job("one", 1, attempt)).attempt for attempt in (1, 2)] == [3, 2]

        history = await toybox.log()
        promised = {"llm_job.retry_scheduled": "llm_job.resumed", "agent.retry_scheduled": "agent.started"}
        kept = 0
        for place, stored in enumerate(history):
            if stored.type in promised:
                later = (each for each in history[place:] if each.stream_id == stored.stream_id)
                next_one = next(each for each in later if each.type == promised[stored.type])
                due = datetime.fromisoformat(stored.payload()["due_at"])
                assert stored.recorded_at < due <= next_one.recorded_at
                kept += 1
        assert kept == 4


@pytest.mark.process
async def test_the_job_of_a_killed_worker_goes_on_elsewhere_as_another_attempt(
    database: str, tmp_path: Path, loopback: str
) -> None:
    with VendorServer() as vendor:
        vendor.behave(delay=60)
        async with product(database, tmp_path, vendor=vendor, roles=("projector",)) as toybox:
            await toybox.create(blueprint({"one": {}}, defaults=VENDOR), budget="1")
            await toybox.start()
            order = Order(
                name="doomed",
                roles=["worker"],
                database_url=database,
                data_dir=str(tmp_path / "toybox"),
                vendor_key=vendor.key or "",
            )
            doomed = start("faults.dag.process", order, tmp_path / "errors")
            try:
                await asyncio.to_thread(vendor.journal.wait, 1, None, 30)
            finally:
                doomed.kill()
                doomed.wait()
        async with product(database, tmp_path, vendor=vendor, project=toybox.project) as toybox:
            await toybox.ended("completed")
            lost = (await toybox.log("llm_job.attempt_lost"))[0]
            started = (await toybox.log("llm_job.started"))[0]
            assert (lost.recorded_at - started.recorded_at).total_seconds() >= FAST.lease_seconds
            assert (await toybox.log("agent.recovered"))[0].payload()["job_attempt"] == 1
            assert (await toybox.job("one")).attempt == 2
            ids = [each["attempt_id"] for each in vendor.entries()]
            assert len(set(ids)) == len(ids) == 2
            assert len((await toybox.budget()).holds) == 1, "what was lost may still be charged, until its hold expires"
