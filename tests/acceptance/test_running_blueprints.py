"""Blueprints run to their end; a prompt that cannot be made stops before anything is spent."""

import asyncio
import re
from pathlib import Path

import pytest

from adapters.blueprints import LoadedBlueprint, parse_blueprint
from tests.acceptance.product import blueprint, product
from tests.support.checkout import ROOT

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/blueprint.yaml"))


def brief(folder: Path) -> LoadedBlueprint:
    """An example whose agents say little: the scripted provider takes its time for each word."""
    text = re.sub(r"max_output_tokens: \d+", "max_output_tokens: 150", (folder / "blueprint.yaml").read_text())
    return LoadedBlueprint(parse_blueprint(text, name=folder.name), text, folder)


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
async def test_an_example_runs_to_its_end(database: str, tmp_path: Path, folder: Path) -> None:
    loaded = brief(folder)
    agents = [each.name for each in loaded.blueprint.agents]
    async with product(database, tmp_path) as toybox:
        await toybox.create(loaded)
        await toybox.start()
        for number in range(sum(bool(loaded.blueprint.review_for(each)) for each in loaded.blueprint.agents)):
            await toybox.decide((await toybox.came("checkpoint.requested", number + 1, seconds=40))[number], "approve")
        await toybox.ended("completed", seconds=40)
        assert {name: (await toybox.agent(name)).status for name in agents} == dict.fromkeys(agents, "completed")
        assert all(await asyncio.gather(*(toybox.output(name) for name in agents)))
        assert len(await toybox.log("cost.recorded")) == len(agents)
        assert not await toybox.system.cursors.parked()


async def test_a_prompt_that_cannot_be_made_is_denied_with_a_reason_and_costs_nothing(
    database: str, tmp_path: Path
) -> None:
    loaded = blueprint(
        {"one": {"prompt": "{% if inputs.topic < inputs.count %}short{% endif %}"}, "two": {"depends_on": ["one"]}},
        inputs={
            "topic": {"type": "text", "description": "What it is about"},
            "count": {"type": "number", "description": "How much"},
        },
    )
    async with product(database, tmp_path) as toybox:
        await toybox.create(loaded, inputs={"topic": "tides", "count": "3"}, budget="1")
        await toybox.start()
        await toybox.ended("failed")
        denied = (await toybox.log("llm_job.denied"))[0].payload()
        assert denied["kind"] == "invalid_request"
        note = (await toybox.system.keyring.unseal([denied["note"]]))[0] or ""
        assert note.startswith("the template fails: ")
        failed = (await toybox.log("agent.failed"))[0].payload()
        assert (failed["code"], failed["reason"]) == ("invalid_request", denied["reason"])
        assert not await toybox.log("llm_job.admitted", "budget.reserved", "cost.recorded", "agent.retry_scheduled")
        assert (await toybox.agent("two")).status == "defined"


async def test_what_was_started_before_the_first_worker_came_is_done_by_it(database: str, tmp_path: Path) -> None:
    async with product(database, tmp_path, roles=()) as nobody:
        await nobody.create(blueprint({"one": {}}))
        await nobody.start()
    async with product(database, tmp_path) as toybox:
        toybox.project = nobody.project
        await toybox.ended("completed")
