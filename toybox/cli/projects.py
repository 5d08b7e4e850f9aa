"""Projects as a list and one by one, their lives, their files."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from toybox.cli.app import LOOK, RUN, AsJson, Limit, ProjectArgument, app, session
from toybox.client import Client
from toybox.terminal.output import figures, moment, money, out, print_json, short, show, styled, table

Json = dict[str, Any]
AsOf = Annotated[
    str | None, typer.Option("--at", metavar="POSITION|TIME", help="As it was then, for instance 2026-11-21T10:00:00Z.")
]
Note = Annotated[str | None, typer.Option("--note", help="Why, for those who read the history.")]


@app.command(rich_help_panel=LOOK, epilog="Example: toybox projects --status running")
def projects(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option("--status", help="Only these; may be repeated.")] = None,
    limit: Limit = 30,
    as_json: AsJson = False,
) -> None:
    """List projects, the newest first."""
    with session(context).client() as client:
        found = list(client.pages("/api/projects", limit=limit, status=status or None))
    if as_json:
        print_json(found)
        return
    made = table("ID", "NAME", "STATUS", "PHASE", "AGENTS", figures("SPENT"), "CREATED")
    rows = [
        (
            short(each["id"]),
            each["name"],
            styled(each["status"]),
            each["phase"] or "",
            ", ".join(f"{count} {name}" for name, count in each["counts"].items()),
            money(each["spent"]),
            moment(each["created_at"], seconds=False),
        )
        for each in found
    ]
    show(made, rows, "no projects yet: toybox run examples/release-notes makes one")


@app.command(name="show", rich_help_panel=LOOK, epilog="Example: toybox show release-notes --at 42")
def show_(context: typer.Context, project: ProjectArgument, at: AsOf = None, as_json: AsJson = False) -> None:
    """Show a project: phases, agents, what it waits for, its budgets; now, or at any moment."""
    from toybox.terminal.naming import project_id
    from toybox.terminal.picture import picture
    from toybox.terminal.watching import clock_of

    with session(context).client() as client:
        found = project_id(client, project)
        view: Json = client.get(f"/api/projects/{found}", as_of=at)
        budgets = [] if at else list(client.pages("/api/budgets", project_id=found, limit=50))
    if as_json:
        print_json({**view, "budgets": budgets})
        return
    if view.get("description"):
        out().print(view["description"], style="dim")
    out().print(picture(view, None if at else budgets, out(), clock=clock_of(view)))


def _command(context: typer.Context, said: str, verb: str, body: Json, *, as_json: bool, done: str) -> None:
    from toybox.terminal.naming import project_id

    with session(context).client() as client:
        found = project_id(client, said)
        answer = client.post(f"/api/projects/{found}/{verb}", {name: each for name, each in body.items() if each})
    if as_json:
        print_json(answer)
    else:
        out().print(f"{said} {done} (position {answer['position']})")


@app.command(rich_help_panel=RUN, epilog="Example: toybox start release-notes")
def start(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """Start a project that is set up, or was reset."""
    _command(context, project, "start", {}, as_json=as_json, done="runs")


@app.command(rich_help_panel=RUN, epilog='Example: toybox pause release-notes --note "wrong changelog"')
def pause(context: typer.Context, project: ProjectArgument, note: Note = None, as_json: AsJson = False) -> None:
    """Start nothing new until the project is resumed; what runs may end."""
    _command(context, project, "pause", {"note": note}, as_json=as_json, done="is paused")


@app.command(rich_help_panel=RUN, epilog="Example: toybox resume release-notes")
def resume(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """Go on where the pause began."""
    _command(context, project, "resume", {}, as_json=as_json, done="runs again")


@app.command(rich_help_panel=RUN, epilog="Example: toybox cancel release-notes")
def cancel(context: typer.Context, project: ProjectArgument, note: Note = None, as_json: AsJson = False) -> None:
    """Stop a project and every agent that is at work."""
    _command(context, project, "cancel", {"note": note}, as_json=as_json, done="is cancelled")


@app.command(rich_help_panel=RUN, epilog="Example: toybox archive release-notes")
def archive(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """Put a project that has ended away; it can be read for ever."""
    _command(context, project, "archive", {}, as_json=as_json, done="is archived")


@app.command(rich_help_panel=RUN, epilog="Example: toybox reset release-notes --failed --start")
def reset(
    context: typer.Context,
    project: ProjectArgument,
    failed: Annotated[bool, typer.Option("--failed", help="Only agents that failed, and those after them.")] = False,
    phase: Annotated[str | None, typer.Option("--phase", help="From this phase on.")] = None,
    start_: Annotated[bool, typer.Option("--start", help="Start it again at once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have agents of a project that has ended run again; what they cost stays."""
    if failed and phase:
        raise typer.BadParameter("choose one of --failed and --phase")
    what: Literal["failed", "phase", "all"] = "failed" if failed else "phase" if phase else "all"
    _command(context, project, "reset", {"what": what, "phase": phase}, as_json=as_json, done="is reset")
    if start_:
        _command(context, project, "start", {}, as_json=as_json, done="runs")


@app.command(rich_help_panel=LOOK, epilog="Example: toybox assets release-notes release-notes.md > notes.md")
def assets(
    context: typer.Context,
    project: ProjectArgument,
    name: Annotated[str | None, typer.Argument(metavar="[FILE]", help="Print this file.")] = None,
    version: Annotated[int | None, typer.Option("--version", min=1, help="Of the file; default: the newest.")] = None,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="Write the file here.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the files that a project made, or print one."""
    from domain.errors import NotFound
    from toybox.terminal.naming import project_id

    with session(context).client() as client:
        found = list(client.pages("/api/assets", project_id=project_id(client, project)))
        if name is not None:
            chosen = next((each for each in found if each["name"] == name or str(each["id"]).startswith(name)), None)
            if chosen is None:
                raise NotFound(f"{project} has no file {name}; it has {', '.join(each['name'] for each in found)}")
            _deliver(content(client, chosen["id"], version), to)
            return
    if as_json:
        print_json(found)
        return
    made = table("FILE", "STATUS", figures("VERSION"), figures("BYTES"), "TYPE", "SHA256")
    rows = [
        (
            each["name"],
            styled(each["status"]),
            str(each["newest"]),
            f"{each['size']:,}",
            each["media_type"],
            f"{each['digest'][:12]}…",
        )
        for each in found
    ]
    show(made, rows, "no files yet")


def content(client: Client, asset_id: str, version: int | None = None) -> bytes:
    """The bytes of a file."""
    return client.content(f"/api/assets/{asset_id}/content", version=version)


def _deliver(data: bytes, to: Path | None) -> None:
    if to is not None:
        try:
            to.write_bytes(data)
        except OSError as error:
            raise typer.BadParameter(f"{to} cannot be written ({error.strerror}): choose another --output") from error
        out().print(f"{len(data):,} bytes written to {to}")
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
