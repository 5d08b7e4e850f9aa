"""Exit codes, and errors as one line with its fix on standard error."""

import sys
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

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
    context: typer.Context | None = getattr(error, "ctx", None)
    path = context.command_path if context else "toybox"
    message: str = getattr(error, "format_message", lambda: str(error))()
    option: str = getattr(error, "option_name", "")
    if context and option in _options(context.find_root().command.params):
        message = f"{option} goes before the command: toybox {option} … {path.removeprefix('toybox ')}"
    elif context and option:
        near = [
            each for each in getattr(error, "possibilities", None) or () if each in _options(context.command.params)
        ]
        message = f"there is no option {option}" + (f", did you mean {' or '.join(near)}?" if near else "")
    message = message.replace("Value error, ", "") or "say what to do"
    say(f"{path}: {message.rstrip('.')}{'' if message.endswith('?') else ';'} see {path} --help")
    return Exit.USAGE


def _options(parameters: Iterable[Any]) -> set[str]:
    """The options that a command's help shows, but for that of the help itself."""
    shown = (each for each in parameters if not getattr(each, "hidden", False))
    return {name for each in shown for name in each.opts if name.startswith("-")}


def report_settings(error: ValidationError) -> Exit:
    """Tell which setting cannot be used."""
    for each in error.errors():
        # A check of ours says it in words of its own; those of pydantic name types.
        said = str(each.get("ctx", {})["error"]) if each["type"] == "value_error" else each["msg"].lower()
        if not each["loc"]:  # of several settings together: their values stay unsaid, secrets may be among them
            say(f"toybox: {said}")
            continue
        name = "_".join(str(part) for part in each["loc"]).upper()
        name = name if name.startswith("TOYBOX_") else f"TOYBOX_{name}"
        say(f"toybox: {name} is {each.get('input')!r}: {said}; correct or unset it")
    return Exit.USAGE
