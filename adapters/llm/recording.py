"""Answers of models, kept as files and given again: tests of agents that cost nothing and need neither key nor network.

A recording is one JSON file per call, named after what was asked and the how-manieth time it was. It holds prompts and
answers as plain text, and never a key: those are not part of a request.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.durable_files import whole_file
from adapters.llm.fields import whole_characters
from commands.models import FailureKind, FinishReason, LanguageModel, ModelError, ModelReply, ModelRequest, TextDelta
from domain.pricing import Conditions, Usage

Mode = Literal["live", "record", "replay"]
log = structlog.get_logger("toybox.recording")


@dataclass(frozen=True, slots=True)
class Responses:
    """Where answers come from: `live`, `record:FOLDER` keeps those of the vendors, `replay:FOLDER` gives them again."""

    mode: Mode = "live"
    folder: Path = field(default_factory=Path)

    @classmethod
    def parse(cls, said: str) -> Self:
        """From the setting TOYBOX_MODEL_RESPONSES."""
        match said.partition(":"):
            case ["live", "", ""]:
                return cls()
            case ["record" | "replay" as mode, ":", folder] if folder:
                return cls(mode, Path(folder).expanduser().absolute())
            case _:
                raise ValueError(f"{said} is none of these: live, record:FOLDER, replay:FOLDER")


LIVE = Responses()


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(_Kept):
    """What makes two requests the same."""

    provider: str
    model: str
    messages: list[tuple[str, str]]
    max_output_tokens: int
    temperature: str | None

    @classmethod
    def of(cls, provider: str, request: ModelRequest) -> Self:
        """Without what is another one each time: the attempt, its deadline."""
        return cls(
            provider=provider,
            model=request.model,
            messages=[(each.role, each.content) for each in request.messages],
            max_output_tokens=request.max_output_tokens,
            temperature=None if request.temperature is None else str(request.temperature.normalize()),
        )

    @property
    def digest(self) -> str:
        """Of its canonical JSON; short, for it becomes a file's name."""
        return sha256(orjson.dumps(self.model_dump(), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class Answered(_Kept):
    """A whole answer."""

    model: str
    response_id: str | None
    finish_reason: FinishReason
    usage: Usage | None
    raw_usage: dict[str, Any]
    usage_problem: str | None
    usage_remarks: list[str]

    @classmethod
    def of(cls, reply: ModelReply) -> Self:
        """All but its text, which the pieces make up."""
        return cls(
            model=reply.model,
            response_id=reply.response_id,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            raw_usage=dict(reply.raw_usage),
            usage_problem=reply.usage_problem,
            usage_remarks=list(reply.usage_remarks),
        )

    def reply(self, text: str) -> ModelReply:
        """With its text."""
        return ModelReply(
            text=text,
            model=self.model,
            response_id=self.response_id,
            finish_reason=self.finish_reason,
            usage=self.usage,
            raw_usage=self.raw_usage,
            usage_problem=self.usage_problem,
            usage_remarks=tuple(self.usage_remarks),
        )


class Failed(_Kept):
    """A call that brought none."""

    kind: FailureKind
    message: str
    sent: bool
    may_cost: bool
    retry_after: float | None
    usage: Usage | None
    raw_usage: dict[str, Any]
    usage_problem: str | None

    @classmethod
    def of(cls, error: ModelError) -> Self:
        """All but the text so far."""
        return cls(
            kind=error.kind,
            message=str(error),
            sent=error.sent,
            may_cost=error.may_cost,
            retry_after=error.retry_after,
            usage=error.usage,
            raw_usage=dict(error.raw_usage),
            usage_problem=error.usage_problem,
        )

    def error(self, text_so_far: str) -> ModelError:
        """With what had been said."""
        return ModelError(
            self.kind,
            self.message,
            sent=self.sent,
            may_cost=self.may_cost,
            retry_after=self.retry_after,
            usage=self.usage,
            raw_usage=self.raw_usage,
            usage_problem=self.usage_problem,
            text_so_far=text_so_far,
        )


class Exchange(_Kept):
    """One call: what was asked, the pieces of text as they came, and how it ended."""

    asked: Asked
    pieces: list[str] = Field(default_factory=list[str])
    answered: Answered | None = None
    failed: Failed | None = None

    def ending(self) -> ModelReply:
        """The reply; raises the failure instead, where it was one."""
        text = "".join(self.pieces)
        if self.answered:
            return self.answered.reply(text)
        raise self.failed.error(text) if self.failed else ModelError("malformed", "recorded without an end", sent=True)


class RecordingModel:
    """Asks the vendor, and keeps what it says. Calls that somebody aborts are not kept: they say nothing of a model."""

    def __init__(self, provider: str, model: LanguageModel, folder: Path) -> None:
        self._provider = provider
        self._model = model
        self._folder = folder

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        """As the vendor does."""
        pieces: list[str] = []
        try:
            async with aclosing(self._model.stream(request)) as said:
                async for piece in said:
                    if isinstance(piece, ModelReply):
                        await self._keep(request, pieces, answered=Answered.of(piece))
                    else:
                        pieces.append(piece.text)
                    yield piece
        except ModelError as failure:
            await self._keep_failure(request, pieces, failure)
            raise

    async def complete(self, request: ModelRequest) -> ModelReply:
        """As the vendor does."""
        try:
            reply = await self._model.complete(request)
        except ModelError as failure:
            await self._keep_failure(request, [failure.text_so_far], failure)
            raise
        await self._keep(request, [reply.text], answered=Answered.of(reply))
        return reply

    def conditions(self, request: ModelRequest) -> Conditions:
        """The vendor's."""
        return self._model.conditions(request)

    async def aclose(self) -> None:
        """Close the vendor's connections."""
        await self._model.aclose()

    async def _keep_failure(self, request: ModelRequest, pieces: list[str], failure: ModelError) -> None:
        if failure.kind != "cancelled":
            await self._keep(request, pieces, failed=Failed.of(failure))

    async def _keep(self, request: ModelRequest, pieces: list[str], **ending: Any) -> None:
        exchange = Exchange(asked=Asked.of(self._provider, request), pieces=_whole(pieces), **ending)
        await asyncio.to_thread(_write, self._folder, exchange)


class ReplayingModel:
    """Gives what was recorded, in the order it was recorded in; the last recording of a request again and again.

    Nothing is sent. `like` is the vendor's client, which only tells how its requests are billed.
    """

    def __init__(self, provider: str, like: LanguageModel, folder: Path) -> None:
        self._provider = provider
        self._like = like
        self._folder = folder
        self._given: Counter[str] = Counter()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        """The pieces that came then, at once."""
        exchange = await self._next(request)
        for piece in exchange.pieces:
            yield TextDelta(piece)
        yield exchange.ending()

    async def complete(self, request: ModelRequest) -> ModelReply:
        """In one piece, however it was recorded."""
        return (await self._next(request)).ending()

    def conditions(self, request: ModelRequest) -> Conditions:
        """The vendor's."""
        return self._like.conditions(request)

    async def aclose(self) -> None:
        """Close the client that was never used."""
        await self._like.aclose()

    async def _next(self, request: ModelRequest) -> Exchange:
        asked = Asked.of(self._provider, request)
        self._given[asked.digest] += 1
        return await asyncio.to_thread(self._read, asked, self._given[asked.digest])

    def _read(self, asked: Asked, number: int) -> Exchange:
        paths = [path for at in range(number, 0, -1) if (path := _path(self._folder, asked, at)).exists()]
        if not paths:
            raise ModelError(
                "invalid_request",
                f"{self._folder} holds no recording of this request to {asked.provider}/{asked.model}"
                f" ({asked.digest}): record it with TOYBOX_MODEL_RESPONSES=record:{self._folder}",
                sent=False,
            )
        try:
            return Exchange.model_validate_json(paths[0].read_bytes())
        except ValidationError as problem:
            raise ModelError(
                "invalid_request",
                f"{paths[0]} is no recording ({problem.error_count()} errors): delete it and record the request anew",
                sent=False,
            ) from None


def around(responses: Responses, provider: str, model: LanguageModel) -> LanguageModel:
    """The vendor's client as the setting wants it."""
    match responses.mode:
        case "record":
            return RecordingModel(provider, model, responses.folder)
        case "replay":
            return ReplayingModel(provider, model, responses.folder)
        case _:
            return model


def _path(folder: Path, asked: Asked, number: int) -> Path:
    return folder / asked.provider / f"{asked.digest}.{number}.json"


def _whole(pieces: list[str]) -> list[str]:
    """As one, where a character was cut in two: no file can hold the halves."""
    text = "".join(pieces)
    return pieces if (kept := whole_characters(text)) == text else [kept]


def _write(folder: Path, exchange: Exchange) -> None:
    """Under the first free number; several workers may record at once, each name is taken by one of them."""
    asked, number = exchange.asked, 1
    try:
        said = orjson.dumps(exchange.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
        _path(folder, asked, 1).parent.mkdir(parents=True, exist_ok=True)
        while True:
            path = _path(folder, asked, number)
            try:
                path.touch(exist_ok=False)
                break
            except FileExistsError:
                number += 1
        with whole_file(path) as file:
            file.write(said)
    except (OSError, TypeError) as error:  # TypeError: something in it that JSON cannot hold
        # The answer is there and paid for: whoever asked gets it all the same.
        log.error("an answer was not recorded", folder=str(folder), reason=str(error))  # noqa: TRY400 -- no bug
