"""The command line's root: global options, the session that commands share, the groups they are listed under."""

import shlex
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from toybox.client import Client
from toybox.settings import Settings
from toybox.version import VERSION

RUN, LOOK, DECIDE, OPERATE = PANELS = "Run projects", "Look", "Decide", "Operate"
"""Headings of `toybox --help`, in their order."""

app = typer.Typer(
    name="toybox",
    help="The event-sourced control plane for AI-agent projects.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found or refused, 4 stopped by a budget, "
    "5 unavailable (try again later), 130 interrupted.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: one object on each line.")]
ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="Id, the beginning of an id, or name.")]
OptionalProject = Annotated[str | None, typer.Argument(metavar="[PROJECT]", help="Id, beginning of an id, or name.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]


@dataclass(frozen=True, slots=True)
class Session:
    """What every command gets: the settings, and a way to the server."""

    settings: Settings

    @property
    def called(self) -> str:
        """How commands that are suggested begin, so that they reach the same data."""
        own = self.settings.data_dir == Settings().data_dir
        return "toybox" if own else f"toybox --data-dir {shlex.quote(str(self.settings.data_dir))}"

    @contextmanager
    def client(self) -> Generator[Client]:
        """A client for the server; one that is started for this command ends with it."""
        from toybox.terminal.connecting import connected

        with connected(self.settings) as client:
            yield client


def session(context: typer.Context) -> Session:
    """The session of this invocation."""
    found = context.find_object(Session)
    assert found is not None  # noqa: S101 -- the callback below made it
    return found


def given(**fields: object) -> dict[str, Any]:
    """What was said of these, without what was left out."""
    return {name: value for name, value in fields.items() if value is not None}


def amount(text: str | None) -> str | None:
    """An amount as it was typed, as the API takes it."""
    if text is None:
        return None
    try:
        value = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value <= 0:
        raise typer.BadParameter("write dollars as a number above zero, for instance 0.50")
    return format(value, "f")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"toybox {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Where toybox keeps everything (TOYBOX_DATA_DIR)."),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option("--log-level", help="How much a server logs (TOYBOX_LOG_LEVEL)."),
    ] = None,
    version: Annotated[  # noqa: ARG001 -- its callback answers
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run agent projects from blueprints, watch them, decide, and look at any moment of their history."""
    context.obj = Session(Settings.with_options(data_dir=data_dir, log_level=log_level))
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
