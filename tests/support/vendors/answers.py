"""What the protocols of both vendors share: an answer ready to be sent, and how words are counted and cut."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.vendors.behaviours import Behaviour


@dataclass
class Answer:
    """Bytes to send, in pieces; `cut` closes the socket after the last of them."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    pieces: list[bytes] = field(default_factory=list)
    cut: bool = False
    usage: dict[str, Any] | None = None

    @classmethod
    def of(cls, body: object, status: int = 200, **headers: str) -> "Answer":
        return cls(status, {"content-type": "application/json", **headers}, [json.dumps(body).encode()])


@dataclass(frozen=True)
class Asked:
    """A request that its protocol has accepted."""

    model: str
    stream: bool
    max_tokens: int | None
    texts: tuple[str, ...]
    temperature: float | None = None


@dataclass(frozen=True)
class Said:
    """An answer's words. One word is one token."""

    words: tuple[str, ...]
    limited: bool
    prompt_tokens: int

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def pieces(self) -> list[str]:
        return [word if index == 0 else f" {word}" for index, word in enumerate(self.words)]


def said_by(asked: Asked, behaviour: Behaviour) -> Said:
    words = (behaviour.text or f"Answered: {asked.texts[-1][:200]}").split()
    kept = tuple(words[: asked.max_tokens])
    return Said(kept, len(kept) < len(words), sum(len(text.split()) for text in asked.texts) + 3)


def malformed(behaviour: Behaviour) -> Answer:
    return Answer(200, {"content-type": behaviour.content_type}, [behaviour.raw.encode()])


def cut_in_half(answer: Answer, *, closed: bool) -> Answer:
    """Only the first half: of the pieces of a stream, of the bytes of a single one."""
    if len(answer.pieces) > 1:
        answer.pieces = answer.pieces[: len(answer.pieces) // 2]
    else:
        answer.pieces = [answer.pieces[0][: len(answer.pieces[0]) // 2]]
    answer.cut = closed
    return answer
