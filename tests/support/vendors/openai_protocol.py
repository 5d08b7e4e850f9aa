"""OpenAI's Chat Completions: requests checked, answers whole or as a stream of chunks."""

import json
from typing import Any

from tests.support.vendors.answers import Answer, Asked, Said, cut_in_half, malformed, said_by
from tests.support.vendors.behaviours import Behaviour

PATH = "/chat/completions"


def error(status: int, message: str, kind: str, code: str | None = None, **headers: str) -> Answer:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Answer.of(body, status, **headers)


def wrong_key(given: str) -> Answer:
    # Some compatible servers repeat the whole key; the adapter must not pass it on.
    return error(401, f"Incorrect API key provided: {given}.", "invalid_request_error", "invalid_api_key")


def check(body: Any, _: dict[str, str]) -> Asked | Answer:
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages or not isinstance(body.get("model"), str):
        return error(400, "'messages' and 'model' are required", "invalid_request_error")
    if body["model"] == "no-such-model":
        return error(404, "The model `no-such-model` does not exist", "invalid_request_error", "model_not_found")
    if {"max_tokens", "max_completion_tokens"} <= body.keys():
        return error(400, "give one limit, not both", "invalid_request_error", "unsupported_parameter")
    return Asked(
        model=body["model"],
        stream=bool(body.get("stream")),
        max_tokens=body.get("max_tokens") or body.get("max_completion_tokens"),
        texts=tuple(message["content"] for message in messages),
        temperature=body.get("temperature"),
    )


def answer(asked: Asked, body: dict[str, Any], behaviour: Behaviour, number: int) -> Answer:
    failure = _failure(behaviour)
    if failure is not None:
        return failure
    said = said_by(asked, behaviour)
    usage = _usage(said, behaviour)
    include = asked.stream and bool((body.get("stream_options") or {}).get("include_usage"))
    made = _stream(asked, said, behaviour, number, usage if include else None) if asked.stream else None
    made = made or _whole(asked, said, behaviour, number, usage)
    made.usage = usage
    if behaviour.kind in ("cut", "truncated"):
        return cut_in_half(made, closed=behaviour.kind == "cut")
    return made


def _failure(behaviour: Behaviour) -> Answer | None:
    headers = dict(behaviour.headers)
    match behaviour.kind:
        case "rate_limited":
            return error(429, "Rate limit reached for requests", "requests", "rate_limit_exceeded", **headers)
        case "quota":
            return error(429, "You exceeded your current quota", "insufficient_quota", "credit_balance_exhausted")
        case "server_error":
            return error(500, "The server had an error", "server_error", **headers)
        case "overloaded":
            return error(503, "The engine is currently overloaded", "service_unavailable", **headers)
        case "malformed":
            return malformed(behaviour)
        case _:
            return None


def _usage(said: Said, behaviour: Behaviour) -> dict[str, Any] | None:
    if behaviour.kind == "no_usage":
        return None
    total = said.prompt_tokens + len(said.words) + (99 if behaviour.kind == "bad_usage" else 0)
    return {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": len(said.words),
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": behaviour.cached},
    }


def _whole(asked: Asked, said: Said, behaviour: Behaviour, number: int, usage: dict[str, Any] | None) -> Answer:
    refused = behaviour.kind == "refusal"
    message = {
        "role": "assistant",
        "content": None if refused else said.text,
        "refusal": said.text if refused else None,
    }
    body: dict[str, Any] = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_800_000_000,
        "model": f"{asked.model}-2026-01-01",
        "choices": [{"index": 0, "message": message, "finish_reason": "length" if said.limited else "stop"}],
    }
    return Answer.of(body if usage is None else {**body, "usage": usage})


def _stream(asked: Asked, said: Said, behaviour: Behaviour, number: int, usage: dict[str, Any] | None) -> Answer:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def event(part: dict[str, Any]) -> bytes:
        head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1_800_000_000}
        return f"data: {json.dumps({**head, 'model': f'{asked.model}-2026-01-01', 'usage': None, **part})}\n\n".encode()

    field = "refusal" if behaviour.kind == "refusal" else "content"
    pieces = [chunk({"role": "assistant", "content": ""}), *(chunk({field: piece}) for piece in said.pieces)]
    made = Answer(200, {"content-type": "text/event-stream"}, pieces)
    if behaviour.kind == "error_in_stream":
        pieces.append(b'data: {"error": {"message": "upstream is overloaded", "type": "server_error"}}\n\n')
        return made
    pieces.append(chunk({}, "length" if said.limited else "stop"))
    if behaviour.kind == "cut_before_usage":
        made.cut = True
        return made
    if usage is not None:
        pieces.append(event({"choices": [], "usage": usage}))
    pieces.append(b"data: [DONE]\n\n")
    return made
