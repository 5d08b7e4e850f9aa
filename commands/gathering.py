"""Asks for many with one question: what several tasks want to know at the same moment goes out together."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Gathering(Generic[K, V]):
    """One question at a time is under way; whoever comes meanwhile is in the next one.

    An answer never is older than its question: nobody joins a question that was sent before.
    """

    def __init__(self, together: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, most: int = 500) -> None:
        self._together, self._most = together, most
        self._waiting: dict[K, asyncio.Future[V]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, key: K) -> V:
        """The answer for this key; what went wrong with the question is raised to all who shared it."""
        found = self._waiting.get(key)
        if found is None:
            found = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(found)

    async def _ask(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[: self._most]
            asked = {key: self._waiting.pop(key) for key in keys}
            try:
                answers = await self._together(keys)
            except BaseException as error:
                for future in asked.values():
                    if isinstance(error, asyncio.CancelledError):
                        future.cancel()
                    else:
                        future.set_exception(error)
                        future.exception()  # whoever asked may be gone; asyncio need not complain of it
                if isinstance(error, asyncio.CancelledError):
                    raise
            else:
                for key, future in asked.items():
                    future.set_result(answers[key])
