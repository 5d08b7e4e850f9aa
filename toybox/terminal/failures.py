"""Exit codes, and errors as one line with its fix on standard error."""

import sys
from enum import IntEnum

import typer
from pydantic import ValidationError
from typer import TyperException

from domain.errors import BudgetExhausted, Conflict, NotAllowed, NotFound, Refused, ToyboxError, Unavailable


class Exit(IntEnum):
    """What the exit code of every command means."""

    OK = 0
    FAILED = 1
    """The command worked, what it watched or checked did not: a failed project, a doctor's finding."""
    USAGE = 2
    REFUSED = 3
    """There is no such thing, the key may not, or the command makes no sense now."""
    BUDGET = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


CODES: tuple[tuple[type[ToyboxError], Exit], ...] = (
    (BudgetExhausted, Exit.BUDGET),
    (Unavailable, Exit.UNAVAILABLE),
    (NotFound, Exit.REFUSED),
    (NotAllowed, Exit.REFUSED),
    (Conflict, Exit.REFUSED),
    (Refused, Exit.REFUSED),
    (ToyboxError, Exit.FAILED),
)


def exit_code(error: ToyboxError) -> Exit:
    """The code for one of the product's errors."""
    return next(code for kind, code in CODES if isinstance(error, kind))


def say(text: str) -> None:
    """One line for a person, on standard error, so that output stays what was asked for."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- plain text: rich would wrap and colour it


def report(error: ToyboxError) -> Exit:
    """Tell a person what went wrong and what to do."""
    say(f"toybox: {error}")
    return exit_code(error)


def report_usage(error: TyperException) -> Exit:
    """Tell how a command line is wrong, and where its help is."""
    message = getattr(error, "format_message", lambda: str(error))()
    context: typer.Context | None = getattr(error, "ctx", None)
    path = context.command_path if context else "toybox"
    say(f"{path}: {message.rstrip('.')}; see {path} --help")
    return Exit.USAGE


def report_settings(error: ValidationError) -> Exit:
    """Tell which setting cannot be used."""
    for each in error.errors():
        name = "_".join(str(part) for part in each["loc"]).upper()
        name = name if name.startswith("TOYBOX_") else f"TOYBOX_{name}"
        say(f"toybox: {name} is {each.get('input')!r}: {each['msg'].lower()}; correct or unset it")
    return Exit.USAGE
