"""Counts what a judge finds wrong: each fault of a campaign's own table, with a few examples."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

EXAMPLES = 3


@dataclass(slots=True)
class Findings:
    """How often each fault was found, with a few examples, and some figures. A campaign's verdict names its faults."""

    FAULTS: ClassVar[Mapping[str, str]]
    """Every fault that is looked for, and what it means."""
    SAYS_NOUGHT: ClassVar[bool] = True
    """Whether faults that were not found are printed, too."""

    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    counts: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def found(self, fault: str, example: str) -> None:
        """Count one fault."""
        assert fault in self.FAULTS, fault
        self.counts[fault] += 1
        if self.counts[fault] <= EXAMPLES:
            self.examples.setdefault(fault, []).append(example)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.counts.total()

    def head(self) -> str:
        """What was looked at."""
        return ", ".join(f"{value} {name}" for name, value in self.figures.items())

    def lines(self) -> list[str]:
        """What to print."""
        said = [self.head()]
        for fault, meaning in self.FAULTS.items():
            if self.SAYS_NOUGHT or self.counts[fault]:
                said.append(f"  {self.counts[fault]:>8}  {fault}: {meaning}")
                said += [f"            e.g. {example}" for example in self.examples.get(fault, [])]
        return said
