"""How a vendor server answers: a queue of behaviours, each for some requests or for those that hold a word."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal[
    "answer",  # a whole answer, streamed where that was asked for
    "refusal",  # an answer in which the model declines
    "no_usage",  # an answer without a count
    "bad_usage",  # an answer whose counts contradict each other
    "rate_limited",  # 429
    "quota",  # 429 or 400: no credit left
    "server_error",  # 500
    "overloaded",  # 503 at OpenAI, 529 at Anthropic
    "error_in_stream",  # 200, then an error event
    "cut",  # the socket closes in the middle of the answer
    "truncated",  # the answer ends in the middle, politely
    "cut_before_usage",  # the socket closes after the last word, before the count
    "malformed",  # 200 with `raw` as its body
    "redirect",  # 307 to the same place
]


@dataclass(frozen=True)
class Behaviour:
    """One way to answer."""

    kind: Kind = "answer"
    times: int = 1
    """For how many requests; -1 is for ever."""
    when: str = ""
    """Only for requests whose messages hold this text."""
    delay: float = 0.0
    """Seconds before the first byte."""
    pause: float = 0.0
    """Seconds between the pieces of a stream."""
    text: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    raw: str = ""
    content_type: str = "application/json"
    cached: int = 0
    """How many of the prompt's tokens came from a cache."""


class Script:
    """The behaviours still to come; safe to change while the server runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[Behaviour] = []

    def add(self, *behaviours: Behaviour) -> None:
        with self._lock:
            self._queue += behaviours

    def add_json(self, rows: Iterable[dict[str, Any]]) -> None:
        self.add(*(Behaviour(**{**row, "headers": tuple((k, v) for k, v in row.get("headers", ()))}) for row in rows))

    def clear(self) -> None:
        with self._lock:
            self._queue.clear()

    def take(self, text: str) -> Behaviour:
        with self._lock:
            for index, behaviour in enumerate(self._queue):
                if behaviour.when in text:
                    if behaviour.times > 1:
                        self._queue[index] = replace(behaviour, times=behaviour.times - 1)
                    elif behaviour.times == 1:
                        del self._queue[index]
                    return behaviour
        return Behaviour()
