"""Connections as projections use them; `api` and `streams` take their type from here and never name the driver."""

from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol

import psycopg
from pydantic import ValidationError

from domain.errors import Unavailable

Connection = psycopg.AsyncConnection[Any]
"""One PostgreSQL connection in autocommit, answering rows as tuples."""


class Connections(Protocol):
    """A pool that lends connections."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend one; it goes back when the block ends."""
        ...


@contextmanager
def unavailable_when_away() -> Generator[None]:
    """A database that is away, or too busy to lend a connection, reads as Unavailable."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as away:
        msg = f"the database does not answer ({told(away)}); ask again in a moment"
        raise Unavailable(msg, code="database_away") from away


def is_fault_of_event(error: Exception) -> bool:
    """Whether an error while applying says something of the event, not of the database, the SQL or the machine.

    Values and constraints speak of the event, and so does whatever a fold raises. A lost connection, a lock, a full
    disk or a wrong statement would fail with every event: parking them one by one would empty the read model.
    """
    if isinstance(error, psycopg.Error):
        return isinstance(error, psycopg.DataError | psycopg.IntegrityError)
    return not isinstance(error, Unavailable | OSError | MemoryError)


def told(error: Exception) -> str:
    """An error in one line that is kept and shown: without the values that PostgreSQL or pydantic quote."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        text = error.diag.message_primary
    elif isinstance(error, ValidationError):
        found = error.errors(include_input=False, include_url=False, include_context=False)
        text = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
    else:
        text = str(error)
    return f"{type(error).__name__}: {text}".replace("\0", "")[:1000]
