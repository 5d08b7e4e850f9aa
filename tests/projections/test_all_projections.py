"""Every projection of the product, over the log of a busy town: the rules that all of them must hold."""

from random import Random
from uuid import UUID

import pytest

from domain.kernel import EVENT_TYPES
from projections.documents import Document
from projections.folding import fold_document
from projections.log_lines import WORDINGS
from projections.projector import PROJECTIONS, Applied, Connections
from tests.projections.town import WHISPER, busy
from tests.support.projections import assert_projection_holds, built
from toybox.inventory import load

load()
OURS = sorted(name for name, each in EVENT_TYPES.items() if each.__module__.startswith("domain."))


@pytest.mark.parametrize("name", sorted(PROJECTIONS))
async def test_a_projection_holds_all_rules(connections: Connections, name: str) -> None:
    await assert_projection_holds(connections, busy().story.store, PROJECTIONS[name], busy().events)


@pytest.mark.parametrize("name", sorted(name for name, each in PROJECTIONS.items() if isinstance(each, Document)))
async def test_a_document_as_of_two_hundred_positions_is_a_fresh_fold(connections: Connections, name: str) -> None:
    document, dice, events = PROJECTIONS[name], Random(5), busy().events
    assert isinstance(document, Document)
    owners: dict[UUID, UUID | None] = {}
    before = compared = 0
    async with connections.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute(document.ddl().encode())
        for position in sorted(dice.sample(range(100, len(events) + 1), 200)):
            batch = [Applied(each) for each in events[before:position] if document.hears(each.type)]
            await document.apply(connection, batch)
            owners |= {key: at.stored.project_id for at in batch if (key := document.key(at.stored, at.event))}
            before = position
            for key in dice.sample(sorted(owners), min(2, len(owners))):
                row = await document.find(connection, key)
                folded = await fold_document(document, busy().story.store, key, owners[key], up_to=position)
                assert folded == (row.view if row else None), f"{name} {key} as of {position}"
                compared += 1
    assert compared >= 200


def test_nearly_everything_that_can_happen_happens_in_the_town() -> None:
    happened = {each.type for each in busy().events}
    missing = [name for name in OURS if name not in happened]
    assert len(missing) <= 3, f"the town has become quiet: {missing}"


def test_every_public_event_has_its_words() -> None:
    silent = [name for name in OURS if not EVENT_TYPES[name].PRIVATE and name not in WORDINGS]
    assert not silent, f"give these a line in projections/log_lines/wordings.py: {silent}"


def test_every_event_is_heard_by_a_read_model_besides_the_log() -> None:
    heard = set[str]().union(*(each.types for each in PROJECTIONS.values() if each.types is not None))
    unheard = [name for name in OURS if name not in heard]
    assert not unheard, f"no read model shows these: {unheard}"


async def test_no_read_model_holds_in_the_clear_what_people_wrote(connections: Connections) -> None:
    for projection in PROJECTIONS.values():
        for table, rows in (await built(connections, projection, busy().events)).items():
            assert not [row for row in rows if WHISPER in row], f"{table} holds unsealed text"


async def test_no_document_is_made_of_a_history_whose_beginning_is_missing(connections: Connections) -> None:
    headless = [each for each in busy().events if each.version > 1]
    for projection in PROJECTIONS.values():
        rows = await built(connections, projection, headless)
        assert not isinstance(projection, Document) or rows == {projection.name: []}
