"""What views are made of: a frozen base, and tuples in which one item takes another's place."""

from collections.abc import Callable
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class View(BaseModel):
    """Something that is shown: never changed, only followed by the next one."""

    model_config = ConfigDict(frozen=True)

    def but(self, **changes: object) -> Self:
        """The same with these fields changed. Not validated: folds take their values from validated events."""
        return self.model_copy(update=changes)


def replaced(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    """The items with another one at this place."""
    return (*items[:index], item, *items[index + 1 :])


def without(items: tuple[T, ...], gone: Callable[[T], bool]) -> tuple[T, ...]:
    """The items that stay; the same tuple when all of them do."""
    left = tuple(each for each in items if not gone(each))
    return items if len(left) == len(items) else left
