"""What may be declared as a projection, and what is refused when its module is imported."""

from collections.abc import Sequence
from types import new_class
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from domain.errors import Unavailable
from domain.kernel import Event
from domain.log import StoredEvent
from projections.documents import Column, Document
from projections.projector import PROJECTIONS, Applied, Connection, on, on_every_event
from projections.projector.connecting import told
from projections.projector.projection import tables_in
from projections.tables import Tables
from tests.projections.samples import Lines, Tallies, TalliesTwo, Tally, TallyView, Teams
from tests.support.projections import Writing


def test_events_are_found_by_their_stored_names() -> None:
    assert Tallies.types == {"sample_tally.opened", "sample_tally.added", "sample_tally.closed"}
    assert Lines().hears("sample_tally.added")
    assert not Lines().hears("sample_tally.opened")


def test_a_named_projection_registers_itself_under_its_name() -> None:
    class Registered(Document[TallyView]):
        name = "sample_registered"

        @on(Tally.Opened)
        def opened(self, view: TallyView | None, event: Tally.Opened, stored: StoredEvent) -> TallyView:
            return TallyView(name=event.name)

    try:
        assert isinstance(PROJECTIONS["sample_registered"], Registered)
        with pytest.raises(TypeError, match="declared twice"):
            type("Again", (Registered,), {"name": "sample_registered"})
    finally:
        del PROJECTIONS["sample_registered"]


def test_a_projection_may_hear_every_event_also_those_it_has_never_seen() -> None:
    class Everything(Tables, registered=False):
        name = "sample_everything"

        @on_every_event
        async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None: ...

    assert Everything.types is None
    assert Everything().hears("future.happened")


def test_a_document_may_hear_every_event_and_treat_some_apart() -> None:
    class Counted(Document[TallyView], registered=False):
        name = "sample_counted"

        @on(Tally.Opened)
        def opened(self, view: TallyView | None, event: Tally.Opened, stored: StoredEvent) -> TallyView:
            return TallyView(name=event.name)

        @on_every_event
        def other(self, view: TallyView | None, event: Event, stored: StoredEvent) -> TallyView | None:
            return view and view.model_copy(update={"total": view.total + 1})

    log, stream = Writing(), UUID(int=1)
    events = [log.add(Tally.Opened, stream, name="a"), log.add(Tally.Added, stream, amount=5)]
    view: TallyView | None = None
    for stored in events:
        view = Counted().evolve(view, Applied(stored).event, stored)
    assert view == TallyView(name="a", total=1)


def test_an_event_that_no_method_hears_changes_nothing() -> None:
    log, view = Writing(), TallyView(name="a")
    stored = log.add_unknown(UUID(int=1))
    opened = log.add(Tally.Opened, UUID(int=2), name="b")
    assert Tallies().evolve(view, Applied(opened).event, stored) is view


def declared(**body: Any) -> type[Document[TallyView]]:
    def opened(self: object, view: object, event: object, stored: object) -> None: ...

    body = {"name": "sample_wrong", "opened": on(Tally.Opened)(opened), **body}
    return new_class("Wrong", (Tallies,), {"registered": False}, lambda space: space.update(body))


@pytest.mark.parametrize(
    ("body", "saying"),
    [
        ({"name": "Wrong Name"}, "a name is up to 48"),
        ({"name": "x" * 49}, "a name is up to 48"),
        ({"again": on(Tally.Added)(lambda: None)}, "both hear sample_tally.added"),
    ],
)
def test_a_wrong_declaration_is_refused_at_once(body: dict[str, Any], saying: str) -> None:
    with pytest.raises(TypeError, match=saying):
        declared(**body)


def test_a_column_that_the_view_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="is no field of TallyView"):

        class Painted(Document[TallyView], registered=False):  # pyright: ignore[reportUnusedClass]
            columns = {"colour": Column()}  # noqa: RUF012 -- the declaration fails before anybody could share it


def test_a_view_that_can_be_changed_is_refused() -> None:
    class Loose(BaseModel):
        count: int

    with pytest.raises(TypeError, match="Loose must be frozen"):

        class LooseOnes(Document[Loose], registered=False):  # pyright: ignore[reportUnusedClass]
            pass


def test_on_needs_an_event_with_a_type() -> None:
    with pytest.raises(TypeError, match="@on needs events"):
        on()


def test_a_projection_that_hears_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match="hears no event"):

        class Deaf(Document[TallyView], registered=False):  # pyright: ignore[reportUnusedClass]
            name = "sample_deaf"


def test_the_script_beside_the_module_names_the_tables() -> None:
    assert Lines().tables() == ("sample_lines", "sample_sums")
    assert tables_in(Teams().ddl()) == Teams().tables() == ("sample_teams",)


def test_a_table_with_a_schema_in_its_name_is_refused() -> None:
    with pytest.raises(TypeError, match="write the table's name alone"):
        tables_in("create table public.lines (id int)")


def test_a_comment_makes_no_table() -> None:
    assert tables_in("-- create table ghosts (\ncreate table if not exists Real (id int);") == ("real",)


def test_rows_of_an_older_version_are_read_only_where_the_code_says_so() -> None:
    assert not TalliesTwo().reads(1)
    assert TalliesTwo().reads(2)

    class Compatible(TalliesTwo, registered=False):
        name = "sample_compatible"
        readable_from = 1

    assert Compatible().reads(1)
    assert not Compatible().reads(3)


def test_an_event_is_decoded_once_and_one_from_the_future_is_told() -> None:
    log = Writing()
    known = Applied(log.add(Tally.Opened, UUID(int=1), name="a"))
    assert known.event is known.event
    assert not known.from_the_future
    newer = Applied(log.add_raw("sample_tally.added", 2, b'{"amount":1}', UUID(int=1)))
    unknown = Applied(log.add_unknown(UUID(int=1)))
    assert newer.from_the_future
    assert unknown.from_the_future
    with pytest.raises(Unavailable, match=r"older than event sample_tally\.added version 2"):
        _ = newer.event


def test_the_reason_that_is_kept_quotes_no_values() -> None:
    class Strict(BaseModel):
        count: int

    with pytest.raises(ValueError, match="valid integer") as caught:
        Strict.model_validate({"count": "my secret"})
    assert "secret" not in told(caught.value)
    assert "count" in told(caught.value)
