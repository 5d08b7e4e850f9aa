"""Writes what toybox promises to others, from the code: event schemas, OpenAPI, the blueprint schema, the map."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console

from adapters.blueprints import blueprint_schema
from adapters.blueprints.schema import FILE as BLUEPRINT_SCHEMA
from toybox import event_contracts, map_page
from toybox.openapi import FILE as OPENAPI
from toybox.openapi import openapi

FIX = "run `make contracts` and commit what it writes"


@dataclass(frozen=True, slots=True)
class Finding:
    """A contract that is not what the code says, and what to do about it."""

    file: Path
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file} {self.problem}: {self.fix}"


@cache
def generated() -> Mapping[Path, str]:
    """Every file that may always be written anew."""
    return {
        OPENAPI: openapi(),
        Path(BLUEPRINT_SCHEMA): blueprint_schema(),
        event_contracts.PAGE: event_contracts.page(),
        map_page.PAGE: map_page.render(),
    }


def broken_promises(root: Path) -> list[Finding]:
    """Schemas of published versions that the code contradicts. These are never written over."""
    found: list[Finding] = []
    for file, text in event_contracts.present().items():
        if (root / file).is_file() and (root / file).read_text("utf-8") != text:
            kind, version = file.stem.rsplit(".v", 1)
            fix = f"declare {kind} with version={int(version) + 1} and an upcast_v{version}_v{int(version) + 1}"
            found.append(Finding(file, "is published and the event's payload is another one now", fix))
    expected = event_contracts.expected()
    for file in sorted((root / event_contracts.FOLDER).glob("*.json")):
        if file.relative_to(root) not in expected:
            fix = "declare the event again: logs hold it"
            found.append(Finding(file.relative_to(root), "is published and nothing declares it any more", fix))
    present = event_contracts.present()
    missing = sorted(file for file in expected if file not in present and not (root / file).is_file())
    return found + [Finding(file, "is missing, and logs hold events of it", "restore the file") for file in missing]


def stale(root: Path) -> list[Finding]:
    """Generated files that are missing or say something else than the code."""
    wanted = dict(generated()) | {
        file: text for file, text in event_contracts.present().items() if not (root / file).is_file()
    }
    return [
        Finding(file, "is stale" if (root / file).is_file() else "is missing", FIX)
        for file, text in sorted(wanted.items())
        if not (root / file).is_file() or (root / file).read_text("utf-8") != text
    ]


def check(root: Path) -> list[Finding]:
    """Everything that is wrong."""
    return [*broken_promises(root), *stale(root)]


def write(root: Path, *, unreleased: bool = False) -> list[Path]:
    """Write what is missing or stale; answers those files. With `unreleased` event schemas are written over, too."""
    wanted = dict(generated()) | {
        file: text for file, text in event_contracts.present().items() if unreleased or not (root / file).is_file()
    }
    written: list[Path] = []
    for file, text in sorted(wanted.items()):
        path = root / file
        if not path.is_file() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            written.append(file)
    if unreleased:
        for path in (root / event_contracts.FOLDER).glob("*.json"):
            if path.relative_to(root) not in event_contracts.expected():
                path.unlink()
                written.append(path.relative_to(root))
    return written


def main(arguments: Sequence[str] | None = None, root: Path | None = None) -> int:
    """`make contracts` and `make contracts-check`; the exit code says whether all is well."""
    parser = argparse.ArgumentParser(prog="python -m toybox.contracts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where something is stale")
    parser.add_argument(
        "--unreleased", action="store_true", help="write over published event schemas: only before the first release"
    )
    chosen = parser.parse_args(arguments)
    console, root = Console(stderr=True, highlight=False, soft_wrap=True), root or Path.cwd()
    if not chosen.check:
        for file in write(root, unreleased=chosen.unreleased):
            console.print(f"written: {file}")
    wrong = check(root)
    for each in wrong:
        console.print(str(each), style="red")
    if not wrong:
        console.print("contracts are fresh")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
