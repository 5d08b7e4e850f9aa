"""Results that wait for a person: approved, edited, rejected, sent back, or decided by nobody in time."""

from pathlib import Path

import pytest

from domain.errors import Conflict
from tests.acceptance.product import VENDOR, blueprint, product
from tests.support.vendors.server import VendorServer


def reviewed(**checkpoint: str) -> dict[str, object]:
    """One agent whose result waits for a person."""
    return {"checkpoint": {"title": "Is it good?", **checkpoint}}


READER = {"depends_on": ["writer"], "prompt": "This is agent reader. It reads: {{ outputs.writer }}"}
PAIR = blueprint({"writer": reviewed(), "reader": READER})


async def test_an_approved_result_is_what_others_read(database: str, tmp_path: Path) -> None:
    async with product(database, tmp_path) as toybox:
        await toybox.create(PAIR)
        await toybox.start()
        asked = (await toybox.came("checkpoint.requested"))[0]
        assert (await toybox.agent("writer")).status == "waiting"
        assert (await toybox.agent("reader")).status == "defined"
        await toybox.decide(asked, "approve")
        await toybox.ended("completed")
        assert (await toybox.log("agent.completed"))[0].payload()["digest"] == asked.payload()["digest"]
        with pytest.raises(Conflict):
            await toybox.decide(asked, "reject")


async def test_an_edited_result_takes_the_place_of_the_agents_own(database: str, tmp_path: Path) -> None:
    async with product(database, tmp_path) as toybox:
        await toybox.create(PAIR)
        await toybox.start()
        await toybox.decide((await toybox.came("checkpoint.requested"))[0], "edit", content="Corrected by hand.")
        await toybox.ended("completed")
        assert await toybox.output("writer") == "Corrected by hand."
        assert "Corrected by hand." in await toybox.output("reader")
        assert [each.payload()["version"] for each in await toybox.log("asset.superseded")] == [2]


async def test_a_rejected_result_fails_the_agent_and_with_it_the_project(database: str, tmp_path: Path) -> None:
    async with product(database, tmp_path) as toybox:
        await toybox.create(PAIR)
        await toybox.start()
        await toybox.decide((await toybox.came("checkpoint.requested"))[0], "reject", comment="No.")
        await toybox.ended("failed")
        assert (await toybox.log("agent.failed"))[0].payload()["code"] == "rejected"
        assert (await toybox.agent("reader")).status == "defined"


async def test_a_response_reaches_the_model_and_its_new_answer_is_reviewed_again(
    database: str, tmp_path: Path, loopback: str
) -> None:
    with VendorServer() as vendor:
        async with product(database, tmp_path, vendor=vendor) as toybox:
            await toybox.create(blueprint({"writer": reviewed()}, defaults=VENDOR))
            await toybox.start()
            await toybox.decide((await toybox.came("checkpoint.requested"))[0], "respond", comment="Mention the moon.")
            again = (await toybox.came("checkpoint.requested", 2))[1]
            assert again.payload()["attempt"] == 2
            # The vendor's server answers with the beginning of the last message.
            assert "Mention the moon." in await toybox.output("writer")
            await toybox.decide(again, "approve")
            await toybox.ended("completed")
            assert len(vendor.entries()) == 2


async def test_a_result_that_nobody_decides_about_fails_in_its_time(database: str, tmp_path: Path) -> None:
    async with product(database, tmp_path) as toybox:
        await toybox.create(blueprint({"writer": reviewed(expires_in="1s")}))
        await toybox.start()
        asked = (await toybox.came("checkpoint.requested"))[0]
        await toybox.ended("failed")
        expired = (await toybox.log("checkpoint.expired"))[0]
        assert (expired.recorded_at - asked.recorded_at).total_seconds() >= 1
        assert (await toybox.log("agent.failed"))[0].payload()["code"] == "checkpoint_expired"
