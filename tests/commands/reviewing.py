"""Stages for stories about results: a project whose real reactions answer every event, its models' answers by hand."""

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import streams.reactions
from commands.checkpoints import ResolveCheckpoint
from domain.checkpoints import Asset, Checkpoint
from domain.ids import asset_id, checkpoint_id
from domain.kernel import load_event
from streams.reacting import REACTIONS
from tests.commands.projects_stage import an_agent, build
from tests.commands.staging import admit, complete
from tests.support.story import Story

for _module in pkgutil.iter_modules(streams.reactions.__path__):
    importlib.import_module(f"streams.reactions.{_module.name}")

REVIEW = {"checkpoint": {"title": "Publish?", "question": "Is it true?", "expires_in_seconds": 3600}}
OTHER = "b" * 64


async def react(story: Story, after: int = 0) -> int:
    """Answer events, and the events that this leads to, until nothing follows; the last position that was answered."""
    while after < len(story.events):
        stored = story.events[after]
        after += 1
        for reaction in REACTIONS.values():
            if stored.type not in reaction.types:
                continue
            for number, command in enumerate(reaction.react(load_event(stored), stored)):
                await story.when(command, key=f"{reaction.name}/{stored.position}/{number}")
                refused = story.refusal
                assert refused is None or refused.code == "not_due", f"{reaction.name} was refused: {refused}"
    return after


async def reviewed(story: Story, sketch: Any = None, **of: Any) -> UUID:
    """A started project of one phase with a writer that is reviewed; the first agents run."""
    sketch = sketch or {"write": {"writer": [], "printer": ["writer"]}}
    agents: dict[str, Any] = {"writer": REVIEW} | of
    project = await build(story, sketch, started=True, **agents)
    await react(story)
    return project


async def answer(story: Story, name: str = "writer", text: str = "The text.") -> None:
    """The model answers the agent's present job, and everything follows from that."""
    job, position = an_agent(story, name).job_id, len(story.events)
    assert job, f"{name} does not run"
    await story.given(admit(job, project_id=story.id("project"), hold_seconds=900))
    await story.given(complete(job, project_id=story.id("project"), output=text))
    await react(story, position)


async def decide(story: Story, decision: str, name: str = "writer", **more: Any) -> None:
    """A person decides about the result that an agent waits with, and everything follows from that."""
    position = len(story.events)
    await story.given(resolve(story, decision, name, **more))
    await react(story, position)


def resolve(story: Story, decision: str, name: str = "writer", **more: Any) -> ResolveCheckpoint:
    """The decision as a person would send it, having looked at the content."""
    held = the_checkpoint(story, name)
    facts = {"project_id": story.id("project"), "checkpoint_id": held.id, "decision": decision, "digest": held.digest}
    if decision == "edit":
        facts |= {"content_digest": OTHER, "content_size": 7}
    return ResolveCheckpoint.model_validate(facts | more)


def the_checkpoint(story: Story, name: str = "writer") -> Checkpoint:
    """The checkpoint of an agent's present attempt."""
    agent = an_agent(story, name)
    return story.state(Checkpoint, checkpoint_id(agent.id, agent.run, agent.attempt))


def the_asset(story: Story, name: str = "writer.md") -> Asset:
    """An asset of the project."""
    return story.state(Asset, asset_id(story.id("project"), name))


def types_after(story: Story, position: int) -> Sequence[str]:
    """What happened since."""
    return [each.type for each in story.events[position:]]
