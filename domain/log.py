"""What every layer needs to know of the event log: a stored event, its bytes, its leaf, how to read it. No I/O."""

import hashlib
import re
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import orjson

SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (RFC 8785, section 3.2.2.3)."""
_KEY = re.compile(r"^[a-z][a-z0-9_]*$")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the log, exactly as it lies there."""

    position: int
    stream_id: UUID
    version: int
    type: str
    schema_version: int
    project_id: UUID | None
    data: bytes
    actor: str
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    trace_id: str | None
    recorded_at: datetime

    def payload(self) -> dict[str, Any]:
        """The payload, as written: not upcast, not unsealed."""
        return orjson.loads(self.data)


@lru_cache(maxsize=4096)
def _is_key(key: object) -> bool:
    return isinstance(key, str) and _KEY.fullmatch(key) is not None


def _is_fine(value: Any) -> bool:
    """What `_check` has nothing against, said without building a path: true of nearly all that is ever written."""
    kind = value.__class__
    if kind is dict:
        return all(map(_is_key, value.keys())) and _are_fine(value.values())
    if kind is list:
        return _are_fine(value)
    if kind is int:
        return -SAFE_INTEGER <= value <= SAFE_INTEGER
    return "\0" not in value if kind is str else value is None or kind is bool


def _are_fine(values: Iterable[Any]) -> bool:
    for each in values:
        if each.__class__ is str:  # most are: no call for each
            if "\0" in each:
                return False
        elif each is not None and not _is_fine(each):
            return False
    return True


def _check(value: object, path: str) -> None:
    """Refuse what RFC 8785 allows but other readers of the log get wrong."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if "\0" in value:
            msg = f"{path}: text must not contain U+0000"
            raise ValueError(msg)
    elif isinstance(value, int):
        if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
            msg = f"{path}: an integer must fit in 53 bits; write larger ones as text"
            raise ValueError(msg)
    elif isinstance(value, dict):
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            if not _is_key(key):  # pyright: ignore[reportUnknownArgumentType]
                msg = f"{path}: key {key!r} is not [a-z][a-z0-9_]*; write a map with free keys as a list of {{name, …}}"
                raise ValueError(msg)
            _check(inner, f"{path}.{key}")  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list):
        for index, inner in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            _check(inner, f"{path}[{index}]")  # pyright: ignore[reportUnknownArgumentType]
    else:
        msg = f"{path}: {type(value).__name__} does not belong in an event; fractions are decimal strings"
        raise ValueError(msg)  # noqa: TRY004 -- one kind of error for one kind of mistake


def canonical(payload: dict[str, Any]) -> bytes:
    """The canonical UTF-8 JSON of a payload: RFC 8785, restricted to text, safe integers, booleans and null.

    Within that restriction sorted keys and no white space are all that the standard asks for.
    """
    if not _is_fine(payload):
        _check(payload, "payload")
    try:
        return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:  # orjson's word for a lone surrogate
        msg = "text must be valid Unicode: it holds a lone surrogate"
        raise ValueError(msg) from error


LEAF_TAG = b"toybox-leaf-v1"


def _field(value: bytes | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + struct.pack(">I", len(value)) + value


def _integer(value: int) -> bytes:
    return struct.pack(">q", value)


def _text(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact."""
    return (moment - EPOCH) // _MICROSECOND


def leaf(row: StoredEvent) -> bytes:
    """The sha256 that stands for this row in every proof: over all of its columns, frozen for ever.

    The tag, then each column in the order of the table as a null flag, a big-endian 32-bit length and its bytes:
    integers are big-endian 64-bit, instants are UTC microseconds, uuids are their 16 bytes, `data` is its sha256.
    """
    columns: tuple[bytes | None, ...] = (
        _integer(row.position),
        row.stream_id.bytes,
        _integer(row.version),
        _text(row.type),
        _integer(row.schema_version),
        row.project_id.bytes if row.project_id else None,
        hashlib.sha256(row.data).digest(),
        _text(row.actor),
        row.command_id.bytes,
        row.correlation_id.bytes,
        row.causation_id.bytes if row.causation_id else None,
        _text(row.trace_id),
        _integer(microseconds(row.recorded_at)),
    )
    digest = hashlib.sha256(_field(LEAF_TAG))
    for column in columns:
        digest.update(_field(column))
    return digest.digest()


class LogReader(Protocol):
    """How everything that follows the log reads it; it never shows a position before all lower ones."""

    async def head(self) -> int:
        """The highest durable position; 0 for an empty log."""
        ...

    async def read(
        self,
        after: int,
        limit: int,
        *,
        project_id: UUID | None = None,
        types: Collection[str] | None = None,
        up_to: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Up to `limit` events with `after < position <= up_to`, in order."""
        ...

    async def read_stream(
        self, stream_id: UUID, *, up_to: int | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[StoredEvent]:
        """One aggregate's history in order of version: up to a position, after a version, so many events at most."""
        ...

    async def read_streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Sequence[StoredEvent]]:
        """Several aggregates' histories at once; one without events has an empty one."""
        ...

    async def wait(self, after: int, timeout: float) -> int:  # noqa: ASYNC109 -- waking late is the answer, not an error
        """The head, as soon as it is above `after` or when `timeout` seconds are over."""
        ...

    async def position_at(self, moment: datetime) -> int:
        """The last position recorded at or before `moment`; 0 before the first."""
        ...
