"""A provider that lies, stalls, stammers and breaks off, in a process of its own; its journal is honest."""

import asyncio
import json
import os
import random
import re
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import uvicorn

from tests.support.vendors import openai_protocol
from tests.support.vendors.answers import Answer, Asked
from tests.support.vendors.app import CutOff, VendorApp, _gone
from tests.support.vendors.behaviours import Behaviour, Kind, Script
from tests.support.vendors.journal import Journal

HABITS: dict[str, int] = {
    "answer": 520,
    "modest": 50,  # counts less than it wrote
    "excessive": 20,  # counts more than it was allowed to write: above every bound
    "stammering": 70,  # sends every piece twice, the count as well
    "no_usage": 40,
    "bad_usage": 30,  # parts that exceed their total
    "stall": 25,  # nothing comes before the deadline
    "slow": 40,
    "cut": 40,
    "truncated": 25,
    "cut_before_usage": 35,
    "error_in_stream": 25,
    "rate_limited": 40,
    "quota": 5,
    "busy": 30,  # 529
    "server_error": 30,
    "malformed": 15,
    "long": 0,  # more than fits into an event
}
"""What it does with a request, by weight."""
COUNTED = frozenset({"answer", "modest", "excessive", "stammering", "slow", "long"})
"""Habits that end with a count that can be believed, true or not."""
WISH = re.compile(r"\[\[(\w+)\]\]")
"""A prompt may ask for a habit: the first time that it comes, it gets it."""
LONG = "word " * 5_000
FREE = frozenset({"rate_limited", "quota", "busy"})
"""Habits that certainly cost nothing."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What becomes of one request."""

    habit: str
    usage: dict[str, int]
    """What it says that it used, where it says anything."""
    delay: float

    @classmethod
    def of(cls, seed: int, attempt: str, asked: Asked, wish: str | None = None) -> "Turn":
        """The same for the same attempt of the same seed, unless somebody wishes for something."""
        rng = random.Random(f"{seed} {attempt}")
        habit = wish or rng.choices(list(HABITS), list(HABITS.values()))[0]
        most = asked.max_tokens or 100
        wrote = rng.randint(most * 6 // 10, most)
        if habit == "modest":
            wrote = wrote // 10
        elif habit == "excessive":
            wrote = most * rng.randint(2, 5)
        read = sum(len(text.split()) for text in asked.texts) + 3
        delay = {"stall": 3.0, "slow": rng.uniform(0.3, 0.8)}.get(habit, rng.uniform(0.0, 0.03))
        usage = {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
        return cls(habit, usage, delay)

    def answer(self, asked: Asked, body: dict[str, Any], number: int) -> Answer:
        """What is sent."""
        if self.habit == "busy":
            return openai_protocol.error(529, "overloaded", "overloaded_error")
        known = "answer" if self.habit in (*COUNTED, "stall") else self.habit
        raw = "data: {this is not JSON\n\n" if known == "malformed" else ""
        headers = (("retry-after-ms", "200"),) if known == "rate_limited" else ()
        how = Behaviour(
            cast("Kind", known),
            text=LONG if self.habit == "long" else "Because of this.",
            raw=raw,
            content_type="text/event-stream",
            headers=headers,
        )
        made = openai_protocol.answer(asked, body, how, number)
        if known == "answer":
            made.pieces = [self._counted(piece) for piece in made.pieces]
        if self.habit == "stammering":
            made.pieces = [piece for piece in made.pieces for _ in range(2)]
        return made

    def _counted(self, piece: bytes) -> bytes:
        if b'"choices": []' not in piece:
            return piece
        said = json.loads(piece.removeprefix(b"data: "))
        said["usage"].update(self.usage)
        return f"data: {json.dumps(said)}\n\n".encode()


class Notebook(Journal):
    """Lives in a process that nobody kills: what is written need not be on the disk at once."""

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()


class LyingApp(VendorApp):
    """Takes every request of OpenAI's protocol in its own way."""

    def __init__(self, seed: int, journal: Journal) -> None:
        super().__init__(Script(), journal, key=None)
        self._seed = seed
        self._wishes: set[str] = set()

    def _wish(self, asked: Asked) -> str | None:
        text = asked.texts[-1]
        found = WISH.search(text)
        if found is None:
            return None
        first = text not in self._wishes
        self._wishes.add(text)
        return found[1] if first else "answer"

    async def _call(self, protocol: ModuleType, body: bytes, headers: dict[str, str], receive: Any, send: Any) -> None:
        payload = json.loads(body)
        asked = protocol.check(payload, headers)
        assert isinstance(asked, Asked)
        attempt = headers["x-toybox-attempt"]
        turn = Turn.of(self._seed, attempt, asked, self._wish(asked))
        number = self.journal.request(
            attempt_id=attempt, behaviour=turn.habit, told=turn.usage if turn.habit in COUNTED else None
        )
        gone = asyncio.create_task(_gone(receive))
        try:
            answer = turn.answer(asked, payload, number)
            outcome = await self._play(answer, Behaviour(delay=turn.delay), gone, send)
        finally:
            gone.cancel()
        self.journal.outcome(number, outcome, None)
        if outcome == "cut":
            raise CutOff

    async def _play(self, answer: Answer, behaviour: Behaviour, gone: "asyncio.Task[None]", send: Any) -> str:
        # In one write where nothing is to break off: a piece each would be most of a campaign's processor time.
        if not answer.cut:
            answer.pieces = [b"".join(answer.pieces)]
        return await super()._play(answer, behaviour, gone, send)


def serve(seed: int, journal: Path, address: Path) -> None:
    """Answer until killed; the port stands in a file."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = LyingApp(seed, Notebook(journal))
    config = uvicorn.Config(
        app, lifespan="off", ws="none", loop="uvloop", log_config=None, log_level="critical", access_log=False
    )
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    written = address.with_suffix(".new")
    written.write_text(str(listening.getsockname()[1]))
    written.rename(address)
    uvicorn.Server(config).run(sockets=[listening])


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
