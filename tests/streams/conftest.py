"""Fixtures for what follows the log: a story, and a worker over it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.streams.workshop import Workshop, workshop
from tests.support.story import Story, telling


@pytest.fixture
async def story() -> AsyncIterator[Story]:
    """A fresh log with its sequencer running."""
    async with telling() as told:
        yield told


@pytest.fixture
async def shop(story: Story, tmp_path: Path) -> Workshop:
    """A worker with a dollar to spend."""
    return await workshop(story, tmp_path / "objects")
