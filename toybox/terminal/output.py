"""How things look on a terminal and elsewhere: consoles, tables, amounts, times, JSON."""

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

OFF_TERMINAL_WIDTH = 200
"""Columns where nobody looks: wide enough that a program finds whole lines; COLUMNS overrules it."""
GAP = 2
READABLE = 12
"""Characters of a text that tell it from others."""
WHOLE = {"ID": 8, "STATUS": 9, "BEGINS": 10}
"""Columns that are worth nothing when they are cut."""
STYLES = {
    "completed": "green",
    "approved": "green",
    "running": "cyan",
    "ready": "cyan",
    "waiting": "yellow",
    "parked": "yellow",
    "paused": "yellow",
    "pending": "yellow",
    "failed": "red",
    "cancelled": "red",
    "expired": "red",
    "withdrawn": "dim",
    "skipped": "dim",
    "archived": "dim",
    "closed": "dim",
    "superseded": "dim",
}
SYMBOLS = {
    "defined": "○",
    "ready": "◎",
    "running": "●",
    "waiting": "◆",
    "completed": "✔",
    "failed": "✘",
    "skipped": "↷",
    "cancelled": "✘",
    "removed": "·",
}
PLAIN_SYMBOLS = {
    "defined": ".",
    "ready": "o",
    "running": "*",
    "waiting": "?",
    "completed": "+",
    "failed": "x",
    "skipped": "-",
    "cancelled": "x",
    "removed": " ",
}


def _console(*, to_stderr: bool) -> Console:
    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else shutil.get_terminal_size((OFF_TERMINAL_WIDTH, 24)).columns
    return Console(stderr=to_stderr, width=width, highlight=False, markup=False, emoji=False)


@cache
def out() -> Console:
    """Standard output: what was asked for."""
    return _console(to_stderr=False)


@cache
def err() -> Console:
    """Standard error: progress and remarks."""
    return _console(to_stderr=True)


def forget_consoles() -> None:
    """Look at the standard streams anew: tests replace them."""
    out.cache_clear()
    err.cache_clear()


def is_interactive() -> bool:
    """Whether a person sits there who can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def print_json(value: Any) -> None:
    """One JSON document on one line: lists become a line for each item, so that streams and lists read alike."""
    for each in value if isinstance(value, list) else [value]:  # pyright: ignore[reportUnknownVariableType]
        sys.stdout.write(json.dumps(each, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")
    sys.stdout.flush()


def table(*columns: str | Column) -> Table:
    """A table of plain lines."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for each in columns:
        if isinstance(each, str):
            made.add_column(each, overflow="ellipsis", no_wrap=True)
        else:
            made.add_column(each.header, justify=each.justify, overflow="ellipsis", no_wrap=each.no_wrap)
    return made


def figures(name: str) -> Column:
    """A column of numbers."""
    return Column(name, justify="right", no_wrap=True)


def show(made: Table, rows: Iterable[Sequence[str | Text]], empty: str) -> None:
    """Print the rows, or the sentence when there are none. Where the terminal is narrow, the last columns go first."""
    found = list(rows)
    if not found:
        err().print(empty)
        return
    _fit(made, found, out().width)
    for row in found:
        made.add_row(*row[: len(made.columns)])
    out().print(made)


def _fit(made: Table, rows: Sequence[Sequence[str | Text]], width: int) -> None:
    """Leave out columns until the others can be read: figures, ids and states whole, of texts the beginning."""
    longest = [
        max(cell_len(str(cell)) for cell in (column.header, *(row[number] for row in rows)))
        for number, column in enumerate(made.columns)
    ]
    least = [
        size if column.justify == "right" else min(size, WHOLE.get(str(column.header), READABLE))
        for column, size in zip(made.columns, longest, strict=True)
    ]
    while len(least) > 1 and sum(least) + GAP * (len(least) - 1) > width:
        least.pop()
    del made.columns[len(least) :]
    spare = width - sum(least) - GAP * (len(least) - 1)
    for column, size, wished in zip(made.columns, least, longest, strict=False):
        more = max(0, min(spare, wished - size))
        column.width = size + more
        spare -= more


def styled(status: str) -> Text:
    """A state in its colour."""
    return Text(status, STYLES.get(status, ""))


def symbol(status: str, console: Console) -> Text:
    """A state as one character that this terminal can show."""
    known = PLAIN_SYMBOLS if console.options.ascii_only else SYMBOLS
    return Text(known.get(status, "?"), STYLES.get(status, ""))


def short(value: object) -> str:
    """An id as people read and type it: its first eight characters."""
    return str(value or "")[:8]


def is_id(text: str) -> bool:
    """Whether this is a whole id."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def money(amount: object) -> str:
    """An amount in dollars with four digits, so that columns align; with more where only they show anything."""
    value = Decimal(str(amount or 0))
    digits = 4 if not value or abs(value) >= Decimal("0.0001") else min(12, 1 - value.adjusted())
    return f"{'-' if value < 0 else ''}${abs(value):,.{digits}f}"


def dollars(amount: object) -> str:
    """An amount in a sentence: cents, and digits beyond them only where there are some."""
    text = money(amount)
    whole, _, digits = text.partition(".")
    return f"{whole}.{digits.rstrip('0').ljust(2, '0')}"


def figure(amount: object, unit: str) -> str:
    """An amount of a limit in a table: dollars, or tokens."""
    return money(amount) if unit == "usd" else f"{Decimal(str(amount)):,f}"


def quantity(amount: object, unit: str) -> str:
    """An amount of a limit in a sentence."""
    return dollars(amount) if unit == "usd" else f"{figure(amount, unit)} {unit.replace('_', ' ')}"


def moment(text: object, *, seconds: bool = True) -> str:
    """An instant in this machine's time zone."""
    if not text:
        return ""
    local = datetime.fromisoformat(str(text)).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def span(seconds: float) -> str:
    """A span of time: 0.4 s, 12 s, 3:05, 1:02:03."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
