"""The read side's engine: what a projection is, how batches are applied, rebuilt, parked and read."""

from projections.projector.advancing import Advanced, Parked, Slice, advance, read_slice
from projections.projector.building import Progress, Rebuilt, rebuild
from projections.projector.comparing import Comparison, Figures
from projections.projector.connecting import Connection, Connections
from projections.projector.locking import Leadership
from projections.projector.parking import ParkedKey, Retried, incomplete_since, parked_keys, retry
from projections.projector.positions import (
    Generation,
    Superseded,
    generation,
    generations,
    late,
    reached,
    wait_until,
)
from projections.projector.projection import PROJECTIONS, Applied, Projection, on, on_every_event
from projections.projector.reading import Reading, reading

__all__ = [
    "PROJECTIONS",
    "Advanced",
    "Applied",
    "Comparison",
    "Connection",
    "Connections",
    "Figures",
    "Generation",
    "Leadership",
    "Parked",
    "ParkedKey",
    "Progress",
    "Projection",
    "Reading",
    "Rebuilt",
    "Retried",
    "Slice",
    "Superseded",
    "advance",
    "generation",
    "generations",
    "incomplete_since",
    "late",
    "on",
    "on_every_event",
    "parked_keys",
    "reached",
    "read_slice",
    "reading",
    "rebuild",
    "retry",
    "wait_until",
]
