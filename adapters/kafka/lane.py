"""A thread for blocking calls, one after the other, that is left behind when a call hangs."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Lane:
    """A daemon thread, unlike an executor's: one that is stuck for ever must not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[], R], *, seconds: float) -> R:
        """The call's answer. TimeoutError when it takes too long: it may still go on, so do not use this lane again."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._jobs.put((call, answer, loop))
        async with asyncio.timeout(seconds):
            return await answer

    def leave(self) -> None:
        """No more calls; the thread ends after the one that it is at, if that ever ends."""
        self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            call, answer, loop = job
            try:
                value, error = call(), None
            except BaseException as raised:  # noqa: BLE001 -- whoever awaits the answer judges it
                value, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, answer, value, error)
            del job, call, answer, value, error


def _settle(answer: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)
