"""OpenAI's Chat Completions through its SDK: OpenAI itself, OpenRouter, and any server that speaks the protocol."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal, cast

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import SecretStr

from adapters.llm.failures import error_in
from adapters.llm.fields import Malformed, items, mapping, whole, word
from adapters.llm.wire import Attempt, Wire
from commands.models import FinishReason, ModelError, ModelReply, ModelRequest, TextDelta
from domain.values import TokenUsage

OPENAI_URL = "https://api.openai.com/v1"
OPENROUTER_URL = "https://openrouter.ai/api/v1"

LimitField = Literal["max_completion_tokens", "max_tokens"]

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refused",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}


class OpenAIModel:
    """A server that speaks Chat Completions. Without a key, no Authorization header is sent."""

    def __init__(
        self,
        *,
        provider: str = "openai",
        api_key: SecretStr | None,
        base_url: str = OPENAI_URL,
        limit_field: LimitField | None = None,
    ) -> None:
        key = api_key.get_secret_value() if api_key is not None else None
        self._wire = Wire(provider, base_url, secret=key)
        self._authorization = f"Bearer {key}" if key else openai.omit
        # OpenAI's own models refuse `max_tokens`; many other servers do not know its successor.
        self._limit_field = limit_field or _limit_field(base_url)
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
            reading = _Reading(request, attempt)
            reading.head(raw)
            reading.choice(mapping(choices[0]), "message")
            reading.count(raw.get("usage"))
            return reading.reply_or_malformed()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        with self._wire.attempt(request) as attempt:
            reading = _Reading(request, attempt)
            chunks = await attempt.step(
                lambda: self._sdk.chat.completions.create(
                    stream=True, stream_options={"include_usage": True}, **self._arguments(request, attempt)
                )
            )
            try:
                while True:
                    try:
                        chunk = await attempt.step(lambda: anext(chunks, None))
                    except ModelError:
                        if reading.finish is None:
                            raise
                        break  # the text is whole; only its bill is missing
                    if chunk is None:
                        break
                    for text in reading.chunk(chunk):
                        yield TextDelta(text)
            finally:
                await chunks.close()
            if reading.finish is None:
                raise reading.incomplete()
            yield reading.reply()

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
        if request.temperature is not None:
            arguments["temperature"] = float(request.temperature)
        return arguments

    def __repr__(self) -> str:
        return f"<OpenAIModel {self._wire!r}>"


class _Reading:
    """An answer as it arrives."""

    def __init__(self, request: ModelRequest, attempt: Attempt) -> None:
        self._attempt = attempt
        self._model = request.model
        self._id: str | None = None
        self._problem: str | None = "the server sent no usage"
        self._started = False
        self.finish: FinishReason | None = None

    def head(self, raw: Mapping[str, object]) -> None:
        self._started = True
        self._id = word(raw.get("id")) or self._id
        self._model = word(raw.get("model")) or self._model

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
        try:
            self._attempt.usage, self._problem = usage_of(usage, answered=bool(self._attempt.pieces)), None
        except Malformed as problem:
            self._attempt.usage, self._problem = None, str(problem)

    def incomplete(self) -> ModelError:
        if not self._started:
            return self._attempt.failure("malformed", "the answer is not a stream of events")
        return self._attempt.failure("cut_stream", "the stream ended before the model had finished")

    def reply_or_malformed(self) -> ModelReply:
        if self.finish is None and not self._attempt.pieces:
            raise self._attempt.failure("malformed", "the answer has neither text nor a reason to have stopped")
        return self.reply()

    def reply(self) -> ModelReply:
        return ModelReply(
            text=self._attempt.text,
            model=self._model,
            response_id=self._id,
            finish_reason=self.finish or "unknown",
            usage=self._attempt.usage,
            raw_usage=self._attempt.raw_usage,
            usage_problem=self._problem,
        )


def usage_of(raw: Mapping[str, object], *, answered: bool) -> TokenUsage:
    """The counts of one answer; Malformed when they are missing or contradict each other."""
    if not raw:
        raise Malformed("the server sent no usage")
    prompt, completion, total = (whole(raw.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    if prompt is None or completion is None:
        raise Malformed("the usage lacks prompt_tokens or completion_tokens")
    if prompt == 0 or (completion == 0 and answered):
        raise Malformed("the usage counts nothing for a prompt or an answer that is not empty")
    if total and total != prompt + completion:
        raise Malformed(f"the usage says {total} in total but {prompt} + {completion} in parts")
    details = mapping(raw.get("prompt_tokens_details"))
    if (whole(details.get("cached_tokens")) or 0) + (whole(details.get("cache_write_tokens")) or 0) > prompt:
        raise Malformed("the usage counts more cached tokens than prompt tokens")
    return TokenUsage(input_tokens=prompt, output_tokens=completion)


def _limit_field(base_url: str) -> LimitField:
    return "max_completion_tokens" if "://api.openai.com/" in f"{base_url}/" else "max_tokens"
