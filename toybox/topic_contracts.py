"""The contracts of records on Kafka: the envelope around events, their headers, and the values of data products."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from streams.products.cloud import BUDGET_STATE, COST_FACT, DEAD_LETTER, PROJECT_STATE
from streams.products.costs import CostFact
from streams.products.dead_letters import DeadLetter
from streams.products.states import BudgetState, ProjectState

FOLDER: Final = Path("docs/contracts/kafka")
ENVELOPE: Final = FOLDER / "envelope.v1.json"
PRODUCTS: Final[Mapping[str, type[BaseModel]]] = {
    COST_FACT: CostFact,
    PROJECT_STATE: ProjectState,
    BUDGET_STATE: BudgetState,
    DEAD_LETTER: DeadLetter,
}
"""The value of each data product by its CloudEvents type; another version is another type, on a topic of its own."""
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def file_of(kind: str) -> Path:
    """Where the schema of a product's value lies."""
    return FOLDER / f"{kind.removeprefix('toybox.')}.json"


@cache
def present() -> Mapping[Path, str]:
    """Every schema, by its file. Unlike events they may gain optional fields within a version."""
    schemas = {ENVELOPE: envelope()} | {file_of(kind): product(kind) for kind in PRODUCTS}
    return {file: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for file, schema in schemas.items()}


def product(kind: str) -> dict[str, Any]:
    """The JSON Schema of a data product's value. Unknown fields are allowed: readers must pass over them."""
    value = PRODUCTS[kind]
    found = value.model_json_schema(mode="serialization")
    found.pop("title", None)
    return {"$schema": _DRAFT, "$id": f"urn:toybox:{kind.removeprefix('toybox.')}", "title": kind, **found}


def envelope() -> dict[str, Any]:
    """The JSON Schema of a record on the topic of events: a CloudEvent in structured JSON."""
    return {
        "$schema": _DRAFT,
        "$id": "urn:toybox:envelope:1",
        "title": "A record of toybox.events",
        "description": "A CloudEvent 1.0 in structured JSON; `data` is the event, by the schema of its type.",
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            "id": _text("The event's stream and its version there: the same however often it is delivered."),
            "source": _text("The log that it comes from.", pattern="^urn:toybox:log:[0-9a-f]{32}$"),
            "type": _text("What happened, with the version of its schema.", pattern=r"^toybox\..+\.v[1-9][0-9]*$"),
            "subject": _uuid("The stream: whose history this is a part of."),
            "time": _text("When it was recorded, UTC, by a clock that never runs backwards.", format="date-time"),
            "datacontenttype": {"const": "application/json"},
            "position": _text("Place in the whole log, as text: it may exceed 2^31.", pattern="^[1-9][0-9]*$"),
            "prev": _text("Position of the record before it on this partition; 0 for the first.", pattern="^[0-9]+$"),
            "streamversion": {"type": "integer", "minimum": 1, "description": "Place in the history of the stream."},
            "actor": _text("Who decided it."),
            "command": _uuid("The request that it answers; all events of one request share it."),
            "correlation": _uuid("The story that it belongs to."),
            "project": _uuid("Absent when it belongs to no project."),
            "causation": _uuid("The command id of the event that led to it; absent when a person asked for it."),
            "traceid": _text("The OpenTelemetry trace; absent when there is none.", pattern="^[0-9a-f]{32}$"),
            "data": {"type": "object"},
        },
        "required": [
            *("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "position", "prev"),
            *("streamversion", "actor", "command", "correlation", "data"),
        ],
    }


def event_headers() -> dict[str, Any]:
    """Headers of a record of events: enough to choose and to order records without parsing them."""
    needed = ("ce_time", "toybox-position", "toybox-prev")
    return _headers("application/cloudevents+json; charset=UTF-8", *needed)


def product_headers(*names: str) -> dict[str, Any]:
    """Headers of a data product: a CloudEvent in binary mode, plus those that are named."""
    return _headers("application/json; charset=UTF-8", "ce_subject", *names)


_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": {"type": "string"},
    "ce_source": {"type": "string"},
    "ce_type": {"type": "string"},
    "ce_subject": {"type": "string"},
    "ce_time": {"type": "string", "format": "date-time"},
    "toybox-position": {"type": "string", "pattern": "^[0-9]+$", "description": "A place in the log."},
    "toybox-prev": {
        "type": "string",
        "pattern": "^[0-9]+$",
        "description": "The position of the record before it on this partition; 0 for the first.",
    },
}
_ALWAYS: Final = ("ce_specversion", "ce_id", "ce_source", "ce_type")


def _headers(content_type: str, *needed: str) -> dict[str, Any]:
    names = [name for name in _HEADERS if name in {*_ALWAYS, *needed}]
    return {
        "type": "object",
        "properties": {
            "content-type": {"const": content_type},
            **{name: dict(_HEADERS[name]) for name in names},
        },
        "required": ["content-type", *names],
    }


def _text(description: str, **more: str) -> dict[str, Any]:
    return {"type": "string", **more, "description": description}


def _uuid(description: str) -> dict[str, Any]:
    return _text(description, format="uuid")
