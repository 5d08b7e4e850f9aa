"""Writes what is missing in the golden log: `python -m tests.golden.record`.

What is recorded is never changed: a changed event needs a new version, a changed aggregate a new FOLD. Before the first
release, when no log holds any of it, `--unreleased` writes everything anew.
"""

import argparse
import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, get_args

from pydantic import BaseModel

from domain.kernel import AGGREGATE_OF, EVENT_TYPES, Aggregate, Event
from tests.golden.examples import example
from toybox.inventory import load

HERE = Path(__file__).parent
EVENTS = HERE / "events"
FOLDS = HERE / "folds.json"
COMMAND = "python -m tests.golden.record"


class Fold(TypedDict):
    """What is remembered of an aggregate: its FOLD, and digests of what makes a snapshot mean what it means."""

    fold: int
    source: str
    state: str


# --- events ---


def domain_events() -> list[type[Event]]:
    """Every event class of the product."""
    load()
    return [kind for name, kind in sorted(EVENT_TYPES.items()) if kind.__module__.startswith("domain.")]


def example_file(folder: Path, name: str, version: int) -> Path:
    """Where the example of an event version lies."""
    return folder / f"{name}.v{version}.json"


def without_example(kinds: Iterable[type[Event]], folder: Path) -> list[tuple[type[Event], int]]:
    """Event versions that have no recorded example."""
    return [
        (kind, version)
        for kind in kinds
        for version in range(1, kind.VERSION + 1)
        if not example_file(folder, kind.TYPE, version).exists()
    ]


def record_examples(kinds: Iterable[type[Event]], folder: Path) -> list[str]:
    """Write the examples that are missing; answer their names. An old version cannot be made up any more."""
    written: list[str] = []
    for kind, version in without_example(kinds, folder):
        if version != kind.VERSION:
            raise SystemExit(
                f"{kind.TYPE} is at version {kind.VERSION}: take its example of version {version} from git"
            )
        file = example_file(folder, kind.TYPE, version)
        file.write_text(_pretty(example(kind)), encoding="utf-8")
        written.append(file.name)
    return written


def _pretty(body: object) -> str:
    return json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


# --- folds ---


def domain_aggregates() -> dict[str, type[Aggregate]]:
    """Every aggregate class of the product, by its stored name."""
    load()
    found = {kind.TOPIC: kind for kind in AGGREGATE_OF.values() if kind.__module__.startswith("domain.")}
    return dict(sorted(found.items()))


def fold_of(kind: type[Aggregate]) -> Fold:
    """What there is to remember of this aggregate now."""
    return {"fold": kind.FOLD, "source": kind.fold_digest(), "state": _state_digest(kind)}


def _state_digest(kind: type[Aggregate]) -> str:
    """Changes with the shape of the state, and with the code of the values that it is made of."""
    model = kind.state_model()
    sources = sorted({inspect.getsource(value) for value in _values(model) if value is not model})
    shape = json.dumps(_without_prose(model.model_json_schema()), sort_keys=True)
    return hashlib.sha256("\0".join([shape, *sources]).encode()).hexdigest()[:16]


def _values(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for kind in _classes(field.annotation):
            yield from _values(kind)


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes(argument)


def _without_prose(schema: Any) -> Any:
    if isinstance(schema, dict):
        prose = ("title", "description")
        return {
            name: _without_prose(value)  # pyright: ignore[reportUnknownArgumentType]
            for name, value in schema.items()  # pyright: ignore[reportUnknownVariableType]
            if not (name in prose and isinstance(value, str))
        }
    if isinstance(schema, list):
        return [_without_prose(each) for each in schema]  # pyright: ignore[reportUnknownVariableType]
    return schema


def complaints(now: Mapping[str, Fold], recorded: Mapping[str, Fold]) -> list[str]:
    """What stands between the aggregates as they are and the folds as they are recorded."""
    said: list[str] = []
    for name, fold in now.items():
        before = recorded.get(name)
        if before is None:
            said.append(f"{name} is new: {COMMAND}")
        elif fold["fold"] < before["fold"]:
            said.append(f"{name}: FOLD went back from {before['fold']} to {fold['fold']}: old snapshots would be read")
        elif fold["fold"] == before["fold"] and fold != before:
            said.append(f"{name} has changed: set FOLD = {fold['fold'] + 1}, then {COMMAND}")
        elif fold != before:
            said.append(f"{name} has FOLD {fold['fold']}: {COMMAND}")
    said += [f"{name} is gone: {COMMAND}" for name in recorded.keys() - now.keys()]
    return said


def read_folds(file: Path) -> dict[str, Fold]:
    """The folds as they were recorded."""
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def record_folds(now: Mapping[str, Fold], file: Path) -> list[str]:
    """Take over what is new or has a higher FOLD; answer the complaints that only an edit can answer."""
    kept = read_folds(file)
    for name, fold in now.items():
        if name not in kept or fold["fold"] > kept[name]["fold"]:
            kept[name] = fold
    kept = {name: fold for name, fold in kept.items() if name in now}
    file.write_text(_pretty(kept), encoding="utf-8")
    return complaints(now, kept)


def main() -> int:
    """Record, and say what was recorded."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--unreleased", action="store_true", help="no log holds any of it yet: write everything anew")
    EVENTS.mkdir(exist_ok=True)
    if parser.parse_args().unreleased:
        for file in [*EVENTS.glob("*.json"), FOLDS]:
            file.unlink(missing_ok=True)
    for name in record_examples(domain_events(), EVENTS):
        sys.stdout.write(f"recorded {name}\n")
    left = record_folds({name: fold_of(kind) for name, kind in domain_aggregates().items()}, FOLDS)
    sys.stdout.writelines(f"{each}\n" for each in left)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
