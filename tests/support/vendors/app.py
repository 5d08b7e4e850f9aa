"""The ASGI application of a vendor server: routes, key check, journal, and answers that can break off."""

import asyncio
import json
from types import ModuleType
from typing import Any

from tests.support.vendors import anthropic_protocol, openai_protocol
from tests.support.vendors.answers import Answer
from tests.support.vendors.behaviours import Behaviour, Script
from tests.support.vendors.journal import Journal

KEY = "sk-test-0123456789abcdef"
JOURNAL_PATH = "/_journal"
BEHAVIOURS_PATH = "/_behaviours"


class CutOff(Exception):
    """Raised in the middle of an answer: the HTTP server then closes the socket."""


class VendorApp:
    """Both vendors on one port, told apart by path."""

    def __init__(self, script: Script, journal: Journal, *, key: str | None = KEY) -> None:
        self.script = script
        self.journal = journal
        self.key = key

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = await _body(receive)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["path"]
        if path == JOURNAL_PATH:
            await _send(send, Answer.of(self.journal.entries()))
        elif path == BEHAVIOURS_PATH:
            self.script.clear() if scope["method"] == "DELETE" else self.script.add_json(json.loads(body))
            await _send(send, Answer.of({}))
        else:
            protocol = anthropic_protocol if path.endswith(anthropic_protocol.PATH) else openai_protocol
            if not path.endswith(protocol.PATH):
                await _send(send, openai_protocol.error(404, f"no route {path}", "invalid_request_error"))
                return
            await self._call(protocol, body, headers, receive, send)

    async def _call(self, protocol: ModuleType, body: bytes, headers: dict[str, str], receive: Any, send: Any) -> None:
        payload = json.loads(body)
        asked = protocol.check(payload, headers)
        text = "" if isinstance(asked, Answer) else "\n".join(asked.texts)
        behaviour = self.script.take(text)
        number = self.journal.request(
            attempt_id=headers.get("x-toybox-attempt"),
            protocol=protocol.__name__.rpartition(".")[2].removesuffix("_protocol"),
            model=payload.get("model"),
            stream=bool(payload.get("stream")),
            behaviour=behaviour.kind,
            headers=sorted(headers),
            fields=sorted(payload),
            temperature=payload.get("temperature"),
        )
        answer = self._answer(protocol, asked, payload, headers, behaviour, number)
        gone = asyncio.create_task(_gone(receive))
        try:
            outcome = await self._play(answer, behaviour, gone, send)
        finally:
            gone.cancel()
        self.journal.outcome(number, outcome, answer.usage if outcome == "answered" else None)
        if outcome == "cut":
            raise CutOff

    def _answer(
        self, protocol: ModuleType, asked: Any, payload: Any, headers: dict[str, str], behaviour: Behaviour, number: int
    ) -> Answer:
        given = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key", "")
        if self.key is not None and given != self.key:
            return protocol.wrong_key(given)
        if isinstance(asked, Answer):
            return asked
        if behaviour.kind == "redirect":
            return Answer(
                307, {"location": protocol.PATH if protocol is anthropic_protocol else f"/v1{protocol.PATH}"}, [b""]
            )
        return protocol.answer(asked, payload, behaviour, number)

    async def _play(self, answer: Answer, behaviour: Behaviour, gone: "asyncio.Task[None]", send: Any) -> str:
        if await _wait(gone, behaviour.delay):
            return "disconnected"
        if answer.cut and len(answer.pieces) == 1:  # promise more than is sent
            answer.headers["content-length"] = str(2 * len(answer.pieces[0]) + 1)
        await _start(send, answer)
        for piece in answer.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if await _wait(gone, behaviour.pause):
                return "disconnected"
        if answer.cut:
            await asyncio.sleep(0.02)  # let what was sent reach the client first
            return "cut"
        await send({"type": "http.response.body", "body": b""})
        return "answered"


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    return body


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _wait(gone: "asyncio.Task[None]", seconds: float) -> bool:
    """Sleep; True as soon as the client has gone away."""
    done, _ = await asyncio.wait({gone}, timeout=seconds)
    return bool(done)


async def _start(send: Any, answer: Answer) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


async def _send(send: Any, answer: Answer) -> None:
    await _start(send, answer)
    await send({"type": "http.response.body", "body": b"".join(answer.pieces)})
