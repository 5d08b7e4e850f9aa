"""How many examples a test looks at: all of them in `make test`, a share of them in `make test-fast`."""

import pytest
from hypothesis import settings

PLAIN = 100
"""What Hypothesis looks at when nobody says how many."""


def examples(number: int) -> int:
    """So many, or the share of them that the profile asks for."""
    return max(1, number * settings().max_examples // PLAIN)


def seeds(number: int, *, fast: int) -> list[object]:
    """So many random stories, the first few of them in `make test-fast`, too."""
    return [pytest.param(each, marks=() if each < fast else pytest.mark.thorough) for each in range(number)]
