"""The `story` fixture."""

from collections.abc import AsyncIterator

import pytest

from tests.support.story import Story, telling


@pytest.fixture
async def story() -> AsyncIterator[Story]:
    """A fresh log with its sequencer running."""
    async with telling() as told:
        yield told
