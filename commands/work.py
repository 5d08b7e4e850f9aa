"""What a handler works with while it decides: aggregates under the lock, the log's clock, derived ids, a seal."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from commands.ports import Sealer
from domain.errors import Conflict, NotFound, Refused
from domain.kernel import Aggregate, Event
from domain.values import INLINE_TEXT, Text, derived_id

A = TypeVar("A", bound=Aggregate)


class Need(Exception):
    """A decide met streams that are not loaded: load them under the same lock and decide again."""

    def __init__(self, stream_ids: Iterable[UUID]) -> None:
        super().__init__("streams to load")
        self.stream_ids = frozenset(stream_ids)


class Streams(Protocol):
    """The streams that are loaded under the lock."""

    def __contains__(self, stream_id: UUID) -> bool:
        """Whether this stream was read under the lock, be it empty or not."""
        ...

    def __getitem__(self, stream_id: UUID) -> Aggregate | None:
        """Its aggregate; None where it has no events."""
        ...

    def __setitem__(self, stream_id: UUID, aggregate: Aggregate) -> None:
        """Remember an aggregate that this batch creates."""
        ...


class UnitOfWork:
    """One command's decision. Check everything first, then trigger: a refusal must leave nothing behind."""

    def __init__(
        self,
        streams: Streams,
        *,
        command_id: UUID,
        actor: str,
        now: datetime,
        sealer: Sealer | None,
        key_id: UUID | None = None,
    ) -> None:
        self._streams = streams
        self._touched: dict[UUID, Aggregate] = {}
        self._ordinal = 0
        self._sealer = sealer
        self.command_id = command_id
        self.actor = actor
        self.key_id = key_id
        self.now = now

    def find(self, kind: type[A], stream_id: UUID) -> A | None:
        """The aggregate, or None where it does not exist."""
        if stream_id not in self._streams:
            raise Need([stream_id])
        found = self._streams[stream_id]
        if found is None or not isinstance(found, kind):
            return None
        self._touched[stream_id] = found
        return found

    def get(self, kind: type[A], stream_id: UUID) -> A:
        """The aggregate; NotFound where it does not exist."""
        found = self.find(kind, stream_id)
        if found is None:
            msg = f"there is no {kind.TOPIC.replace('_', ' ')} {stream_id}"
            raise NotFound(msg)
        return found

    def find_all(self, kind: type[A], stream_ids: Iterable[UUID]) -> Mapping[UUID, A | None]:
        """Several at once: what is missing is loaded in one round trip."""
        wanted = list(stream_ids)
        missing = [each for each in wanted if each not in self._streams]
        if missing:
            raise Need(missing)
        return {each: self.find(kind, each) for each in wanted}

    def get_all(self, kind: type[A], stream_ids: Iterable[UUID]) -> list[A]:
        """Several at once, in the given order; NotFound where one does not exist."""
        wanted = list(stream_ids)
        self.find_all(kind, wanted)
        return [self.get(kind, each) for each in wanted]

    def check_new(self, kind: type[Aggregate], stream_id: UUID) -> UUID:
        """The same id, when nothing lives under it yet; call it before anything is triggered."""
        if stream_id not in self._streams:
            raise Need([stream_id])
        if self._streams[stream_id] is not None:
            msg = f"there is already a {kind.TOPIC.replace('_', ' ')} with this name or id ({stream_id})"
            raise Conflict(msg)
        return stream_id

    def add(self, aggregate: A) -> A:
        """Take a new aggregate into this batch; its id was checked before by `check_new`."""
        self._streams[aggregate.id] = aggregate
        self._touched[aggregate.id] = aggregate
        return aggregate

    def new_id(self) -> UUID:
        """The next derived id: the same whenever this command is decided again."""
        self._ordinal += 1
        return derived_id(self.command_id, self._ordinal)

    def seal(self, text: str) -> str:
        """Free text of people or models, sealed under this command's key."""
        if self._sealer is None:
            msg = "this command has no key to seal with: give it `sealed_under`"
            raise TypeError(msg)
        return self._sealer.seal(text)

    def text(self, text: str | Text) -> Text:
        """Text for an event: short text sealed inside it, longer text as the digest that the object store knows."""
        if isinstance(text, Text):
            return text
        body = text.encode()
        if len(body) > INLINE_TEXT:
            msg = f"text over {INLINE_TEXT} bytes does not travel in an event: store it first and send its digest"
            raise Refused(msg, code="text_too_long", size=len(body))
        return Text(digest=hashlib.sha256(body).hexdigest(), size=len(body), sealed=self.seal(text))

    def pending(self) -> list[tuple[Aggregate, Event]]:
        """What was triggered, aggregate by aggregate in the order of first touch; taken once."""
        return [(aggregate, each) for aggregate in self._touched.values() for each in aggregate.take_pending()]

    @property
    def touched(self) -> Iterable[UUID]:
        """Streams that this decision read or made."""
        return self._touched.keys()
