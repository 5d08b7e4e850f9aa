"""Writes what toybox promises to others, from the code: schemas of events and topics, AsyncAPI, OpenAPI, the map."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console

from adapters.blueprints import blueprint_schema
from adapters.blueprints.schema import FILE as BLUEPRINT_SCHEMA
from toybox import asyncapi, event_contracts, map_page, topic_contracts
from toybox.compatibility import breaks
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


@dataclass(frozen=True, slots=True)
class Evolving:
    """A contract that may be written over as long as nobody who relies on it is hurt."""

    text: str
    breaks: Callable[[str, str], Sequence[str]]
    fix: str


@cache
def evolving() -> Mapping[Path, Evolving]:
    """Contracts of topics: they gain fields, topics and messages, and lose none."""
    version = "publish the change as a new version: another type, on a topic of its own"
    return {file: Evolving(text, _schema_breaks, version) for file, text in topic_contracts.present().items()} | {
        asyncapi.FILE: Evolving(asyncapi.asyncapi(), asyncapi.breaks, "give what changed a new name beside the old one")
    }


def _schema_breaks(published: str, present: str) -> Sequence[str]:
    try:
        return breaks(json.loads(published), json.loads(present))
    except ValueError:
        return []  # what is no schema promises nothing


def _torn(root: Path) -> dict[Path, Finding]:
    """Evolving contracts whose committed text promises what the code does not keep."""
    found: dict[Path, Finding] = {}
    for file, contract in evolving().items():
        told = contract.breaks((root / file).read_text("utf-8"), contract.text) if (root / file).is_file() else ()
        if told:
            found[file] = Finding(file, f"is published and would break its readers ({'; '.join(told)})", contract.fix)
    return found


def _writable(root: Path, *, unreleased: bool = False) -> dict[Path, str]:
    """What the files are to say that may be written: all but published event schemas, and what would hurt readers."""
    torn = {} if unreleased else _torn(root)
    return (
        dict(generated())
        | {file: contract.text for file, contract in evolving().items() if file not in torn}
        | {file: text for file, text in event_contracts.present().items() if unreleased or not (root / file).is_file()}
    )


def broken_promises(root: Path) -> list[Finding]:
    """Schemas of published versions that the code contradicts. These are never written over."""
    found = list(_torn(root).values())
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
    return [
        Finding(file, "is stale" if (root / file).is_file() else "is missing", FIX)
        for file, text in sorted(_writable(root).items())
        if not (root / file).is_file() or (root / file).read_text("utf-8") != text
    ]


def check(root: Path) -> list[Finding]:
    """Everything that is wrong."""
    return [*broken_promises(root), *stale(root)]


def write(root: Path, *, unreleased: bool = False) -> list[Path]:
    """Write what is missing or stale; answers those files. With `unreleased` event schemas are written over, too."""
    written: list[Path] = []
    for file, text in sorted(_writable(root, unreleased=unreleased).items()):
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
