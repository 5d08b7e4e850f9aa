"""Keeps followers running: one that ends in an unexpected error is started again, with growing pauses."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
HEALTHY_SECONDS = 60.0
log = structlog.get_logger("toybox")


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run until cancelled."""
    loop, failures = asyncio.get_running_loop(), 0
    while True:
        started = loop.time()
        try:
            await run()
        except Exception:
            # Whatever it was is in the log; a follower that stays dead would stop the product without a word.
            log.exception("a follower ended and is started again", follower=name)
        failures = 0 if loop.time() - started > HEALTHY_SECONDS else failures + 1
        await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
