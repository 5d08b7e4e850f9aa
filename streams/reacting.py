"""Reactions: pure functions from an event to commands, registered by the module they stand in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from commands.handling import Command
from domain.kernel import Event
from domain.log import StoredEvent

REACTIONS: dict[str, "Reaction"] = {}
"""Every reaction by its name: the sentence that its module is called."""

React = Callable[[Event, StoredEvent], Iterable[Command]]
R = TypeVar("R", bound=React)


@dataclass(frozen=True, slots=True)
class Reaction:
    """What answers which events. A new one starts at the log's head, unless it asks for the past."""

    name: str
    types: frozenset[str]
    react: React
    from_start: bool = False

    @staticmethod
    def key(stored: StoredEvent) -> UUID:
        """Events of one key are answered in order; other keys do not wait."""
        return stored.project_id or stored.stream_id


def key_of(command: Command, stored: StoredEvent) -> str:
    """What a command is known by among all that its reaction ever asks for: position, name, and its streams."""
    return "|".join((str(stored.position), type(command).__name__, *map(str, command.streams())))


def reaction(*kinds: type[Event], from_start: bool = False) -> Callable[[R], R]:
    """Register a function that answers these events with commands.

    A command's id comes from the reaction, the event's position, the command's name and what it is about: running it
    again changes nothing.
    It reads nothing but its event; what it needs to know is read in the decide of its command.
    """

    def register(react: R) -> R:
        name = react.__module__.rpartition(".")[2]
        if name in REACTIONS:
            msg = f"reaction {name} is registered twice: one file, one sentence, one reaction"
            raise TypeError(msg)
        REACTIONS[name] = Reaction(name, frozenset(kind.TYPE for kind in kinds), react, from_start)
        return react

    return register
