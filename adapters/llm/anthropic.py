"""Anthropic's Messages through its SDK."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import anthropic
from anthropic.types import Message as SdkMessage
from pydantic import SecretStr

from adapters.llm.fields import Malformed, items, mapping, whole, word
from adapters.llm.reading import Reading
from adapters.llm.usage import Counted, of_messages
from adapters.llm.wire import NO_USAGE, Attempt, Wire
from commands.models import FinishReason, ModelReply, ModelRequest, TextDelta
from domain.pricing import Bucket, Conditions

ANTHROPIC_URL = "https://api.anthropic.com"

_WITH_TEMPERATURE = "2023-06-01"
"""The last API version that takes a temperature; the SDK's own answers any with 400."""

READING: Final = frozenset[Bucket]({"input"})
"""Nothing is cached unless a request marks it, and ours mark nothing."""
REGIONS: Final = frozenset({None, "us"})
"""A workspace may be bound to the US, which its answers tell and its requests need not."""

_FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
    "tool_use": "tool_use",
    "pause_turn": "paused",
}


class AnthropicModel:
    """Anthropic, or a server that speaks its Messages protocol."""

    def __init__(self, *, provider: str = "anthropic", api_key: SecretStr, base_url: str = ANTHROPIC_URL) -> None:
        key = api_key.get_secret_value()
        if not key:
            raise ValueError(f"{provider} needs an API key")
        self._wire = Wire(provider, base_url, secret=key)
        self._authorization = f"Bearer {key}"
        self._is_anthropic = base_url.rstrip("/") == ANTHROPIC_URL
        self._sdk = anthropic.AsyncAnthropic(
            api_key=key,
            base_url=base_url,
            max_retries=0,
            timeout=self._wire.timeout,
            http_client=self._wire.http,
            open_telemetry=False,  # its spans would count every call a second time beside ours
        )

    async def complete(self, request: ModelRequest) -> ModelReply:
        with self._wire.attempt(request) as attempt:
            answer = await attempt.step(
                lambda: self._sdk.messages.create(stream=False, **self._arguments(request, attempt))
            )
            if not isinstance(answer, SdkMessage):
                raise attempt.failure("malformed", "the answer is not JSON")
            raw = answer.to_dict(mode="json", warnings=False)
            if not isinstance(raw.get("content"), list):
                raise attempt.failure("malformed", "the answer has no content")
            reading = _Message(request, attempt)
            reading.head(raw)
            for block in items(raw["content"]):
                reading.text(mapping(block))
            reading.stop(raw.get("stop_reason"))
            reading.count(raw.get("usage"), final=True)
            return reading.reply_or_malformed()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        with self._wire.attempt(request) as attempt:
            reading = _Message(request, attempt)
            events = await attempt.step(
                lambda: self._sdk.messages.create(stream=True, **self._arguments(request, attempt))
            )
            async with aclosing(reading.until_whole(events)) as pieces:
                async for event in pieces:
                    if not hasattr(event, "to_dict"):
                        raise attempt.failure("malformed", "the stream holds something that is not an event")
                    text = reading.event(event.to_dict(mode="json", warnings=False))
                    if text is not None:
                        yield TextDelta(text)
            yield reading.reply()

    def conditions(self, request: ModelRequest) -> Conditions:  # noqa: ARG002 -- asks for nothing special
        """Its tier is the standard one, because it is asked for; where it is computed is the workspace's matter."""
        return Conditions(reading=READING, regions=REGIONS)

    async def aclose(self) -> None:
        await self._sdk.close()

    def _arguments(self, request: ModelRequest, attempt: Attempt) -> dict[str, Any]:
        turns = [message for message in request.messages if message.role != "system"]
        if not turns:
            raise attempt.failure("invalid_request", "the prompt has no user message")
        arguments: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
            "max_tokens": request.max_output_tokens,
            "extra_headers": {**attempt.headers, "Authorization": self._authorization},
        }
        if self._is_anthropic:
            # Else an account with committed capacity is served from it, at a price that no card knows.
            arguments["service_tier"] = "standard_only"
        system = [message.content for message in request.messages if message.role == "system"]
        if system:
            arguments["system"] = "\n\n".join(system)
        if request.temperature is not None:
            arguments["extra_body"] = {"temperature": float(request.temperature)}
            arguments["extra_headers"]["anthropic-version"] = _WITH_TEMPERATURE
        return arguments

    def __repr__(self) -> str:
        return f"<AnthropicModel {self._wire!r}>"


class _Message(Reading):
    """Its usage comes in two halves: the prompt's at the start, the output's at the end."""

    def event(self, raw: Mapping[str, object]) -> str | None:
        match raw.get("type"):
            case "message_start":
                message = mapping(raw.get("message"))
                self.head(message)
                self.count(message.get("usage"), final=False)
            case "content_block_start":
                return self.text(mapping(raw.get("content_block")))
            case "content_block_delta":
                return self.text(mapping(raw.get("delta")))
            case "message_delta":
                self.stop(mapping(raw.get("delta")).get("stop_reason"))
                self.count(raw.get("usage"), final=True)
            case _:  # pings, block ends and events of later versions carry neither text nor counts
                pass
        return None

    def text(self, block: Mapping[str, object]) -> str | None:
        if block.get("type") not in ("text", "text_delta"):
            return None
        text = word(block.get("text"))
        if text is not None:
            self._attempt.pieces.append(text)
        return text

    def stop(self, reason: object) -> None:
        if (named := word(reason)) is not None:
            self.finish = _FINISH.get(named, "unknown")

    def count(self, raw: object, *, final: bool) -> None:
        given = {name: value for name, value in mapping(raw).items() if value is not None}
        # The closing counts are cumulative, so they overwrite; what they leave out was said at the start.
        self._attempt.raw_usage = {**self._attempt.raw_usage, **given}
        if not final:
            return
        self._attempt.count(lambda: self._counted(given))

    def _counted(self, closing: Mapping[str, object]) -> Counted:
        if not self._attempt.raw_usage:
            raise Malformed(NO_USAGE)
        if whole(closing.get("output_tokens")) is None:
            raise Malformed("the usage lacks the final output_tokens")
        return of_messages(self._attempt.raw_usage, model=self._model, answered=bool(self._attempt.pieces))
