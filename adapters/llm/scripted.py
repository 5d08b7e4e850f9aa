"""The scripted provider: deterministic text without any model, for demos, tests and machines without a key."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType

from adapters.llm.digest import digest_of, shortened
from adapters.llm.directives import BadDirective, Directives, directives_in, without_directives
from adapters.llm.tokens import BYTES_PER_TOKEN, clipped, estimated_prompt_tokens, estimated_tokens
from commands.models import FailureKind, ModelError, ModelReply, ModelRequest, TextDelta
from domain.pricing import Conditions, Usage

LABEL = "scripted"

_UNSENT: frozenset[FailureKind] = frozenset({"unreachable", "invalid_request"})
_MAY_COST: frozenset[FailureKind] = frozenset({"timeout", "malformed", "cut_stream"})
_CHUNK = 24


class ScriptedModel:
    """Answers with a digest of the prompt, in pieces, and counts tokens by `adapters.llm.tokens`.

    The same model and messages give the same answer in every process. `adapters.llm.directives` has the lines of a
    prompt that make it fail, wait, or say a given text.
    """

    def __init__(self, *, chunk_delay: float = 0.02) -> None:
        self._chunk_delay = chunk_delay
        self._failures: Counter[bytes] = Counter()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        call = _Call(request)
        asked = call.directives()
        await call.pause(asked.delay)
        text, finish = call.answer(asked)
        failing = asked.fail if self._fails(asked, call.digest) else None
        if failing is not None and failing != "cut_stream":
            raise call.failure(failing)
        pieces = _pieces(text)
        for index, piece in enumerate(pieces):
            if failing is not None and index >= len(pieces) // 2:
                break
            await call.pause(self._chunk_delay)
            call.said += piece
            yield TextDelta(piece)
        if failing is not None:
            raise call.failure(failing)
        read, written = estimated_prompt_tokens(request.messages), estimated_tokens(text)
        yield ModelReply(
            text=text,
            model=request.model,
            response_id=f"{LABEL}-{call.digest.hex()[:16]}",
            finish_reason="length" if finish == "length" else "stop",
            usage=Usage.simple(request.model, input_tokens=read, output_tokens=written),
            raw_usage=MappingProxyType({"input_tokens": read, "output_tokens": written, "estimate": True}),
        )

    async def complete(self, request: ModelRequest) -> ModelReply:
        async for item in self.stream(request):
            if isinstance(item, ModelReply):
                return item
        raise AssertionError("the stream ends with a reply or an error")

    def conditions(self, request: ModelRequest) -> Conditions:  # noqa: ARG002 -- asks for nothing special
        """It has no cache."""
        return Conditions(reading=frozenset({"input"}))

    async def aclose(self) -> None:
        self._failures.clear()

    def _fails(self, asked: Directives, digest: bytes) -> bool:
        if asked.fail is None:
            return False
        if asked.times is None:
            return True
        if self._failures[digest] >= asked.times:
            del self._failures[digest]
            return False
        self._failures[digest] += 1
        return True

    def __repr__(self) -> str:
        return "<ScriptedModel>"


class _Call:
    """One request while it is answered."""

    def __init__(self, request: ModelRequest) -> None:
        self._request = request
        self.said = ""
        parts = [request.model, *(part for message in request.messages for part in (message.role, message.content))]
        try:
            self.digest = sha256("\0".join(parts).encode()).digest()
        except UnicodeEncodeError as error:
            raise ModelError(
                "invalid_request", f"{LABEL}: the prompt is not text: {error.reason}", sent=False
            ) from None

    def directives(self) -> Directives:
        try:
            return directives_in(self._request.messages)
        except BadDirective as error:
            raise ModelError("invalid_request", f"{LABEL}: {error}", sent=False) from None

    def answer(self, asked: Directives) -> tuple[str, str]:
        text = asked.text
        if text is None:
            spoken = [message for message in self._request.messages if message.role == "user"]
            prompt = "\n\n".join(without_directives(message.content) for message in spoken)
            text = digest_of(prompt, int.from_bytes(self.digest[:8]))
            # A model that is told how much it may say comes to an end by itself; a given text is simply cut off.
            text = shortened(text, self._request.max_output_tokens * BYTES_PER_TOKEN) or text
        short = clipped(text, self._request.max_output_tokens)
        return short, "stop" if short == text else "length"

    async def pause(self, seconds: float) -> None:
        """Wait, but never past the deadline."""
        left = self._request.deadline - time.monotonic()
        if left < seconds or left <= 0:
            await asyncio.sleep(max(left, 0))
            raise self.failure("timeout")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError as cancelled:
            raise cancelled from self.failure("cancelled")

    def failure(self, kind: FailureKind) -> ModelError:
        said = self.said
        return ModelError(
            kind,
            f"{LABEL}: {kind.replace('_', ' ')}, as the prompt or its deadline demanded",
            sent=kind not in _UNSENT,
            may_cost=kind in _MAY_COST or bool(said),
            retry_after=0.05 if kind == "rate_limited" else None,
            text_so_far=said,
        )


def _pieces(text: str) -> list[str]:
    """Pieces of about the same length that end with a word where they can."""
    cuts = [0]
    while cuts[-1] < len(text):
        end = cuts[-1] + _CHUNK
        space = text.find(" ", end, end + _CHUNK)
        cuts.append(min(len(text), space + 1 if space >= 0 else end))
    return [text[start:end] for start, end in pairwise(cuts)]
