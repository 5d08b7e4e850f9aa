"""Tables: rows written by set-based SQL, a batch of events at a time; their script lies beside their module."""

import sys
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

from projections.projector.connecting import Connection
from projections.projector.projection import Applied, Projection


class Tables(Projection):
    """Rows in tables of its own. `projections/costs.py` finds its script in `projections/costs.sql`.

    `apply` is marked with `@on(...)` or `@on_every_event` and writes the whole batch with `unnest`, COPY or one
    `executemany`, never with a round trip per event. Events of one key come in their order, other keys in any.
    """

    script: ClassVar[str] = ""
    """The script's file name, where one module keeps several of these; otherwise the module's own name."""

    def ddl(self) -> str:
        """The script beside the module, or beside that of the class it extends."""
        return _script(type(self))

    @abstractmethod
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """Write what these events mean."""


@cache
def _script(kind: type[Tables]) -> str:
    for each in kind.__mro__[: kind.__mro__.index(Tables)]:
        module = Path(sys.modules[each.__module__].__file__ or each.__module__)
        path = module.with_name(kind.script) if kind.script else module.with_suffix(".sql")
        if path.is_file():
            return path.read_text("utf-8")
    wanted = kind.script or f"{kind.__module__.rpartition('.')[2]}.sql"
    msg = f"{kind.__qualname__} keeps tables, but there is no {wanted} beside {kind.__module__}: write their DDL there"
    raise TypeError(msg)
