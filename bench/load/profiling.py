"""Where the time goes: a profile of one thread, by function and by package."""

import cProfile
import pstats
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LINES = 30
_SITE = "site-packages"


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:  # noqa: FBT001 -- `with profiled(order.profile)` reads well
    """Profile what runs inside, and print it; the rates of a profiled load are worth nothing."""
    if not wanted:
        yield
        return
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        stats = pstats.Stats(profile, stream=sys.stderr)
        _print_packages(stats)
        stats.sort_stats("tottime").print_stats(LINES)
        stats.sort_stats("cumulative").print_stats(3 * LINES)


def _print_packages(stats: pstats.Stats) -> None:
    own: Counter[str] = Counter()
    measured: dict[tuple[str, int, str], tuple[Any, ...]] = stats.stats  # pyright: ignore[reportAttributeAccessIssue]
    for (file, _, function), (_, _, seconds, *_) in measured.items():
        own[_package(file, function)] += seconds
    whole = own.total() or 1.0
    for package, seconds in own.most_common(15):
        print(f"{seconds / whole:6.1%}  {package}", file=sys.stderr)


def _package(file: str, function: str) -> str:
    if file == "~":  # a function written in C: its own name tells most
        return function.strip("<>").removeprefix("built-in method ")
    parts = Path(file).parts
    if _SITE in parts:
        return parts[parts.index(_SITE) + 1]
    return next((part for part in parts if part in ("domain", "commands", "adapters", "bench")), Path(file).name)
