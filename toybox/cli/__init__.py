"""The command line: every command, its exit code, its errors in one line."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from io import TextIOWrapper
from pkgutil import iter_modules
from typing import Any

import typer
from pydantic import ValidationError
from typer import TyperException
from typer.main import get_command

from domain.errors import ToyboxError
from toybox.terminal.failures import Exit, report, report_settings, report_usage, say


def main() -> None:
    """The console script `toybox`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character gets a question mark
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """One invocation; answers its exit code."""
    try:
        with suppress(SystemExit):
            return int(_command()(list(arguments), prog_name="toybox", standalone_mode=False) or Exit.OK)
    except ToyboxError as error:
        return report(error)
    except TyperException as error:
        return report_usage(error)
    except ValidationError as error:
        if error.title != "Settings":
            raise
        return report_settings(error)
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough of it; without this, Python complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.OK


@cache
def _command() -> Callable[..., Any]:
    """The parser of all commands, which an application that is called itself would make anew each time."""
    return get_command(load())


def load() -> typer.Typer:
    """The application with all commands: each module of this package registers its own."""
    from toybox.cli.app import PANELS, app

    for module in iter_modules(__path__, f"{__name__}."):
        import_module(module.name)
    app.registered_commands.sort(key=lambda each: PANELS.index(str(each.rich_help_panel)))
    return app
