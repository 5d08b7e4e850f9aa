"""Anthropic's Messages: requests checked, answers whole or as a stream of events."""

import json
from typing import Any

from tests.support.vendors.answers import Answer, Asked, Said, cut_in_half, malformed, said_by
from tests.support.vendors.behaviours import Behaviour

PATH = "/v1/messages"


def error(status: int, message: str, kind: str, **headers: str) -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return Answer.of(body, status, **headers)


def wrong_key(given: str) -> Answer:
    return error(401, f"invalid bearer token {given}", "authentication_error")


def check(body: Any, headers: dict[str, str]) -> Asked | Answer:
    version = headers.get("anthropic-version")
    if version is None:
        return error(400, "anthropic-version: header is required", "invalid_request_error")
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages or not isinstance(body.get("max_tokens"), int):
        return error(400, "messages and max_tokens: field required", "invalid_request_error")
    if body.get("model") == "no-such-model":
        return error(404, "model: no-such-model", "not_found_error")
    if any(message["role"] not in ("user", "assistant") for message in messages):
        return error(400, "messages: role must be user or assistant", "invalid_request_error")
    if "temperature" in body and version > "2023-06-01":
        return error(400, "temperature: Extra inputs are not permitted", "invalid_request_error")
    system = (body["system"],) if isinstance(body.get("system"), str) else ()
    texts = (*system, *(message["content"] for message in messages))
    return Asked(body["model"], bool(body.get("stream")), body["max_tokens"], texts, body.get("temperature"))


def answer(asked: Asked, _: dict[str, Any], behaviour: Behaviour, number: int) -> Answer:
    failure = _failure(behaviour)
    if failure is not None:
        return failure
    said = said_by(asked, behaviour)
    start, end = _usage(said, behaviour)
    made = _stream(asked, said, behaviour, number, (start, end)) if asked.stream else None
    made = made or _whole(asked, said, behaviour, number, {**(start or {}), **(end or {})} or None)
    made.usage = {**start, **(end or {})} if start else None
    if behaviour.kind in ("cut", "truncated"):
        return cut_in_half(made, closed=behaviour.kind == "cut")
    return made


def _failure(behaviour: Behaviour) -> Answer | None:
    headers = dict(behaviour.headers)
    match behaviour.kind:
        case "rate_limited":
            return error(429, "Number of requests has exceeded your rate limit", "rate_limit_error", **headers)
        case "quota":
            return error(400, "Your credit balance is too low to access the API", "invalid_request_error")
        case "server_error":
            return error(500, "Internal server error", "api_error", **headers)
        case "overloaded":
            return error(529, "Overloaded", "overloaded_error", **headers)
        case "malformed":
            return malformed(behaviour)
        case _:
            return None


def _usage(said: Said, behaviour: Behaviour) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The prompt's half and the output's half."""
    if behaviour.kind == "no_usage":
        return None, None
    created = min(behaviour.cached, 1)
    start = {
        "input_tokens": 0 if behaviour.kind == "bad_usage" else said.prompt_tokens - behaviour.cached,
        "cache_creation_input_tokens": created,
        "cache_read_input_tokens": behaviour.cached - created,
        "output_tokens": 1,
        "service_tier": "standard",
    }
    return start, {"output_tokens": len(said.words)}


def _reason(said: Said, behaviour: Behaviour) -> str:
    if behaviour.kind == "refusal":
        return "refusal"
    return "max_tokens" if said.limited else "end_turn"


def _message(asked: Asked, number: int) -> dict[str, Any]:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": f"{asked.model}-20260101",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _whole(asked: Asked, said: Said, behaviour: Behaviour, number: int, usage: dict[str, Any] | None) -> Answer:
    body = {
        **_message(asked, number),
        "content": [{"type": "text", "text": said.text}],
        "stop_reason": _reason(said, behaviour),
    }
    return Answer.of(body if usage is None else {**body, "usage": usage})


def _stream(
    asked: Asked,
    said: Said,
    behaviour: Behaviour,
    number: int,
    usage: tuple[dict[str, Any] | None, dict[str, Any] | None],
) -> Answer:
    def event(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    message = {**_message(asked, number), **({"usage": usage[0]} if usage[0] else {})}
    pieces = [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("ping"),
        *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in said.pieces),
    ]
    made = Answer(200, {"content-type": "text/event-stream"}, pieces)
    if behaviour.kind == "error_in_stream":
        pieces.append(event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
        return made
    if behaviour.kind == "cut_before_usage":
        made.cut = True
        return made
    closing = {"usage": usage[1]} if usage[1] else {}
    pieces += [
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": _reason(said, behaviour), "stop_sequence": None}, **closing),
        event("message_stop"),
    ]
    return made
