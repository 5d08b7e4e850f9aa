"""The watch over providers: what another one knows that takes over, and when nobody has asked for a while."""

from typing import Any

from domain.ids import provider_health_id
from domain.provider_health import HealthRules, ProviderHealth
from streams.provider_health import HealthWatch
from tests.commands.staging import admit, complete, fail, queue
from tests.streams.test_circuits import NoLeader
from tests.support.story import Story

TARGET: dict[str, Any] = {"provider": "openai", "model": "small"}


async def watching(story: Story) -> tuple[HealthWatch, int]:
    """Another process begins to watch, and how far it is."""
    watch = HealthWatch(reader=story.store, commands=story.commands, leadership=NoLeader(), now=story.clock)
    return watch, await watch.begin()


async def ended(story: Story, name: str, *, ok: bool) -> None:
    """An attempt at the provider."""
    job = story.id(name)
    await story.given(queue(job, **TARGET), admit(job, "0.01", **TARGET))
    await story.given(complete(job, None) if ok else fail(job, kind="overloaded", retryable=False, sent=False))


def level(story: Story) -> str:
    return story.state(ProviderHealth, provider_health_id("openai")).level


async def test_a_provider_that_works_again_is_said_to_by_a_watch_that_never_saw_it_fail(story: Story) -> None:
    watch, position = await watching(story)
    for number in range(2):
        await ended(story, f"failed {number}", ok=False)
    position = await watch.follow(position, len(story.events))
    assert level(story) == "degraded"
    story.clock.advance(HealthRules().window_seconds * 2)
    watch, position = await watching(story)
    for number in range(20):
        await ended(story, f"answered {number}", ok=True)
    await watch.follow(position, len(story.events))
    assert level(story) == "healthy"
