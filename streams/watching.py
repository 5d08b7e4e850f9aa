"""Looks after answers in the making: sweeps what is of no use any more, cancels jobs that were left alone."""

import asyncio
import time
from uuid import UUID

import structlog

from commands.handling import Caller, Commands, Principal
from commands.llm_jobs import CancelLlmJob
from domain.drafting import Audience, Drafts
from domain.errors import NotFound, Refused, Unavailable

LOOK_SECONDS = 1.0
SWEEP_SECONDS = 60.0
DONE_SECONDS = 300.0
"""How long drafts stay that nobody writes any more: clients that come back late find them faster than the answer."""
REASON = "disconnected"
"""Why jobs are cancelled here."""
log = structlog.get_logger("toybox.drafts")


class Watch:
    """Any worker may run it, and any number: cancelling twice is cancelling once."""

    def __init__(self, drafts: Drafts, audience: Audience, commands: Commands) -> None:
        self._drafts, self._audience, self._commands = drafts, audience, commands
        self._principal = Principal("disconnects", frozenset({CancelLlmJob.PERMISSION}))

    async def run(self) -> None:
        """Look until cancelled."""
        sweep_at = time.monotonic()
        while True:
            try:
                for job_id in await self._audience.abandoned():
                    await self._cancel(job_id)
                if time.monotonic() >= sweep_at:
                    await self._drafts.sweep(DONE_SECONDS)
                    sweep_at = time.monotonic() + SWEEP_SECONDS
            except Unavailable as away:
                log.warning("the watch over answers waits", reason=str(away))
                await asyncio.sleep(away.retry_after)
            await asyncio.sleep(LOOK_SECONDS)

    async def _cancel(self, job_id: UUID) -> None:
        caller = Caller(self._principal, "worker", f"disconnected|{job_id}")
        try:
            await self._commands.send(CancelLlmJob(job_id=job_id, reason=REASON), caller)
            log.info("a job was left alone and is cancelled", job=str(job_id))
        except (Refused, NotFound) as refusal:  # it has ended, or was never queued
            log.debug("nothing to cancel", job=str(job_id), because=str(refusal))
        await self._audience.forget(job_id)
