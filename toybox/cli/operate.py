"""`toybox doctor`, `rebuild`, `parked`, `explain`: for whoever looks after an installation."""

import asyncio
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from domain.errors import NotFound, Refused
from toybox.cli.app import LOOK, OPERATE, AsJson, app, session
from toybox.client import Client
from toybox.terminal.failures import Exit
from toybox.terminal.output import err, figures, moment, out, print_json, short, show, table

Json = dict[str, Any]
LEVELS = {"ok": ("✔", "green"), "note": ("·", "dim"), "warning": ("!", "yellow"), "problem": ("✘", "red")}
PLAIN = {"ok": "+", "note": ".", "warning": "!", "problem": "x"}


@app.command(rich_help_panel=OPERATE, epilog="Example: toybox doctor")
def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Look at the installation: files, keys, database, read models, space. Exit code 1 when something is wrong."""
    from toybox import log

    settings = session(context).settings
    log.set_up("error", settings.log_format)
    if asyncio.run(_examine(context, as_json=as_json)):
        raise typer.Exit(Exit.FAILED)


async def _examine(context: typer.Context, *, as_json: bool) -> bool:
    from toybox.doctor import examine

    wrong = False
    async for each in examine(session(context).settings):
        wrong = wrong or each.level == "problem"
        if as_json:
            print_json(asdict(each))
            continue
        sign, colour = LEVELS[each.level]
        sign = PLAIN[each.level] if out().options.ascii_only else sign
        out().print(Text.assemble((f"{sign} ", colour), (f"{each.what:<16}", "bold"), each.said), soft_wrap=True)
        if each.fix:
            out().print(Text(f"  {'':<16}fix: {each.fix}", colour), soft_wrap=True)
    return wrong


@app.command(rich_help_panel=LOOK, epilog="Example: toybox explain budget.settled")
def explain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A context (budgets) or an event type (budget.settled).")],
    as_json: AsJson = False,
) -> None:
    """Explain a part of toybox from its own code: files, commands, events, read models, routes."""
    from toybox.explain import as_json as facts
    from toybox.explain import as_lines
    from toybox.explain import explain as look_up

    found = look_up(name)
    if as_json:
        print_json(facts(found))
        return
    for line in as_lines(found):
        out().print(line, soft_wrap=True)


@app.command(rich_help_panel=OPERATE, epilog="Example: toybox rebuild project_overviews")
def rebuild(
    context: typer.Context,
    projection: Annotated[str | None, typer.Argument(metavar="[PROJECTION]", help="Without: list them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Build a read model anew from the log, beside the one in use, compare them, and switch."""
    with session(context).client() as client:
        known: list[Json] = client.get("/api/system/projections")["items"]
        if projection is None:
            _list(known, as_json=as_json)
            return
        if projection not in {each["name"] for each in known}:
            raise NotFound(f"there is no read model {projection}: {', '.join(each['name'] for each in known)}")
        result = _rebuilt(client, projection)
    if as_json:
        print_json(result)
    else:
        out().print(f"{projection} is rebuilt, up to position {result['position']}")


def _list(known: list[Json], *, as_json: bool) -> None:
    if as_json:
        print_json(known)
        return
    made = table("READ MODEL", figures("VERSION"), "STATE", figures("POSITION"), figures("BEHIND"), "ERROR")
    rows = [
        (
            each["name"],
            str(each["version"]),
            each["state"],
            str(each["position"]),
            str(each["lag"]),
            each["error"] or "",
        )
        for each in known
    ]
    show(made, rows, "no read models")


def _rebuilt(client: Client, projection: str) -> Json:
    client.post(f"/api/system/projections/{projection}/rebuild")
    columns = (TextColumn(projection), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task(projection, total=None, said="")
        while True:
            standing = next(
                each for each in client.get("/api/system/projections")["items"] if each["name"] == projection
            )
            progress: Json | None = standing.get("progress")
            if progress is None and standing["state"] not in ("building", "starting"):
                if standing["error"]:
                    raise Refused(f"{projection}: {standing['error']}", code="rebuild_failed")
                return standing
            if progress:
                bar.update(task, completed=progress["position"], total=progress["head"], said=f"{progress['rate']}/s")
            time.sleep(0.2)


parked = typer.Typer(invoke_without_command=True, help="What failed and waits: look, mend, retry.")
app.add_typer(parked, name="parked", rich_help_panel=OPERATE)


@parked.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """What failed and waits: without a command, list it."""
    if context.invoked_subcommand is None:
        list_(context, as_json=as_json)


@parked.command(name="list", epilog="Example: toybox parked list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List events that a read model or a reaction could not take, with the reason."""
    with session(context).client() as client:
        found = _parked(client)
    if as_json:
        print_json(found)
        return
    made = table("FOLLOWER", "KEY", figures("POSITION"), "SINCE", "REASON")
    rows = [
        (
            each["follower"],
            short(each["key"]),
            str(each["position"]),
            moment(each["parked_at"], seconds=False),
            each["reason"],
        )
        for each in found
    ]
    show(made, rows, "nothing is parked")


@parked.command(epilog="Example: toybox parked retry")
def retry(context: typer.Context, as_json: AsJson = False) -> None:
    """Try again what is parked, after its cause was mended."""
    with session(context).client() as client:
        before = _parked(client)
        for each in before:
            if each["kind"] == "read model":
                client.post(f"/api/system/parked/{each['follower']}/{each['key']}/retry")
        if any(each["kind"] == "reaction" for each in before):
            client.post("/api/system/parked/reactions/retry")
        left = _parked(client)
    if as_json:
        print_json({"through": len(before) - len(left), "left": left})
    else:
        out().print(f"{len(before) - len(left)} through, {len(left)} still wait")
    if left:
        raise typer.Exit(Exit.FAILED)


def _parked(client: Client) -> list[Json]:
    known: Json = client.get("/api/system/parked")
    keys: list[Json] = [{"kind": "read model", "follower": each["projection"], **each} for each in known["projections"]]
    events: list[Json] = [{"kind": "reaction", "follower": each["reaction"], **each} for each in known["reactions"]]
    return [*keys, *events]
