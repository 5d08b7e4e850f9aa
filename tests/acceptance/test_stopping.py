"""People stop what runs: a pause starts nothing new, a cancel aborts the call in flight and counts what it cost."""

import asyncio
from decimal import Decimal
from pathlib import Path

from commands.projects import CancelProject, PauseProject, ResumeProject
from tests.acceptance.product import VENDOR, blueprint, product
from tests.support.vendors.server import VendorServer

TWO = blueprint({"one": {}, "two": {"depends_on": ["one"]}}, defaults=VENDOR)


async def test_a_paused_project_ends_what_runs_and_starts_nothing_until_it_is_resumed(
    database: str, tmp_path: Path, loopback: str
) -> None:
    with VendorServer() as vendor:
        vendor.behave(delay=0.8)
        async with product(database, tmp_path, vendor=vendor) as toybox:
            await toybox.create(TWO)
            await toybox.start()
            await toybox.came("llm_job.started")
            await toybox.send(PauseProject(project_id=toybox.project, note="lunch"))
            await toybox.came("agent.completed")
            await asyncio.sleep(1.0)
            assert (await toybox.agent("two")).status == "defined"
            await toybox.send(ResumeProject(project_id=toybox.project))
            await toybox.ended("completed")
            assert len(vendor.entries()) == 2


async def test_a_job_that_was_queued_when_the_pause_came_is_not_sent_before_its_end(
    database: str, tmp_path: Path, loopback: str
) -> None:
    with VendorServer() as vendor:
        async with product(database, tmp_path, vendor=vendor, roles=("worker",)) as toybox:
            # Without a projector the queue's read model shows nothing: the job waits there while the pause comes.
            await toybox.create(TWO)
            await toybox.start()
            await toybox.came("llm_job.queued")
            await toybox.send(PauseProject(project_id=toybox.project))
        async with product(database, tmp_path, vendor=vendor, project=toybox.project) as toybox:
            await asyncio.sleep(1.5)
            assert not vendor.entries()
            assert not await toybox.log("llm_job.admitted")
            await toybox.send(ResumeProject(project_id=toybox.project))
            await toybox.ended("completed")


async def test_a_cancel_aborts_the_call_in_flight_and_its_cost_counts(
    database: str, tmp_path: Path, loopback: str
) -> None:
    with VendorServer() as vendor:
        vendor.behave(delay=60)
        async with product(database, tmp_path, vendor=vendor) as toybox:
            await toybox.create(TWO, budget="1")
            await toybox.start()
            await vendor.came()
            await toybox.send(CancelProject(project_id=toybox.project))
            await vendor.came("disconnected")
            cost = (await toybox.came("cost.recorded"))[0].payload()
            assert (await toybox.job("one")).status == "cancelled"
            assert (await toybox.agent("one")).status == "cancelled"
            bound = (await toybox.log("llm_job.admitted"))[0].payload()["bound"]
            assert (cost["amount"], cost["estimated"]) == (bound, True)
            budget = await toybox.budget()
            assert (budget.settled, budget.held) == (Decimal(bound), 0)
            assert len(vendor.entries()) == 1


async def test_what_an_interrupted_upload_left_behind_is_gone_after_the_next_start(
    database: str, tmp_path: Path
) -> None:
    async with product(database, tmp_path, roles=()) as toybox:
        left = toybox.system.settings.data_dir / "objects" / "incoming" / "half"
        await asyncio.to_thread(left.parent.mkdir, parents=True)
        await asyncio.to_thread(left.write_bytes, b"half an upload")
    async with product(database, tmp_path, roles=(), project=toybox.project):
        assert not await asyncio.to_thread(left.exists)
