"""Data products as CloudEvents in binary mode: the value is flat JSON, what a CloudEvent says of itself is headers."""

from datetime import datetime
from typing import Final

CONTENT_TYPE: Final = b"application/json; charset=UTF-8"
COST_FACT: Final = "toybox.cost-fact.v1"
PROJECT_STATE: Final = "toybox.project-state.v1"
BUDGET_STATE: Final = "toybox.budget-state.v1"
DEAD_LETTER: Final = "toybox.dead-letter.v1"


def headers(
    kind: str, *, id: str, source: str, subject: str, position: int | None, time: datetime | None = None
) -> list[tuple[str, bytes]]:
    """What readers choose and order records by without parsing them."""
    told = [
        ("content-type", CONTENT_TYPE),
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", kind.encode()),
        ("ce_subject", subject.encode()),
    ]
    if time is not None:
        told.append(("ce_time", time.isoformat().replace("+00:00", "Z").encode()))
    if position is not None:
        told.append(("toybox-position", b"%d" % position))
    return told
