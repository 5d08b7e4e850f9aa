"""The machine's clock and its random ids: the one place that asks for them."""

from datetime import UTC, datetime
from uuid import UUID, uuid4


def now() -> datetime:
    """This machine's idea of the time, in UTC. The log's own instants come from the database."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """An id that nobody has used: for requests whose sender gave none."""
    return uuid4()
