"""One pipeline for every command: authorise, seal, hand to the sequencer, answer with position and version."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal, Self, TypeVar
from uuid import UUID

import orjson
import structlog
from pydantic import BaseModel, ConfigDict

from commands.ports import Keyring
from commands.sequencer import Answer, Request, Sequencer
from commands.work import UnitOfWork
from domain.errors import NotAllowed, Refused
from domain.values import derived_id

COMMANDS: dict[str, type["Command"]] = {}
"""Every command by its class name."""
HANDLERS: dict[type["Command"], Callable[[Any, UnitOfWork], None]] = {}
"""The function that decides each command."""
NO_SUBJECT = UUID(int=0)
"""Key subject of commands that seal nothing: their fingerprints need a key all the same."""

Source = Literal["http", "cli", "reaction", "deadline", "worker"]
C = TypeVar("C", bound="Command")
log = structlog.get_logger("toybox.commands")


class Command(BaseModel):
    """Something that somebody asks for. Its class names the permission it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    PERMISSION: ClassVar[str] = ""

    def __init_subclass__(cls, *, permission: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not permission:
            msg = f"command {cls.__name__} must name the permission it takes"
            raise TypeError(msg)
        if cls.__name__ in COMMANDS:
            msg = f"command {cls.__name__} is declared twice"
            raise TypeError(msg)
        cls.PERMISSION = permission
        COMMANDS[cls.__name__] = cls

    def fields(self) -> dict[str, Any]:
        """What it says, as JSON values; asked of every command, so without the detours of `model_dump`."""
        return self.__pydantic_serializer__.to_python(self, mode="json")

    def sealed_under(self) -> UUID | None:
        """Whose key seals the text in this command; None where it carries none. The project's, unless it says more."""
        return None

    def makes_key(self) -> bool:
        """Whether that key is made where there is none: only where the command creates whose key it is."""
        return False

    def without_text(self) -> Self | None:
        """The same command without text that it can do without, for when the key is gone; None where it cannot."""
        return None

    def also_takes(self) -> tuple[str, ...]:
        """Permissions that the caller must hold besides the command's own, because the command hands them on."""
        return ()

    def streams(self) -> tuple[UUID, ...]:
        """Streams that deciding will need; more are loaded when the decide asks. By default every uuid it carries."""
        return tuple(value for value in self.__dict__.values() if isinstance(value, UUID))


def handler(decide: Callable[[C, UnitOfWork], None]) -> Callable[[C, UnitOfWork], None]:
    """Register the function that decides a command, named by its first parameter's type."""
    kind = decide.__annotations__["command"]
    if kind in HANDLERS:
        msg = f"{kind.__name__} has two handlers"
        raise TypeError(msg)
    HANDLERS[kind] = decide
    return decide


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a name for the log and the permissions it holds, `*` for all, `projects.*` for a context's."""

    actor: str
    permissions: frozenset[str]
    key_id: UUID | None = None
    """The access key that it came with; after rotations the first of its line."""

    def may(self, permission: str) -> bool:
        """Whether it holds this permission."""
        context = permission.partition(".")[0]
        return not self.permissions.isdisjoint((permission, f"{context}.*", "*"))

    def must(self, permission: str) -> None:
        """Refuse unless it holds this permission. The one authoriser: commands and queries both come here."""
        if not self.may(permission):
            msg = f"this key may not {permission}; ask for a key that includes it (toybox keys create)"
            raise NotAllowed(msg, permission=permission)


@dataclass(frozen=True, slots=True)
class Caller:
    """One request's origin: who, through which door, under which idempotency key, in which story."""

    principal: Principal
    source: Source
    key: str
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    trace_id: str | None = None

    def command_id(self) -> UUID:
        """The same for the same key of the same caller through the same door."""
        return derived_id("command", self.source, self.principal.actor, self.key)


@dataclass(slots=True)
class Commands:
    """The door to the write side."""

    sequencer: Sequencer
    keyring: Keyring
    patience: float = field(default=10.0)

    async def send(self, command: Command, caller: Caller, *, expected: Mapping[UUID, int] | None = None) -> Answer:
        """Carry out a command; `expected` holds the versions that the caller looked at (If-Match)."""
        for permission in (command.PERMISSION, *command.also_takes()):
            caller.principal.must(permission)
        subject = command.sealed_under()
        try:
            sealer = await self.keyring.sealer(subject or NO_SUBJECT, create=subject is None or command.makes_key())
        except Refused as refusal:
            bare = command.without_text()
            if refusal.code != "key_destroyed" or bare is None:
                raise
            return await self.send(bare, caller, expected=expected)
        name = type(command).__name__
        try:
            body = orjson.dumps([name, command.fields()], option=orjson.OPT_SORT_KEYS)
        except TypeError as error:  # orjson's word for both
            msg = "an integer must fit in 53 bits, and text must be valid Unicode"
            raise Refused(msg, code="invalid_text") from error
        request = Request(
            command_id=caller.command_id(),
            digest=sealer.fingerprint(body),
            actor=caller.principal.actor,
            key_id=caller.principal.key_id,
            decide=partial(HANDLERS[type(command)], command),
            streams=command.streams(),
            expected=expected or {},
            correlation_id=caller.correlation_id,
            causation_id=caller.causation_id,
            trace_id=caller.trace_id,
            sealer=sealer if subject else None,
            patience=self.patience,
        )
        answer = await self.sequencer.submit(request)
        log.debug(
            "command",
            command=name,
            command_id=answer.command_id,
            correlation_id=caller.correlation_id or answer.command_id,
            position=answer.position,
            repeated=answer.repeated,
        )
        return answer
