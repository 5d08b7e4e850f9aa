"""The ledger's state machine run for long: thousands of random lives of a budget, each checked after every event.

`python -m faults.budget_machine --runs 2000`
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from eventsourcing.domain import decorated_funcs
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from domain.budgets import Budget, Limit
from domain.errors import Refused
from domain.kernel import Event
from tests.domain import test_budget_invariant as machine

STEPS = 40
"""Rules of one run, at most."""
EVENTS: list[tuple[str, type[Event], Callable[..., None]]] = [
    ("a settlement frees nothing", Budget.Settled, machine.settles_without_freeing),
    ("a settlement is never over", Budget.Settled, machine.settles_for_ever),
    ("an expiry is free", Budget.HoldExpired, machine.expires_for_free),
]
METHODS: list[tuple[str, str, Callable[..., Any]]] = [
    ("what is held is forgotten", "headroom", machine.forgets_what_is_held),
    ("no window ever rolls", "next_span", machine.never_rolls),
    ("a settlement counts in the window of its end", "bucket", machine.counts_where_it_settles),
]


class Counted(machine.Books):
    """The same, counting what it does."""

    runs: ClassVar[int] = 0
    told: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        Counted.runs += 1

    def teardown(self) -> None:
        """At the end of a run: everything that happened in it, by type."""
        Counted.told.update(self.types)


def _caught() -> bool:
    try:
        run_state_machine_as_test(machine.Books, settings=machine.CAUGHT)
    except (AssertionError, Refused, machine.pytest.fail.Exception):
        return True
    return False


def _planted() -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    for said, event, applier in EVENTS:
        sound = decorated_funcs[event]
        decorated_funcs[event] = applier
        try:
            found.append((said, _caught()))
        finally:
            decorated_funcs[event] = sound
    for said, name, bug in METHODS:
        sound = getattr(Limit, name)
        setattr(Limit, name, bug)
        try:
            found.append((said, _caught()))
        finally:
            setattr(Limit, name, sound)
    return found


def main() -> int:
    """0 when every run kept the invariants, and every planted bug was caught."""
    parser = argparse.ArgumentParser(prog="python -m faults.budget_machine", description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    asked = parser.parse_args()
    began = time.monotonic()
    thorough = settings(machine.THOROUGH, max_examples=asked.runs, stateful_step_count=STEPS)
    run_state_machine_as_test(Counted, settings=thorough)
    events = ", ".join(f"{number} {kind}" for kind, number in Counted.told.most_common())
    print(f"{Counted.runs} runs in {time.monotonic() - began:.0f} s, invariants held at each of their events: {events}")
    planted = _planted()
    for said, caught in planted:
        print(f"planted: {said}: {'caught' if caught else 'NOT CAUGHT'}")
    return 0 if Counted.runs >= asked.runs and all(caught for _, caught in planted) else 1


if __name__ == "__main__":
    sys.exit(main())
