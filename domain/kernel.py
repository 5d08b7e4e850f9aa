"""Events and aggregates: the `eventsourcing` library's, with pydantic payloads and names that outlive file moves."""

import hashlib
import inspect
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, ClassVar, Self, TypeVar, cast
from uuid import UUID

import orjson
from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate
from eventsourcing.domain import event as event  # noqa: PLC0414 -- contexts take it from here
from eventsourcing.utils import resolve_topic
from pydantic import BaseModel, ConfigDict, Field, create_model

from domain.errors import Unavailable
from domain.log import StoredEvent, canonical

NOW: ContextVar[datetime] = ContextVar("toybox_now")
"""The log's clock for the batch that is being decided; the library stamps its events with it."""
EVENT_TYPES: dict[str, type["Event"]] = {}
"""Every event class by its stored name, as declared (with its docstring)."""
AGGREGATE_OF: dict[str, type["Aggregate"]] = {}
"""The aggregate that each event type belongs to."""
ENVELOPE = frozenset({"originator_id", "originator_version", "timestamp", "originator_topic"})
"""Fields that the library needs in memory and the log keeps in columns of its own."""


A = TypeVar("A", bound="Aggregate")


class Event(BaseModel, CanMutateAggregate[UUID]):
    """Something that happened to one aggregate: immutable, named, versioned."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    TYPE: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1
    PRIVATE: ClassVar[bool] = False

    originator_id: UUID = Field(exclude=True, repr=False)
    originator_version: int = Field(exclude=True, repr=False)
    timestamp: datetime = Field(exclude=True, repr=False)

    def __init_subclass__(cls, *, type: str = "", version: int = 1, private: bool = False, **kwargs: Any) -> None:  # noqa: A002
        super().__init_subclass__(**kwargs)
        if type:
            if type in EVENT_TYPES:
                msg = f"event type {type!r} is declared twice: {EVENT_TYPES[type].__qualname__} and {cls.__qualname__}"
                raise TypeError(msg)
            cls.TYPE, cls.VERSION, cls.PRIVATE = type, version, private
            cls.TOPIC = type  # pyright: ignore[reportAttributeAccessIssue] -- the library's word for the stored name
            for step in range(1, version):
                if not hasattr(cls, f"upcast_v{step}_v{step + 1}"):
                    msg = f"{cls.__qualname__} is version {version} but has no upcast_v{step}_v{step + 1}"
                    raise TypeError(msg)
            EVENT_TYPES[type] = cls

    @staticmethod
    def create_timestamp() -> datetime:
        """The instant of the batch, so that what is decided on is what is stored."""
        return NOW.get()

    def payload(self) -> dict[str, Any]:
        """What is stored as data: every field but the envelope's, as JSON values."""
        return self.__pydantic_serializer__.to_python(self, mode="json")


RecordedEvent = Event
"""The same class, for where `Event` means an aggregate's own base."""


class Created(Event, CanInitAggregate[UUID]):
    """The first event of an aggregate."""

    originator_topic: str = Field(exclude=True, repr=False)


class Aggregate(BaseAggregate[UUID]):
    """One thing that decides: its methods refuse or trigger, its appliers follow.

    Declare the attributes that make up its state as class annotations, its own or a base's: they are its snapshot.
    `FOLD` is the version of that state: raise it whenever an applier or the state's shape changes, and old snapshots
    are dropped.
    """

    TOPIC = ""
    FOLD = 1
    INITIAL_VERSION = 1

    class Event(RecordedEvent):
        """Base of this aggregate's events."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not cls.__dict__.get("TOPIC"):
            msg = f"aggregate {cls.__qualname__} needs TOPIC, its stored name"
            raise TypeError(msg)
        # The library would turn an annotated class into a dataclass; here annotations only describe the state.
        own = [each for each in reversed(cls.__mro__) if each not in Aggregate.__mro__]
        cls._state_annotations = {name: kind for each in own for name, kind in inspect.get_annotations(each).items()}
        cls.__annotations__ = {}
        super().__init_subclass__(**kwargs)
        for value in cls.__dict__.values():
            if isinstance(value, type) and issubclass(value, RecordedEvent) and value.TYPE:
                AGGREGATE_OF[value.TYPE] = cls

    @property
    def project_key(self) -> UUID | None:
        """The project that orders this stream everywhere downstream; fixed by its first event."""
        return getattr(self, "project_id", None)

    def take_pending(self) -> Sequence[RecordedEvent]:
        """Hand over what was triggered since the last call."""
        if not self._pending_events:
            return ()
        pending = cast("list[RecordedEvent]", self._pending_events)
        self._pending_events = []
        return pending

    # --- snapshots ---

    @classmethod
    def state_model(cls) -> type[BaseModel]:
        """The pydantic model of this aggregate's state, made from its annotations."""
        found = cls.__dict__.get("_state_model")
        if found is None:
            module = inspect.getmodule(cls)
            namespace = vars(module) if module else {}
            fields: dict[str, Any] = {
                name: (eval(kind, namespace) if isinstance(kind, str) else kind, ...)  # noqa: S307 -- our own source
                for name, kind in cls._state_annotations.items()
            }
            found = create_model(f"{cls.__name__}State", __config__=ConfigDict(extra="forbid"), **fields)
            cls._state_model = found
        return cast("type[BaseModel]", found)

    def snapshot(self) -> bytes:
        """The state as JSON. The version and times travel beside it."""
        model = self.state_model()
        state = model.model_construct(**{name: getattr(self, name) for name in model.model_fields})
        body = {
            "created_on": self._created_on.isoformat(),
            "modified_on": self._modified_on.isoformat(),
            "state": state.model_dump(mode="json"),
        }
        return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)

    @classmethod
    def from_snapshot(cls, stream_id: UUID, version: int, body: bytes) -> Self:
        """An aggregate as it was when the snapshot was taken."""
        held = orjson.loads(body)
        self = cls.__new__(cls)
        self._id, self._version, self._pending_events = stream_id, version, []
        self._created_on = datetime.fromisoformat(held["created_on"])
        self._modified_on = datetime.fromisoformat(held["modified_on"])
        # Not strict, as for stored events: JSON has no uuids or instants inside frozen values either.
        state = cls.state_model().model_validate(held["state"], strict=False)
        for name in cls.state_model().model_fields:
            setattr(self, name, getattr(state, name))
        return self

    @classmethod
    def fold_digest(cls) -> str:
        """Changes when this aggregate's source changes: a test then asks for a new `FOLD`."""
        return hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()[:16]


def payload_bytes(happened: Event) -> bytes:
    """The exact bytes that are stored and hashed."""
    return canonical(happened.payload())


def upcast(kind: type[Event], payload: dict[str, Any], from_version: int) -> dict[str, Any]:
    """Bring an old payload to the present version, step by step."""
    for step in range(from_version, kind.VERSION):
        getattr(kind, f"upcast_v{step}_v{step + 1}")(payload)
    return payload


def load_payload(stored: StoredEvent) -> dict[str, Any]:
    """The payload of a row as the present version has it: upcast. A version from the future answers Unavailable."""
    declared = EVENT_TYPES.get(stored.type)
    if declared is None or stored.schema_version > declared.VERSION:
        msg = f"this toybox is older than event {stored.type} version {stored.schema_version}; upgrade this process"
        raise Unavailable(msg, position=stored.position)
    payload = stored.payload()
    return payload if stored.schema_version == declared.VERSION else upcast(declared, payload, stored.schema_version)


def load_event(stored: StoredEvent) -> Event:
    """The event of a row: upcast, then validated."""
    fields = load_payload(stored)
    fields["originator_id"] = stored.stream_id
    fields["originator_version"] = stored.version
    fields["timestamp"] = stored.recorded_at
    if issubclass(EVENT_TYPES[stored.type], CanInitAggregate):
        fields["originator_topic"] = AGGREGATE_OF[stored.type].TOPIC
    # The decorated subclass, which knows its applier; stored JSON has no uuids or instants, hence not strict.
    return cast("Event", resolve_topic(stored.type).model_validate(fields, strict=False))


def evolve(aggregate: A | None, stored: StoredEvent) -> A:
    """Fold one stored event into its aggregate."""
    return cast("A", load_event(stored).mutate(aggregate))
