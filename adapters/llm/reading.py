"""An answer as it arrives, whatever protocol it is told in: its head, when it is whole, and what it comes to."""

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol, TypeVar

from adapters.llm.fields import word
from adapters.llm.wire import Attempt
from commands.models import FinishReason, ModelError, ModelReply, ModelRequest

Piece_co = TypeVar("Piece_co", covariant=True)


class Pieces(Protocol[Piece_co]):
    """A stream as both SDKs give it."""

    async def __anext__(self) -> Piece_co:
        """The next piece."""
        ...

    async def close(self) -> None:
        """Give the connection back."""
        ...


class Reading:
    """What is known of an answer so far; each protocol adds how its pieces are read."""

    def __init__(self, request: ModelRequest, attempt: Attempt) -> None:
        self._attempt = attempt
        self._model = request.model
        self._id: str | None = None
        self._started = False
        self.finish: FinishReason | None = None

    def head(self, raw: Mapping[str, object]) -> None:
        """Who answers, and under which id; repeated or left out by later pieces."""
        self._started = True
        self._id = word(raw.get("id")) or self._id
        self._model = word(raw.get("model")) or self._model

    async def until_whole(self, stream: Pieces[Piece_co]) -> AsyncGenerator[Piece_co, None]:
        """Every piece of a stream. One that breaks off after the text is whole has lost its bill at most."""

        async def following() -> Piece_co | None:
            try:
                return await stream.__anext__()
            except StopAsyncIteration:
                return None

        try:
            while (piece := await self._attempt.step(following)) is not None:
                yield piece
        except ModelError:
            if self.finish is None:
                raise
        finally:
            await stream.close()
        if self.finish is None:
            raise self._incomplete()

    def _incomplete(self) -> ModelError:
        if not self._started:
            return self._attempt.failure("malformed", "the answer is not a stream of events")
        return self._attempt.failure("cut_stream", "the stream ended before the model had finished")

    def reply_or_malformed(self) -> ModelReply:
        """Of an answer in one piece, which may turn out to be none."""
        if self.finish is None and not self._attempt.pieces:
            raise self._attempt.failure("malformed", "the answer has neither text nor a reason to have stopped")
        return self.reply()

    def reply(self) -> ModelReply:
        """All that it came to."""
        return ModelReply(
            text=self._attempt.text,
            model=self._model,
            response_id=self._id,
            finish_reason=self.finish or "unknown",
            usage=self._attempt.usage,
            raw_usage=self._attempt.raw_usage,
            usage_problem=self._attempt.usage_problem,
            usage_remarks=self._attempt.usage_remarks,
        )
