"""Rebuilds that somebody asked for over HTTP: they run on in the process, and tell how far they are."""

import asyncio
from typing import Any

import structlog

from domain.errors import Conflict
from domain.log import LogReader
from projections.projector import Connections, Progress, Projection, rebuild

log = structlog.get_logger("toybox.rebuilds")


class Rebuilds:
    """One process's rebuilds, at most one of each read model."""

    def __init__(self, connections: Connections, reader: LogReader) -> None:
        self._connections = connections
        self._reader = reader
        self._running: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, Progress] = {}
        self._last: dict[str, dict[str, Any]] = {}

    def start(self, projection: Projection) -> None:
        """Begin; Conflict while it is being rebuilt here."""
        if projection.name in self._running:
            raise Conflict(
                f"{projection.name} is being rebuilt already: wait until it is through", code="rebuild_running"
            )
        task = asyncio.create_task(self._run(projection), name=f"rebuild {projection.name}")
        self._running[projection.name] = task
        task.add_done_callback(lambda _: self._running.pop(projection.name, None))

    def progress(self, name: str) -> Progress | None:
        """How far the rebuild is that runs now."""
        return self._progress.get(name) if name in self._running else None

    def last(self, name: str) -> dict[str, Any] | None:
        """How the last one ended."""
        return self._last.get(name)

    async def close(self) -> None:
        """Stop; a build that was interrupted is taken up where it stood."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, projection: Projection) -> None:
        name = projection.name
        try:
            rebuilt = await rebuild(self._connections, self._reader, projection, progress=self._note)
        except Exception as error:  # noqa: BLE001 -- nobody awaits this task: whatever it was is told by the list
            log.warning("a rebuild failed", projection=name, reason=str(error))
            self._last[name] = {"ok": False, "reason": str(error)}
        else:
            compared = rebuilt.comparison
            self._last[name] = {
                "ok": True,
                "generation": rebuilt.generation.generation,
                "position": rebuilt.generation.position,
                "rows": compared.built.rows,
                "equal": compared.equal if compared.comparable else None,
                "differences": list(compared.differences()) if compared.comparable else [],
            }

    def _note(self, progress: Progress) -> None:
        self._progress[progress.projection] = progress
