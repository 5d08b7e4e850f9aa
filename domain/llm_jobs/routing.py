"""Where a job goes next: again to the same target, on to another one at once, or nowhere."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Literal, NamedTuple

from domain.values import Target

Move = Literal["stay", "next", "leave"]
"""The same target again; the next one first; this target never again for this job."""

MOVES: Mapping[str, Move] = {
    # The provider has trouble: others may answer now.
    "overloaded": "next",
    "timeout": "next",
    "unreachable": "next",
    # Nothing but somebody's action makes this target answer this job.
    "authentication": "leave",
    "credit_exhausted": "leave",
    "model_not_found": "leave",
    "price_unknown": "leave",
    "provider_key_missing": "leave",
    "unknown_provider": "leave",
}
"""By kind of failure. Any other stays, and where it is not worth a retry the job has failed."""


class Patience(NamedTuple):
    """How long a job bears with one target while it has others."""

    tries: int = 2
    """In a row, before the next target's turn."""
    wait: timedelta = timedelta(seconds=15)
    """For a rate limit to pass."""


class Onward(NamedTuple):
    """What a failed attempt is followed by."""

    target: Target
    at_once: bool
    for_good: bool = False
    """Whether the target that failed is of no more use to the job."""


class Route(NamedTuple):
    """A job's targets, the one whose turn it is, and those that are of no use to it."""

    targets: Sequence[Target]
    hop: int
    barred: Collection[int]

    @property
    def order(self) -> list[Target]:
        """Every target that is still of use, beginning with the one whose turn it is."""
        count = len(self.targets)
        turns = ((self.hop + step) % count for step in range(count))
        return [self.targets[each] for each in turns if each not in self.barred]

    def after(self, target: Target) -> Target | None:
        """The next one behind a target that is of use; None behind the last."""
        behind = range(self.targets.index(target) + 1, len(self.targets))
        return next((self.targets[each] for each in behind if each not in self.barred), None)

    def besides(self, target: Target) -> Target | None:
        """Any other that is of use: those behind it before those in front of it."""
        first = next((each for each in self.order if each != target), None)
        return self.after(target) or first

    def onward(
        self, target: Target, *, kind: str, wait: timedelta | None, tries: int, patience: Patience
    ) -> Onward | None:
        """What follows a failure at a target; `wait` is the pause before a retry, None where none is worth it."""
        if MOVES.get(kind) == "leave":
            then = self.besides(target)
            return Onward(then, at_once=True, for_good=True) if then else None
        if wait is None:
            return None
        too_long = kind == "rate_limited" and wait > patience.wait
        if MOVES.get(kind) != "next" and not too_long and tries + 1 < patience.tries:
            return Onward(target, at_once=False)
        if then := self.after(target):
            return Onward(then, at_once=True)
        return Onward(self.besides(target) or target, at_once=False)


class Routed:
    """What a job knows of its targets: a part of its state."""

    provider: str
    model: str
    fallbacks: list[Target]
    hop: int
    tries: int
    """In a row at the present target, but for the first."""
    barred: list[int]

    @property
    def route(self) -> Route:
        """Where its next attempt may go."""
        return Route([Target(provider=self.provider, model=self.model), *self.fallbacks], self.hop, self.barred)

    @property
    def target(self) -> Target:
        """Whose turn it is."""
        return self.route.targets[self.hop]

    def _turn_to(self, provider: str, model: str) -> None:
        turn = self.route.targets.index(Target(provider=provider, model=model))
        self.tries, self.hop = self.tries + 1 if turn == self.hop else 0, turn

    def _bar(self, provider: str, model: str) -> None:
        self.barred.append(self.route.targets.index(Target(provider=provider, model=model)))


def distinct(first: Target, fallbacks: Sequence[Target] | None) -> list[Target]:
    """The fallbacks behind the first target: each once, without the first."""
    return [each for each in dict.fromkeys(fallbacks or ()) if each != first]


def hop(target: Target, then: Target) -> dict[str, str]:
    """How events name where a job was and where it goes."""
    return {**dict(target), "next_provider": then.provider, "next_model": then.model}
