"""Destroying a project's key: what was sealed is gone for all, what happened stays provable."""

import re
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.blueprints import outputs_used, render
from commands.projects import ChangeProjectSettings, PauseProject, ResetProject, StartProject
from domain.agents import Agent
from domain.errors import NotFound, Refused, ToyboxError
from domain.kernel import AGGREGATE_OF, Aggregate, evolve
from domain.log import StoredEvent, leaf
from streams.prompts import Prompts
from tests.acceptance.product import Product, blueprint, product

SECRET = "Nobody may know of the quokka."
PLANNED = blueprint(
    {
        "writer": {"prompt": f"This is agent writer. {SECRET} {{{{ inputs.notes }}}}", "checkpoint": True},
        "reader": {"depends_on": ["writer"], "prompt": "This is agent reader. {{ outputs.writer }}"},
    },
    inputs={"notes": {"type": "text", "description": "What is known"}},
)
SEALED = re.compile(rb"s1\.[0-9a-f]{32}\.[A-Za-z0-9_-]+")


def folded(log: list[StoredEvent]) -> dict[str, bytes]:
    """Every aggregate's state, from nothing but the log."""
    found: dict[str, Aggregate] = {}
    for stored in log:
        found[str(stored.stream_id)] = evolve(found.get(str(stored.stream_id)), stored)
    return {stream: aggregate.snapshot() for stream, aggregate in found.items()}


def sealed_in(log: list[StoredEvent], toybox: Product) -> list[str]:
    """Every sealed text of the project."""
    mine = [each.data for each in log if each.project_id == toybox.project]
    return [text.decode() for data in mine for text in SEALED.findall(data)]


async def run_once(toybox: Product) -> None:
    """A run with inputs, a comment, and results in the object store."""
    await toybox.create(PLANNED, inputs={"notes": "The quokka smiles."})
    await toybox.start()
    asked = (await toybox.came("checkpoint.requested"))[-1]
    await toybox.decide(asked, "approve", comment="The quokka again.")
    await toybox.ended("completed")


async def test_what_was_sealed_is_gone_from_every_read_and_the_log_stays_as_it_was(
    database: str, tmp_path: Path
) -> None:
    async with product(database, tmp_path) as toybox:
        await run_once(toybox)
        system = toybox.system
        before = await toybox.log()
        texts, digest = sealed_in(before, toybox), (await toybox.agent("writer")).asset
        assert digest
        assert any("quokka" in (text or "") for text in await system.keyring.unseal(texts))
        assert "quokka" in await toybox.output("writer")

        # Another system on the same data, which has the key in use.
        async with product(database, tmp_path, roles=(), project=toybox.project) as other:
            assert "quokka" in await other.output("writer")
            assert await system.keyring.destroy(toybox.project)
            for each in (system, other.system):
                assert set(await each.keyring.unseal(texts)) == {None}
                with pytest.raises((NotFound, Refused)) as gone:
                    await each.objects.read(toybox.project, digest.digest)
                assert gone.value.code == "erased"
                prompts = Prompts(each.store, each.keyring, each.objects, render, outputs_used)
                with pytest.raises(ToyboxError, match=r"destroyed|erased"):
                    await prompts.messages(await toybox.job("reader"))

        after = await toybox.log()
        assert after == before
        assert [leaf(each) for each in after] == [leaf(each) for each in before]
        assert folded(after) == folded(before)
        assert {each.type for each in after} <= AGGREGATE_OF.keys()


async def test_nothing_more_is_written_or_spent_under_a_destroyed_key(database: str, tmp_path: Path) -> None:
    async with product(database, tmp_path) as toybox:
        await run_once(toybox)
        await toybox.system.keyring.destroy(toybox.project)
        head = await toybox.system.store.head()
        for command in (
            ChangeProjectSettings(project_id=toybox.project, description="Another quokka."),
            PauseProject(project_id=toybox.project, note="why"),
        ):
            with pytest.raises(Refused, match="was destroyed: nothing more can be written under it") as refused:
                await toybox.send(command)
            assert refused.value.code == "key_destroyed"
        with pytest.raises(Refused) as no_place:
            await toybox.system.objects.put(toybox.project, b"an asset")
        assert no_place.value.code == "key_destroyed"
        assert await toybox.system.store.head() == head

        # Run again, it comes to its prompts, cannot read them, and says so instead of asking a model.
        spent = len(await toybox.log("cost.recorded"))
        await toybox.send(ResetProject(project_id=toybox.project))
        await toybox.send(StartProject(project_id=toybox.project))
        await toybox.ended("failed")
        denied = (await toybox.log("llm_job.denied"))[0].payload()
        assert denied["kind"] == "erased"
        assert len(await toybox.log("cost.recorded")) == spent
        assert (await toybox.state(Agent, (await toybox.agent("writer")).id)).failures == 0


async def test_other_projects_do_not_notice(database: str, tmp_path: Path) -> None:
    async with product(database, tmp_path) as toybox:
        await run_once(toybox)
        erased, toybox.project = toybox.project, uuid4()
        await toybox.create(PLANNED, inputs={"notes": "The wombat digs."})
        await toybox.system.keyring.destroy(erased)
        await toybox.start()
        await toybox.decide((await toybox.came("checkpoint.requested", 2))[1], "approve")
        await toybox.came("project.completed", 2)
        assert "wombat" in await toybox.output("writer")
