"""What the sequencer keeps in memory is what the stored bytes say, for every aggregate of whole runs."""

from pathlib import Path
from uuid import UUID

from commands.projects import CancelProject, PauseProject, ResetProject, ResumeProject, StartProject
from commands.sequencer import Sequencer
from domain.kernel import Aggregate, evolve
from tests.acceptance.product import Product, blueprint, product

AGENTS = {
    "top": {},
    "left": {"depends_on": ["top"], "checkpoint": {"title": "Is it good?"}},
    "right": {"depends_on": ["top"], "prompt": "This is agent right.\n#scripted: fail rate_limited once"},
    "wrong": {"depends_on": ["top"], "on_failure": "skip", "prompt": "Agent wrong.\n#scripted: fail authentication"},
    "after": {"depends_on": ["wrong"]},
    "join": {"depends_on": ["left", "right"], "phase": "second"},
}


def cached(sequencer: Sequencer) -> dict[UUID, Aggregate]:
    """Every aggregate that the sequencer holds."""
    return dict(sequencer._cache.aggregates)


async def replayed(toybox: Product) -> dict[UUID, Aggregate]:
    """Every aggregate, from its stored events alone."""
    found: dict[UUID, Aggregate] = {}
    for stored in await toybox.log():
        found[stored.stream_id] = evolve(found.get(stored.stream_id), stored)
    return found


def state(aggregate: Aggregate) -> dict[str, object]:
    """Every attribute that makes up its state, as it is."""
    names = type(aggregate).state_model().model_fields
    return {"version": aggregate.version, **{name: getattr(aggregate, name) for name in names}}


async def test_every_cached_aggregate_is_the_replay_of_its_bytes_and_survives_its_snapshot(
    database: str, tmp_path: Path
) -> None:
    async with product(database, tmp_path) as toybox:
        await toybox.create(blueprint(AGENTS), budget="1")
        await toybox.start()
        asked = (await toybox.came("checkpoint.requested"))[0]
        await toybox.send(PauseProject(project_id=toybox.project, reason="lunch", note="back soon"))
        await toybox.decide(asked, "respond", comment="Shorter, please.")
        await toybox.send(ResumeProject(project_id=toybox.project))
        again = (await toybox.came("checkpoint.requested", 2))[1]
        await toybox.decide(again, "edit", content="Short.")
        await toybox.ended("completed")
        await toybox.send(ResetProject(project_id=toybox.project))
        await toybox.send(StartProject(project_id=toybox.project))
        await toybox.came("agent.started", 8)
        await toybox.send(CancelProject(project_id=toybox.project))
        await toybox.came("llm_job.cancelled")
        await toybox.quiet()

        held = cached(toybox.system.sequencer)
        real = await replayed(toybox)
        assert held.keys() == real.keys(), "every stream of this run was decided on here"
        for stream, aggregate in real.items():
            assert type(held[stream]) is type(aggregate)
            assert state(held[stream]) == state(aggregate), f"{aggregate.TOPIC} {stream}"
            assert held[stream].snapshot() == aggregate.snapshot()
            restored = type(aggregate).from_snapshot(stream, aggregate.version, aggregate.snapshot())
            assert state(restored) == state(aggregate), f"{aggregate.TOPIC} {stream} from its snapshot"
            assert restored.snapshot() == aggregate.snapshot()
        assert {aggregate.TOPIC for aggregate in real.values()} == {
            "agent",
            "asset",
            "budget",
            "checkpoint",
            "cost",
            "llm_job",
            "project",
        }
