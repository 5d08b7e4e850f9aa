"""`toybox export`: the log, or what was spent, into a file or a pipe, for tools that are made for analysis."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from toybox.cli.app import LOOK, app, session

STDOUT: Final = "-"


class What(StrEnum):
    """What is exported."""

    events = "events"
    costs = "costs"


class Format(StrEnum):
    """How it is written."""

    ndjson = "ndjson"
    parquet = "parquet"


PATHS: Final = {What.events: "/api/events/export", What.costs: "/api/cost/export"}


@app.command(rich_help_panel=LOOK, epilog="Example: toybox export --what costs --out costs.parquet")
def export(  # noqa: PLR0913, PLR0917 -- one argument for each option
    context: typer.Context,
    what: Annotated[What, typer.Option("--what", help="Events, or what each model call cost.")] = What.events,
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: parquet for a file that is named so, else ndjson.")
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", metavar="PROJECT", help="Id, the beginning of an id, or name.")
    ] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", "-t", help="Only these event types, such as agent.*.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="POSITION|TIME", help="After this: where the last export ended.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="POSITION|TIME", help="Up to this; default: now.")
    ] = None,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE|-", help="Where to; - is standard output.")] = STDOUT,
    unsealed: Annotated[bool, typer.Option("--unsealed", help="Texts in the clear, if the key may read them.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Events about keys too, if the key may.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The closing line, on standard error, as JSON.")] = False,
) -> None:
    """Write events or costs, in the form that they have on Kafka, as lines of JSON or as Parquet."""
    from toybox.exporting import to_file, to_pipe
    from toybox.terminal.naming import project_id

    parquet = form is Format.parquet or (form is None and out.endswith(".parquet"))
    if parquet:
        _check_parquet(out)
    if what is What.costs and (types or unsealed or private):
        raise typer.BadParameter("--type, --unsealed and --private are about events, not about costs")
    with session(context).client() as client:
        asked: dict[str, object] = {
            "project_id": project_id(client, project) if project else None,
            "type": types,
            "unseal": unsealed or None,
            "private": private or None,
            "from": since,
            "to": until,
        }
        with client.download(PATHS[what], **asked) as download:
            if out == STDOUT:
                to_pipe(download, what.value, as_json=as_json)
            else:
                to_file(download, what.value, Path(out), parquet=parquet, as_json=as_json)


def _check_parquet(out: str) -> None:
    """Before anything is asked of a server."""
    from adapters.parquet import require

    if out == STDOUT:
        raise typer.BadParameter("a Parquet file cannot go to a pipe: name a file, --out events.parquet")
    require()
