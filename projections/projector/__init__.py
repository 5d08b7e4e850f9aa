"""The read side's engine: what a projection is, how batches are applied, rebuilt, parked and read."""

from projections.projector.advancing import Advanced, Parked, Slice, advance, read_slice
from projections.projector.building import Progress, Rebuilt, rebuild
from projections.projector.comparing import Comparison, Figures
from projections.projector.connecting import Connection, Connections
from projections.projector.delivering import Delivery, deliveries, note_applied
from projections.projector.locking import Leadership
from projections.projector.marking import Mark, followed_by_partition, mark_offset, note_mark
from projections.projector.parking import ParkedKey, Retried, incomplete_since, parked_keys, retry
from projections.projector.partitions import (
    Arrival,
    Gap,
    Inflow,
    advance_partitions,
    claim,
    continued,
    level,
    move_house,
    partition_rows,
    settle,
)
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
    "Arrival",
    "Comparison",
    "Connection",
    "Connections",
    "Delivery",
    "Figures",
    "Gap",
    "Generation",
    "Inflow",
    "Leadership",
    "Mark",
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
    "advance_partitions",
    "claim",
    "continued",
    "deliveries",
    "followed_by_partition",
    "generation",
    "generations",
    "incomplete_since",
    "late",
    "level",
    "mark_offset",
    "move_house",
    "note_applied",
    "note_mark",
    "on",
    "on_every_event",
    "parked_keys",
    "partition_rows",
    "reached",
    "read_slice",
    "reading",
    "rebuild",
    "retry",
    "settle",
    "wait_until",
]
