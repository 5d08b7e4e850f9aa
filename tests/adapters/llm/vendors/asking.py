"""How tests ask a model: requests with sensible defaults, and an answer collected whole or from a stream."""

import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from decimal import Decimal
from uuid import UUID, uuid4

from commands.models import LanguageModel, Message, ModelReply, ModelRequest, TextDelta

PROMPT = "one two three four"
Ask = Callable[[LanguageModel, ModelRequest], Awaitable[ModelReply]]


def request(
    prompt: str = PROMPT,
    *,
    system: str | None = None,
    model: str = "tiny",
    seconds: float = 10.0,
    max_output_tokens: int = 50,
    temperature: Decimal | None = None,
    attempt_id: UUID | None = None,
) -> ModelRequest:
    first = (Message("system", system),) if system else ()
    return ModelRequest(
        attempt_id=attempt_id or uuid4(),
        model=model,
        messages=(*first, Message("user", prompt)),
        max_output_tokens=max_output_tokens,
        temperature=temperature,
        deadline=time.monotonic() + seconds,
    )


async def whole(model: LanguageModel, asked: ModelRequest) -> ModelReply:
    return await model.complete(asked)


async def streamed(model: LanguageModel, asked: ModelRequest) -> ModelReply:
    """The reply of a stream, once it has been shown to be the sum of its pieces and its last item."""
    pieces, reply = list[str](), None
    async with aclosing(model.stream(asked)) as items:
        async for item in items:
            assert reply is None, "something followed the reply"
            if isinstance(item, TextDelta):
                pieces.append(item.text)
            else:
                reply = item
    assert reply is not None
    assert reply.text == "".join(pieces)
    return reply
