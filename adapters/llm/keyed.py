"""A provider's client with the secrets that work now: the newest is used, the one before it where that is refused."""

import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog

from adapters.llm.keys import LiveSecret
from commands.models import LanguageModel, ModelError, ModelReply, ModelRequest, TextDelta
from domain.pricing import Conditions

REST_SECONDS = 60.0
"""How long a client is kept that is wanted no more: an attempt that was prepared with it may be on its way."""
log = structlog.get_logger("toybox.provider_keys")


@dataclass(slots=True)
class Client:
    """One client of a provider, made with one secret or with none of ours; counts who uses it."""

    model: LanguageModel
    secret: LiveSecret | None = None
    busy: int = 0
    left_at: float | None = None

    @contextmanager
    def in_use(self) -> Generator[LanguageModel]:
        """It is not closed meanwhile."""
        self.busy += 1
        try:
            yield self.model
        finally:
            self.busy -= 1

    def leave(self) -> None:
        """Nobody new gets it."""
        self.left_at = time.monotonic()

    @property
    def has_rested(self) -> bool:
        """Whether nobody can want it any more."""
        return self.left_at is not None and not self.busy and time.monotonic() - self.left_at > REST_SECONDS


class KeyedModel:
    """What an attempt gets. A refused key costs nothing and answers nothing: the next is tried under the same id."""

    def __init__(self, provider: str, clients: Sequence[Client], on_use: Callable[[LiveSecret], None]) -> None:
        self._provider = provider
        self._clients = clients
        self._on_use = on_use

    @property
    def key_id(self) -> UUID | None:
        """The stored key that pays; None where the key comes from the environment, or there is none."""
        secret = self._clients[0].secret
        return secret.key_id if secret else None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        for number, client in enumerate(self._clients, 1):
            begun = False
            try:
                with client.in_use() as model:
                    async with aclosing(model.stream(request)) as pieces:
                        async for piece in pieces:
                            if not begun and client.secret:
                                self._on_use(client.secret)
                            begun = True
                            yield piece
            except ModelError as failure:
                if begun or self._is_final(failure, number):
                    raise
            else:
                return

    async def complete(self, request: ModelRequest) -> ModelReply:
        for number, client in enumerate(self._clients, 1):
            try:
                with client.in_use() as model:
                    reply = await model.complete(request)
            except ModelError as failure:
                if self._is_final(failure, number):
                    raise
            else:
                if client.secret:
                    self._on_use(client.secret)
                return reply
        raise AssertionError("the last client answers or fails")

    def conditions(self, request: ModelRequest) -> Conditions:
        """The same whoever pays."""
        return self._clients[0].model.conditions(request)

    async def aclose(self) -> None:
        """The registry closes clients: others use them too."""

    def _is_final(self, failure: ModelError, number: int) -> bool:
        if failure.kind != "authentication" or failure.may_cost or number == len(self._clients):
            return True
        log.warning("the provider refused a key; the one before it is tried", provider=self._provider, key=self.key_id)
        return False
