"""Aggregates and snapshots: who changes what a snapshot means must raise FOLD; slips in a declaration are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from domain import kernel
from domain.kernel import AGGREGATE_OF, Aggregate, Created, Event, event
from domain.values import Value
from tests.golden.examples import MOMENT
from tests.golden.record import FOLDS, Fold, complaints, domain_aggregates, fold_of, read_folds, record_folds


class Weight(Value):
    """A value inside the state."""

    grams: int


class Parcel(Aggregate):
    """An aggregate as the kernel wants it."""

    TOPIC = "kernel_parcel"
    weight: Weight
    stops: list[str]

    class Packed(Created, type="kernel_parcel.packed"):
        """It was packed."""

        weight: Weight

    class Moved(Aggregate.Event, type="kernel_parcel.moved"):
        """It went on."""

        to: str

    @event(Packed)
    def __init__(self, id: UUID, weight: Weight) -> None:
        self.weight, self.stops = weight, []

    def move(self, to: str) -> None:
        """Go on."""
        self.trigger_event(Parcel.Moved, to=to)

    @event(Moved)
    def _moved(self, to: str) -> None:
        self.stops.append(to)


@pytest.fixture
def parcel() -> Parcel:
    token = kernel.NOW.set(MOMENT)
    try:
        made = Parcel(id=UUID(int=7), weight=Weight(grams=20))
        made.move("Kiel")
        return made
    finally:
        kernel.NOW.reset(token)


def test_no_aggregate_has_changed_without_a_new_fold() -> None:
    now = {name: fold_of(kind) for name, kind in domain_aggregates().items()}
    assert now
    wrong = complaints(now, read_folds(FOLDS))
    assert not wrong, "\n".join(["a process would read a snapshot that means something else:", *wrong])


RECORDED: Fold = {"fold": 2, "source": "aa", "state": "bb"}


@pytest.mark.parametrize(
    ("now", "saying"),
    [
        ({"fold": 2, "source": "other", "state": "bb"}, "set FOLD = 3"),
        ({"fold": 2, "source": "aa", "state": "other"}, "set FOLD = 3"),
        ({"fold": 1, "source": "aa", "state": "bb"}, "went back from 2 to 1"),
        ({"fold": 3, "source": "other", "state": "bb"}, "has FOLD 3: python -m"),
        ({"fold": 3, "source": "aa", "state": "bb"}, "has FOLD 3: python -m"),
    ],
)
def test_a_change_is_noticed_and_told_what_to_do(now: Fold, saying: str) -> None:
    assert complaints({"thing": RECORDED}, {"thing": RECORDED}) == []
    (said,) = complaints({"thing": now}, {"thing": RECORDED})
    assert saying in said


def test_what_is_new_or_gone_is_noticed() -> None:
    assert [each.partition(":")[0] for each in complaints({"new": RECORDED}, {"old": RECORDED})] == [
        "new is new",
        "old is gone",
    ]


def test_recording_takes_a_higher_fold_and_refuses_a_silent_change(tmp_path: Path) -> None:
    file = tmp_path / "folds.json"
    assert record_folds({"thing": RECORDED, "gone": RECORDED}, file) == []
    changed: Fold = {"fold": 2, "source": "other", "state": "bb"}
    assert record_folds({"thing": changed}, file) == complaints({"thing": changed}, {"thing": RECORDED})
    assert json.loads(file.read_text()) == {"thing": RECORDED}
    raised: Fold = {"fold": 3, "source": "other", "state": "bb"}
    assert record_folds({"thing": raised}, file) == []
    assert read_folds(file) == {"thing": raised}


def test_the_digest_sees_the_values_inside_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fold_of(Parcel)
    assert fold_of(Parcel) == before
    monkeypatch.setattr("inspect.getsource", lambda kind: f"another text of {kind.__name__}")
    assert fold_of(Parcel)["state"] != before["state"]
    assert fold_of(Parcel)["source"] != before["source"]


def test_a_snapshot_brings_the_same_aggregate_back(parcel: Parcel) -> None:
    back = Parcel.from_snapshot(parcel.id, parcel.version, parcel.snapshot())
    parcel.take_pending()
    assert back == parcel
    assert back.weight == Weight(grams=20)
    back.stops.append("Jena")
    assert parcel.stops == ["Kiel"]


def test_pending_events_are_handed_over_once(parcel: Parcel) -> None:
    assert [each.TYPE for each in parcel.take_pending()] == ["kernel_parcel.packed", "kernel_parcel.moved"]
    assert parcel.take_pending() == ()


def test_the_payload_has_no_envelope_and_the_batchs_instant_is_stamped(parcel: Parcel) -> None:
    packed, moved = parcel.take_pending()
    assert (packed.payload(), moved.payload()) == ({"weight": {"grams": 20}}, {"to": "Kiel"})
    assert packed.timestamp == moved.timestamp == MOMENT


def _without_a_topic() -> None:
    class Nameless(Aggregate):
        """No TOPIC."""


def _the_same_type_twice() -> None:
    class Again(Event, type="kernel_parcel.moved"):
        """The name is taken."""


def _a_version_without_a_way_to_it() -> None:
    class Jumped(Event, type="kernel_parcel.jumped", version=3):
        """Version 2 leads nowhere."""

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """The first step is there."""


@pytest.mark.parametrize(
    ("declare", "saying"),
    [
        (_without_a_topic, "needs TOPIC"),
        (_the_same_type_twice, "declared twice"),
        (_a_version_without_a_way_to_it, "no upcast_v2_v3"),
    ],
)
def test_a_slip_in_a_declaration_is_refused_at_import(declare: Callable[[], None], saying: str) -> None:
    with pytest.raises(TypeError, match=saying):
        declare()


def test_every_event_of_the_product_belongs_to_an_aggregate() -> None:
    homeless = [name for name, kind in kernel.EVENT_TYPES.items() if name not in AGGREGATE_OF and name == kind.TYPE]
    assert [name for name in homeless if kernel.EVENT_TYPES[name].__module__.startswith("domain.")] == []
