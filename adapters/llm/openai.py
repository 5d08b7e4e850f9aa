"""OpenAI's Chat Completions through its SDK: OpenAI itself, OpenRouter, and any server that speaks the protocol."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, Literal, cast

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import SecretStr

from adapters.llm.failures import error_in
from adapters.llm.fields import items, mapping, word
from adapters.llm.reading import Reading
from adapters.llm.usage import Counted, of_chat, of_openrouter
from adapters.llm.wire import Attempt, Wire
from commands.models import FinishReason, ModelReply, ModelRequest, TextDelta
from domain.pricing import Bucket, Conditions

OPENAI_URL = "https://api.openai.com/v1"
OPENROUTER_URL = "https://openrouter.ai/api/v1"

READING: Final = frozenset[Bucket]({"input", "input_cache_read", "input_cache_write_30m"})
"""These servers keep and serve long prompts unasked, and some charge more for what they keep."""

LimitField = Literal["max_completion_tokens", "max_tokens"]

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refused",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}


class OpenAIModel:
    """A server that speaks Chat Completions. Without a key, no Authorization header is sent.

    One that `says_charge`, as OpenRouter does, is billed by what it says.
    """

    def __init__(
        self,
        *,
        provider: str = "openai",
        api_key: SecretStr | None,
        base_url: str = OPENAI_URL,
        limit_field: LimitField | None = None,
        says_charge: bool = False,
    ) -> None:
        key = api_key.get_secret_value() if api_key is not None else None
        self._wire = Wire(provider, base_url, secret=key)
        self._authorization = f"Bearer {key}" if key else openai.omit
        # OpenAI's own models refuse `max_tokens`; many other servers do not know its successor.
        self._limit_field = limit_field or _limit_field(base_url)
        self._is_openai = _is_openai(base_url)
        self._says_charge = says_charge
        self._sdk = openai.AsyncOpenAI(
            api_key=key or "none",  # never sent then: the header is omitted; None would make the SDK look elsewhere
            base_url=base_url,
            max_retries=0,
            timeout=self._wire.timeout,
            http_client=self._wire.http,
        )

    async def complete(self, request: ModelRequest) -> ModelReply:
        with self._wire.attempt(request) as attempt:
            answer = await attempt.step(
                lambda: self._sdk.chat.completions.create(stream=False, **self._arguments(request, attempt))
            )
            if not isinstance(answer, ChatCompletion):
                raise attempt.failure("malformed", "the answer is not JSON")
            raw = answer.to_dict(mode="json", warnings=False)
            if not raw.get("choices") and error_in(raw) is not None:
                raise attempt.refused(raw)
            choices = items(raw.get("choices"))
            if not choices:
                raise attempt.failure("malformed", "the answer has no choices")
            reading = _Completion(request, attempt, says_charge=self._says_charge)
            reading.head(raw)
            reading.choice(mapping(choices[0]), "message")
            reading.count(raw.get("usage"))
            return reading.reply_or_malformed()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        with self._wire.attempt(request) as attempt:
            reading = _Completion(request, attempt, says_charge=self._says_charge)
            chunks = await attempt.step(
                lambda: self._sdk.chat.completions.create(
                    stream=True, stream_options={"include_usage": True}, **self._arguments(request, attempt)
                )
            )
            async with aclosing(reading.until_whole(chunks)) as pieces:
                async for chunk in pieces:
                    for text in reading.chunk(chunk):
                        yield TextDelta(text)
            yield reading.reply()

    def conditions(self, request: ModelRequest) -> Conditions:  # noqa: ARG002 -- asks for nothing special
        """Its tier is the standard one, because OpenAI is asked for it; caches are used unasked."""
        return Conditions(reading=READING)

    async def aclose(self) -> None:
        await self._sdk.close()

    def _arguments(self, request: ModelRequest, attempt: Attempt) -> dict[str, Any]:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        arguments: dict[str, Any] = {
            "model": request.model,
            "messages": cast("list[ChatCompletionMessageParam]", messages),
            self._limit_field: request.max_output_tokens,
            "extra_headers": {**attempt.headers, "Authorization": self._authorization},
        }
        if self._is_openai:
            # Else the tier is that of the account's project, which may cost twice as much as what is held.
            arguments["service_tier"] = "default"
        if request.temperature is not None:
            arguments["temperature"] = float(request.temperature)
        return arguments

    def __repr__(self) -> str:
        return f"<OpenAIModel {self._wire!r}>"


class _Completion(Reading):
    """Its tier is told with its head, its usage with its last piece."""

    def __init__(self, request: ModelRequest, attempt: Attempt, *, says_charge: bool) -> None:
        super().__init__(request, attempt)
        self._says_charge = says_charge
        self._tier: str | None = None

    def head(self, raw: Mapping[str, object]) -> None:
        super().head(raw)
        self._tier = word(raw.get("service_tier")) or self._tier

    def chunk(self, chunk: object) -> list[str]:
        if not isinstance(chunk, ChatCompletionChunk):
            raise self._attempt.failure("malformed", "the stream holds something that is not a chunk")
        raw = chunk.to_dict(mode="json", warnings=False)
        self.head(raw)
        before = len(self._attempt.pieces)
        for choice in items(raw.get("choices")):
            self.choice(mapping(choice), "delta")
        if raw.get("usage") is not None:
            self.count(raw["usage"])
        return self._attempt.pieces[before:]

    def choice(self, choice: Mapping[str, object], part: Literal["message", "delta"]) -> None:
        said = mapping(choice.get(part))
        refusal = word(said.get("refusal"))
        text = word(said.get("content")) or refusal
        if text is not None:
            self._attempt.pieces.append(text)
        if refusal is not None:
            self.finish = "refused"
        elif (reason := word(choice.get("finish_reason"))) is not None:
            if reason == "error":  # OpenRouter: the upstream failed after it had begun
                raise self._attempt.refused(choice)
            self.finish = "refused" if self.finish == "refused" else _FINISH.get(reason, "unknown")

    def count(self, raw: object) -> None:
        usage = mapping(raw)
        self._attempt.raw_usage = dict(usage)
        self._attempt.count(lambda: self._counted(usage, answered=bool(self._attempt.pieces)))

    def _counted(self, usage: Mapping[str, object], *, answered: bool) -> Counted:
        if self._says_charge:
            return of_openrouter(usage, model=self._model, answered=answered)
        return of_chat(usage, model=self._model, tier=self._tier, answered=answered)


def _is_openai(base_url: str) -> bool:
    return "://api.openai.com/" in f"{base_url}/"


def _limit_field(base_url: str) -> LimitField:
    return "max_completion_tokens" if _is_openai(base_url) else "max_tokens"
