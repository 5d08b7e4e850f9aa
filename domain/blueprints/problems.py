"""What is wrong with a blueprint: one problem each, with its place and its fix, and the error that carries them."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.errors import Refused

Path = tuple[str | int, ...]
"""Where something stands in a blueprint: `("phases", 0, "agents", 1, "prompt")`."""


def spelled(path: Path) -> str:
    """A path as a person reads it: `phases[0].agents[1].prompt`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where it stands and what to do about it."""

    message: str
    fix: str
    path: Path = ()
    source: str = ""
    line: int | None = None
    text_line: int | None = None
    """The line inside the text at `path`, when the problem is in there: a template has many."""

    def __str__(self) -> str:
        if self.source and self.line is not None:
            where = f"{self.source}:{self.line}"
        else:
            where = ": ".join(part for part in (self.source, spelled(self.path)) if part)
        said = f"{self.message}; {self.fix}"
        return f"{where}: {said}" if where else said


class BlueprintError(Refused):
    """A blueprint, or an input given to it, cannot be used; every problem found is listed."""

    code = "blueprint_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        super().__init__("\n".join(lines), problems=lines)
