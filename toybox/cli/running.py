"""`toybox run` and `toybox watch`: a project from its blueprint to its end, with its decisions and its money."""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.errors import Unavailable
from toybox.cli.app import RUN, AsJson, ProjectArgument, Session, amount, app, session
from toybox.client import Client
from toybox.terminal.failures import Exit, say
from toybox.terminal.output import dollars, err, is_interactive, out, print_json, short
from toybox.terminal.picture import enough, named, shortfall, why
from toybox.terminal.watching import LiveView, Standing, view_for, watch

Json = dict[str, Any]


class Approval(StrEnum):
    """Who decides at checkpoints."""

    ask = "ask"
    auto = "auto"


Approve = Annotated[
    Approval | None,
    typer.Option("--approve", help="At checkpoints: ask here, or approve. Default: ask on a terminal, else auto."),
]


@app.command(
    rich_help_panel=RUN,
    epilog="Example: toybox run examples/release-notes --input version=5.0.0 --input changelog=@CHANGELOG.md "
    "--budget 0.25",
)
def run(
    context: typer.Context,
    blueprint: Annotated[Path, typer.Argument(metavar="BLUEPRINT", help="A blueprint file, or its folder.")],
    given: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="NAME=@FILE takes a file's text.")
    ] = None,
    approve: Approve = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="USD", callback=amount, help="Most it may cost."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Instead of the blueprint's name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a blueprint to its end: live view, decisions at the prompt, spending against the budget."""
    wanted = order(blueprint, given or [], budget=budget, name=name)
    current = session(context)
    with current.client() as client:
        project_id = begin(client, wanted)
        follow(current, client, project_id, approve, as_json=as_json, from_start=True)


def order(blueprint: Path, given: list[str], *, budget: str | None = None, name: str | None = None) -> Json:
    """What the server is asked for: the blueprint's text, and its inputs with the files read here."""
    from adapters.blueprints import load_blueprint, parse_input_flags, resolve_inputs

    loaded = load_blueprint(blueprint)
    values = resolve_inputs(loaded.blueprint, parse_input_flags(given), base_dir=loaded.base_dir)
    inputs = {key: format(each, "f") if isinstance(each, Decimal) else str(each) for key, each in values.items()}
    wanted: Json = {"blueprint": loaded.text, "inputs": inputs, "budget": budget, "name": name}
    return {key: value for key, value in wanted.items() if value is not None}


def begin(client: Client, wanted: Json) -> str:
    """Make the project and start it; answers its id."""
    project_id = str(client.post("/api/projects", wanted)["id"])
    client.post(f"/api/projects/{project_id}/start")
    return project_id


@app.command(name="watch", rich_help_panel=RUN, epilog="Example: toybox watch release-notes")
def watch_(context: typer.Context, project: ProjectArgument, approve: Approve = None, as_json: AsJson = False) -> None:
    """Watch a project that was started before, to its end."""
    from toybox.terminal.naming import project_id

    current = session(context)
    with current.client() as client:
        follow(current, client, project_id(client, project), approve, as_json=as_json)


def follow(
    current: Session,
    client: Client,
    project_id: str,
    approve: Approval | None,
    *,
    as_json: bool,
    from_start: bool = False,
) -> None:
    """Watch to the end and leave with the exit code that says how it went."""
    review = reviewing(current, client, approve, as_json=as_json)
    try:
        with view_for(as_json=as_json) as view:
            standing = watch(client, project_id, view, review, after=0 if from_start else None)
    except KeyboardInterrupt:
        say(f"interrupted; the project stays as it is. Go on with: {current.called} watch {short(project_id)}")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except Unavailable as away:
        say(f"toybox: {away}")
        say(f"the project goes on with its server; watch it again with: {current.called} watch {short(project_id)}")
        raise typer.Exit(Exit.UNAVAILABLE) from None
    code = _code(standing)
    if as_json:
        print_json(summary(standing, code, current.called))
    else:
        _tell(standing, code, current.called, live=isinstance(view, LiveView))
    if code:
        raise typer.Exit(code)


def reviewing(
    current: Session, client: Client, approve: Approval | None, *, as_json: bool
) -> Callable[[Json], None] | None:
    """What happens at a checkpoint; None leaves it to whoever decides elsewhere."""
    from toybox.terminal.reviewing import Reviewer, checkpoint_of, resolve

    interactive = is_interactive() and not as_json

    def approved(wait: Json) -> None:
        checkpoint = checkpoint_of(client, wait["checkpoint_id"])
        resolve(client, checkpoint, "approve", comment="approved automatically by toybox run")
        if not as_json:
            err().print(f"approved automatically: {wait['agent']}: {wait['title']}", style="dim")

    def asked(wait: Json) -> None:
        Reviewer(client, current.settings.editor).ask(checkpoint_of(client, wait["checkpoint_id"]))

    if approve is Approval.auto:
        return approved
    if interactive:
        return asked
    if approve is Approval.ask:
        say("nobody can be asked here: checkpoints wait for toybox approve")
        return None
    say("no terminal to ask at: checkpoints are approved automatically (--approve ask leaves them to toybox approve)")
    return approved


def _code(standing: Standing) -> Exit:
    if standing.project["status"] == "completed":
        return Exit.OK
    return Exit.FAILED if standing.is_ended else Exit.BUDGET


def summary(standing: Standing, code: Exit, called: str) -> Json:
    """The last line of `--json`: how it ended, what it cost, what it waits for."""
    project = standing.project
    return {
        "type": "summary",
        "project_id": project["id"],
        "name": project["name"],
        "status": project["status"],
        "exit_code": int(code),
        "reason": why(project) or None,
        "spent": project["spent"],
        "held": project["held"],
        "waiting": project["waiting"],
        "budgets": standing.budgets,
        "raise": [_raise(standing, each, called) for each in standing.shortages] if code is Exit.BUDGET else [],
    }


def _tell(standing: Standing, code: Exit, called: str, *, live: bool) -> None:
    project = standing.project
    name = short(project["id"])
    if code is Exit.BUDGET:
        for wait in standing.shortages:
            lacks = shortfall(named(wait, standing.budgets, project))
            say(f"stopped by a budget: {wait.get('agent') or 'a job'}: {lacks}")
        for command in dict.fromkeys(_raise(standing, each, called) for each in standing.shortages):
            say(f"  let it go on:  {command}")
        say(f"  then watch it: {called} watch {name}")
        return
    if code is Exit.FAILED:
        say(why(project) or f"the project was {project['status']}")
        say(f"  look:      {called} tail {name} --no-follow")
        say(f"  run again: {called} reset {name} --failed --start")
        return
    if not live:
        out().print(f"spent {dollars(project['spent'])}")
    for what, command in (("costs", "costs"), ("history", "replay"), ("files", "assets")):
        out().print(f"{what + ':':<9}{called} {command} {name}", style="dim", soft_wrap=True)


def _raise(standing: Standing, wait: Json, called: str) -> str:
    budget = next(each for each in standing.budgets if each["id"] == wait["budget_id"])
    which = f" --limit {wait['name']}" if len(budget["limits"]) > 1 else ""
    return f"{called} budgets raise {short(wait['budget_id'])} {enough(wait)}{which}"
