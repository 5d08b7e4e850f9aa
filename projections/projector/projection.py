"""What a projection is: the events it hears, the tables it keeps, and the version that says when to build them anew."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from domain.kernel import EVENT_TYPES, Event, load_event
from domain.log import StoredEvent
from projections.projector.connecting import Connection

PROJECTIONS: dict[str, "Projection"] = {}
"""Every projection of the product by its name; importing the module that declares it puts it here."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_TABLE = re.compile(r"create\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?([a-z_][a-z0-9_]*)(\.)?", re.IGNORECASE)
F = TypeVar("F", bound=Callable[..., Any])


class Applied:
    """An event on its way into the read models: decoded at first use, then shared by all of them."""

    __slots__ = ("_event", "stored")

    def __init__(self, stored: StoredEvent) -> None:
        self.stored = stored
        self._event: Event | None = None

    @property
    def event(self) -> Event:
        """The event, upcast and validated. Raises Unavailable for a version from the future."""
        if self._event is None:
            self._event = load_event(self.stored)
        return self._event

    @property
    def key(self) -> UUID:
        """What orders it: its project, else its stream."""
        return self.stored.project_id or self.stored.stream_id

    @property
    def from_the_future(self) -> bool:
        """Whether a newer toybox wrote it, in a way that this one cannot read."""
        declared = EVENT_TYPES.get(self.stored.type)
        return declared is None or self.stored.schema_version > declared.VERSION


def on(*kinds: type[Event]) -> Callable[[F], F]:
    """Feed this method with these events. Types that nothing asks for are passed over."""
    types = frozenset(kind.TYPE for kind in kinds)
    if not types or "" in types:
        msg = "@on needs events with a type, for instance @on(Budget.Opened); @on_every_event hears all of them"
        raise TypeError(msg)

    def mark(method: F) -> F:
        setattr(method, "hears", types)  # noqa: B010 -- functions have no declared attributes
        return method

    return mark


def on_every_event(method: F) -> F:
    """Feed this method with every event of the log, those declared later included."""
    setattr(method, "hears", None)  # noqa: B010 -- functions have no declared attributes
    return method


def heard_by(cls: type) -> dict[str | None, str]:
    """Names of a class's marked methods by event type; None stands for every event."""
    found: dict[str | None, str] = {}
    for name in dir(cls):
        method = getattr(cls, name, None)
        if not hasattr(method, "hears"):
            continue
        types: frozenset[str] | None = getattr(method, "hears")  # noqa: B009 -- set by the decorators above
        for each in [None] if types is None else sorted(types):
            if each in found:
                msg = f"{cls.__qualname__}: {found[each]} and {name} both hear {each or 'every event'}; keep one"
                raise TypeError(msg)
            found[each] = name
    return found


@cache
def tables_in(ddl: str) -> tuple[str, ...]:
    """The tables that a script makes, in its order. A qualified name is refused: the schema is chosen by the build."""
    found = list[str]()
    for table, dot in _TABLE.findall(re.sub(r"--[^\n]*", "", ddl)):
        if dot:
            msg = f"create table {table}.… names its schema; write the table's name alone, so that it can be rebuilt"
            raise TypeError(msg)
        found.append(table.lower())
    return tuple(found)


class Projection(ABC):
    """Rows built from events: disposable, versioned, rebuilt by replay.

    `version` is raised whenever the fold, the DDL or the view changes: the new rows are then built beside the old ones.
    It may depend on the order of events only within one key (`Applied.key`). Subclass `Document` or `Tables`, not this;
    a subclass with a `name` registers itself, unless it is declared with `registered=False`.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    readable_from: ClassVar[int | None] = None
    """The oldest version whose rows this code reads too; while a rebuild runs it serves those. None: only its own."""
    types: ClassVar[frozenset[str] | None] = frozenset()
    """Event types that it hears; None for every one. Found from the decorators."""

    def __init_subclass__(cls, *, registered: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        heard = heard_by(cls)
        cls.types = None if None in heard else frozenset(each for each in heard if each)
        if not cls.name:
            return
        if not _NAME.fullmatch(cls.name):
            msg = f"projection {cls.name!r}: a name is up to 48 of a-z, 0-9 and _, and starts with a letter"
            raise TypeError(msg)
        if not heard:
            msg = f"projection {cls.name} hears no event: mark a method with @on(...)"
            raise TypeError(msg)
        if registered:
            _register(cls())

    @abstractmethod
    def ddl(self) -> str:
        """The script that makes its tables and indexes, names unqualified."""

    @abstractmethod
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """Bring a batch into the tables, inside a transaction that the caller opened and will commit.

        An error that is the event's fault (the fold raises, a value or a constraint is violated) parks its key.
        """

    async def totals(self, connection: Connection) -> Mapping[str, str]:  # noqa: ARG002 -- for those that have none
        """Figures that a rebuild compares and shows, by name: sums of money, counts by status."""
        return {}

    def tables(self) -> tuple[str, ...]:
        """The tables that it keeps."""
        return tables_in(self.ddl())

    def hears(self, type: str) -> bool:  # noqa: A002 -- the column's name
        """Whether events of this type concern it."""
        return self.types is None or type in self.types

    def reads(self, version: int) -> bool:
        """Whether this code reads the rows that a version of it wrote."""
        oldest = self.version if self.readable_from is None else self.readable_from
        return oldest <= version <= self.version


def _register(projection: Projection) -> None:
    taken = {table: each.name for each in PROJECTIONS.values() for table in each.tables()}
    if projection.name in PROJECTIONS:
        msg = f"projection {projection.name} is declared twice: each needs a name of its own"
        raise TypeError(msg)
    for table in projection.tables():
        if table in taken:
            msg = f"projections {taken[table]} and {projection.name} both keep a table {table}: rename one"
            raise TypeError(msg)
    PROJECTIONS[projection.name] = projection
