"""Files that commands read: a price card, a vendor's usage export; what is wrong is told with its line."""

import csv
import json
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from domain.errors import Refused
from domain.pricing import BUCKETS
from domain.values import money_text

Json = dict[str, Any]
TEXTS = ("attempt_id", "response_id", "model", "tier", "speed", "region", "reported_cost")
NUMBERS = ("input_tokens", "output_tokens")
COUNTS = ("examined", "changed", "unchanged", "not_of_this_card", "no_usage", "charged_by_provider", "price_unknown")
AMOUNTS = ("before", "after", "delta")
LARGEST = 512 * 1024 * 1024


def json_of(file: Path) -> Json:
    """The object in a file; Refused with the line where it is none."""
    try:
        found = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise Refused(
            f"{file}, line {error.lineno}, column {error.colno}: {error.msg}; mend the JSON there", code="invalid_json"
        ) from None
    if not isinstance(found, dict):
        raise Refused(f"{file} holds no JSON object: a price card begins with {{", code="invalid_json")
    return found  # pyright: ignore[reportUnknownVariableType] -- the server checks what is in it


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST:
            raise Refused(f"{file} is larger than {LARGEST // 1024**2} MiB: split it", code="file_too_large")
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8", code="invalid_text") from None
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}", code="file_unreadable") from None


def export_rows(file: Path) -> Iterator[Json]:
    """The lines of an export, as the API takes them: CSV with a heading, or one JSON object on each line."""
    text = _text(file)
    lines = text.splitlines()
    if next((each for each in lines if each.strip()), "").lstrip().startswith("{"):
        yield from (_row(file, number, _object(file, number, line)) for number, line in _numbered(lines))
        return
    reader = csv.DictReader(lines)
    known = {*TEXTS, *NUMBERS, *BUCKETS}
    heading = list(reader.fieldnames or [])
    if not {"attempt_id", "response_id"} & set(heading):
        raise Refused(f"{file}, line 1: name a column attempt_id or response_id; there are {', '.join(heading)}")
    if unknown := sorted(set(heading) - known):
        raise Refused(
            f"{file}, line 1: columns {', '.join(unknown)} are not known; there are {', '.join(sorted(known))}",
            code="invalid_export",
        )
    for each in reader:
        yield _row(file, reader.line_num, {name: value for name, value in each.items() if name and value})


def _numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _object(file: Path, number: int, line: str) -> Json:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise Refused(f"{file}, line {number}, column {error.colno}: {error.msg}", code="invalid_json") from None
    if not isinstance(found, dict):
        raise Refused(f"{file}, line {number}: write one JSON object on each line", code="invalid_json")
    return found  # pyright: ignore[reportUnknownVariableType] -- checked field by field


def _row(file: Path, number: int, given: Json) -> Json:
    row: Json = {"row": number, "counts": {}}
    for name, value in given.items():
        if name in TEXTS:
            row[name] = _amount(file, number, value) if name == "reported_cost" else str(value)
        elif name in NUMBERS:
            row[name] = _count(file, number, name, value)
        elif name in BUCKETS:
            row["counts"][name] = _count(file, number, name, value)
        else:
            raise Refused(
                f"{file}, line {number}: {name} is not known; there are {', '.join((*TEXTS, *NUMBERS, *BUCKETS))}",
                code="invalid_export",
            )
    return row


def _count(file: Path, number: int, name: str, value: object) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        raise Refused(
            f"{file}, line {number}: {name} is {value!r}; write a whole number, 0 or more", code="invalid_export"
        )
    return int(text)


def _amount(file: Path, number: int, value: object) -> str:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise Refused(f"{file}, line {number}: reported_cost is {value!r}; write USD, 0 or more", code="invalid_export")
    return format(amount, "f")


def summed(pages: Iterable[Json]) -> Json:
    """Pages of a re-rating as one."""
    groups: dict[tuple[Any, ...], Json] = {}
    told: Json = {}
    for page in pages:
        if not told:
            told = {**page, "next": None, "items": []}
            told |= dict.fromkeys(COUNTS, 0) | dict.fromkeys(AMOUNTS, "0")
        for name in COUNTS:
            told[name] += page[name]
        for name in AMOUNTS:
            told[name] = _sum(told[name], page[name])
        for each in page["items"]:
            key = (each["project_id"], each["provider"], each["model"])
            known = groups.setdefault(key, {**each, "attempts": 0, **dict.fromkeys(AMOUNTS, "0")})
            known["attempts"] += each["attempts"]
            for name in AMOUNTS:
                known[name] = _sum(known[name], each[name])
    told["items"] = sorted(groups.values(), key=lambda each: abs(Decimal(each["delta"])), reverse=True)
    return told


def _sum(one: str, other: str) -> str:
    return money_text(Decimal(one) + Decimal(other))
