"""Tables as spreadsheets take them: RFC 4180, and no cell that a spreadsheet would carry out as a formula."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.requests import Request

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell begins with that spreadsheets take for a formula."""


class Name(str):
    """Text that somebody chose: a project's name, a model's."""

    __slots__ = ()


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lines that end in CRLF. A `Name` that looks like a formula gets an apostrophe in front; None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(each) for each in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, Name) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def wants_csv(request: Request, said: str | None) -> bool:
    """Whether the answer is to be CSV: by the parameter, else by what the client accepts best."""
    if said:
        return said == "csv"
    best, chosen = 0.0, "json"
    for each in request.headers.get("accept", "").split(","):
        kind, *parameters = (part.strip().lower() for part in each.split(";"))
        weight = next((_weight(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
        if kind in ("text/csv", "application/json", "*/*") and weight > best:
            best, chosen = weight, kind
    return chosen == "text/csv"


def _weight(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
