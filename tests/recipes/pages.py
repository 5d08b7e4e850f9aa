"""Pages of recipes: their fenced commands, each with the output that the page shows for it."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.checkout import ROOT

FOLDER = ROOT / "docs" / "how-to" / "analyse"
RECORD = "TOYBOX_TEST_RECORD"
"""Set it to write what commands print into the pages, then look at the difference."""
NOT_RUN = "install"
"""```sh install: what puts a tool on the machine is not run by tests."""
_FENCE = re.compile(
    r"^```(?P<language>[a-z]+)(?: (?P<note>[a-z-]+))?\n(?P<text>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One command or query of a page."""

    page: Path
    language: str
    note: str | None
    text: str
    shown: str | None
    span: tuple[int, int]
    """Where the shown output stands in the page."""

    @property
    def line(self) -> int:
        """Where it is, for messages."""
        return self.page.read_text("utf-8").count("\n", 0, self.span[0]) + 1


def cells(name: str) -> list[Cell]:
    """Every command of a page, in order."""
    page = FOLDER / name
    text = page.read_text("utf-8")
    return [
        Cell(page, each["language"], each["note"], each["text"], each["shown"], each.span("shown"))
        for each in _FENCE.finditer(text)
        if each["language"] != "text"
    ]


def to_run(name: str) -> Iterator[Cell]:
    """Those that are run."""
    return (each for each in cells(name) if each.note != NOT_RUN)


def play(name: str, run: Callable[[Cell], str]) -> None:
    """Run a page from its beginning; each output must be the one that it shows."""
    said = [(cell, run(cell)) for cell in to_run(name)]
    assert said, f"{name} has no command"
    wrong = [(cell, out) for cell, out in said if cell.shown is not None and cell.shown != out]
    if wrong and os.environ.get(RECORD):
        _record(FOLDER / name, wrong)
    for cell, out in wrong:
        raise AssertionError(
            f"{name}, line {cell.line}: this prints something else than the page shows; see that it is right, then "
            f"{RECORD}=1 writes it down\n{cell.text}\n--- prints\n{out}\n--- shown\n{cell.shown}"
        )


def _record(page: Path, wrong: list[tuple[Cell, str]]) -> None:
    text = page.read_text("utf-8")
    for cell, out in reversed(wrong):
        start, end = cell.span
        text = text[:start] + out + text[end:]
    page.write_text(text, "utf-8")
