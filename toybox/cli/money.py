"""`toybox budgets`: what may still be spent, by whom and until when."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from toybox.cli.app import DECIDE, AsJson, Limit, OptionalProject, amount, app, session
from toybox.client import Client
from toybox.terminal.output import figure, figures, out, print_json, quantity, short, show, styled, table

Json = dict[str, Any]


budgets = typer.Typer(invoke_without_command=True, help="Budgets: list, open, raise, close.")
app.add_typer(budgets, name="budgets", rich_help_panel=DECIDE)
Budget = Annotated[str, typer.Argument(metavar="BUDGET", help="Its id, the beginning of it, global, or a project.")]
Most = Annotated[str, typer.Argument(metavar="LIMIT", callback=amount, help="In dollars, or in the limit's unit.")]

LimitName = Annotated[
    str | None, typer.Option("--limit", help="Which of several limits: usd-lifetime, usd-day-europe-berlin.")
]
_FIGURES = ("limit", "settled", "held")


class Unit(StrEnum):
    """What a limit counts in."""

    usd = "usd"
    input_tokens = "input_tokens"
    output_tokens = "output_tokens"
    total_tokens = "total_tokens"


@budgets.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Budgets: without a command, list them."""
    if context.invoked_subcommand is None:
        list_(context, as_json=as_json)


@budgets.command(name="list", epilog="Example: toybox budgets list release-notes")
def list_(context: typer.Context, project: OptionalProject = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List budgets: limit, spent, held for calls under way, and who waits for money."""
    from toybox.terminal.naming import project_id
    from toybox.terminal.picture import limit_of

    with session(context).client() as client:
        found = project_id(client, project) if project else None
        listed = list(client.pages("/api/budgets", limit=limit, project_id=found))
        names = {} if as_json else _project_names(client, listed)
    if as_json:
        print_json(listed)
        return
    made = table(
        "ID", "PROJECT", "SCOPE", "STATUS", figures("LIMIT"), figures("SPENT"), figures("HELD"), figures("WAITING")
    )
    rows = [
        (
            short(each["id"]),
            names.get(each["project_id"], ""),
            limit_of(each, limited, {"phases": []}),
            styled(each["status"]),
            *(figure(limited[of], limited["unit"]) for of in _FIGURES),
            str(len(each["parked"]) or ""),
        )
        for each in listed
        for limited in each["limits"]
    ]
    show(made, rows, "no budgets: toybox budgets open PROJECT USD makes one")


def _project_names(client: Client, listed: list[Json]) -> dict[str, str]:
    wanted = {each["project_id"] for each in listed} - {None}
    return {each["id"]: each["name"] for each in client.pages("/api/projects", limit=1000) if each["id"] in wanted}


@budgets.command(name="open", epilog="Example: toybox budgets open release-notes 2.50 --phase review")
def open_(  # noqa: PLR0913, PLR0917 -- one option each
    context: typer.Context,
    scope: Annotated[str, typer.Argument(metavar="PROJECT|global", help="What it limits.")],
    limit: Most,
    phase: Annotated[str | None, typer.Option("--phase", help="Only this phase of the project.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Only this agent of the project, by name.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="With global: only this provider.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model of the provider.")] = None,
    unit: Annotated[Unit, typer.Option("--unit", help="What the limit counts in.")] = Unit.usd,
    window: Annotated[
        str, typer.Option("--window", help="lifetime, day, week, month, or the last hours: 24h.")
    ] = "lifetime",
    zone: Annotated[str | None, typer.Option("--zone", help="Time zone of the day, week or month.")] = None,
    soft: Annotated[bool, typer.Option("--soft", help="Tell when it is reached, hold nothing back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Limit what everything, a provider, a project, a phase or an agent may spend, in all or in each window."""
    if phase and agent:
        raise typer.BadParameter("choose one of --phase and --agent")
    if (provider or model) and scope != "global":
        raise typer.BadParameter("--provider and --model go with global")
    if model and not provider:
        raise typer.BadParameter("a model is one of a provider: name it with --provider")
    facts: Json = {"limit": limit, "unit": unit.value, "window": _window(window, zone), "hard": not soft}
    with session(context).client() as client:
        covered = _asked(provider, model) if provider else _scope(client, scope, phase, agent)
        answer = client.post("/api/budgets", {"scope": covered, **facts})
    _done(answer, f"has a limit of {quantity(limit, unit.value)}", as_json=as_json)


def _window(said: str, zone: str | None) -> Json:
    if said.endswith("h") and said[:-1].isdecimal():
        return {"kind": "rolling", "hours": int(said[:-1])}
    return {"kind": said, **({"time_zone": zone} if zone else {})}


def _asked(provider: str, model: str | None) -> Json:
    return {"kind": "model" if model else "provider", "provider": provider, **({"model": model} if model else {})}


def _scope(client: Client, scope: str, phase: str | None, agent: str | None) -> Json:
    from domain.errors import NotFound
    from toybox.terminal.naming import project_id
    from toybox.terminal.picture import agents_of

    if scope == "global":
        return {"kind": "global"}
    project = project_id(client, scope)
    if agent:
        known = {each["name"]: each["id"] for each in agents_of(client.get(f"/api/projects/{project}"))}
        if agent not in known:
            raise NotFound(f"{scope} has no agent {agent}; it has {', '.join(known)}")
        return {"kind": "agent", "project_id": project, "agent_id": known[agent]}
    if phase:
        return {"kind": "phase", "project_id": project, "phase": phase}
    return {"kind": "project", "project_id": project}


@budgets.command(name="raise", epilog="Example: toybox budgets raise 1a2b3c4d 0.75")
def raise_(
    context: typer.Context, budget: Budget, limit: Most, name: LimitName = None, as_json: AsJson = False
) -> None:
    """Change a limit; whoever waits for money goes on when it fits."""
    body: Json = {"limit": limit, **({"name": name} if name else {})}
    with session(context).client() as client:
        path = f"/api/budgets/{_find(client, budget)}"
        answer = client.patch(path, body)
        limits: list[Json] = client.get(path)["limits"]
    changed = next(each for each in limits if name in (None, each["name"]))
    called = "" if changed["name"] == "usd-lifetime" else f" ({changed['name']})"
    _done(answer, f"has a limit of {quantity(limit, changed['unit'])}{called}", as_json=as_json)


@budgets.command(epilog="Example: toybox budgets close 1a2b3c4d")
def close(context: typer.Context, budget: Budget, name: LimitName = None, as_json: AsJson = False) -> None:
    """Limit the scope no longer: not at all, or not by one of several limits."""
    with session(context).client() as client:
        path = f"/api/budgets/{_find(client, budget)}/close"
        answer = client.post(path, {"name": name}) if name else client.post(path)
    _done(answer, f"has no limit {name} any more" if name else "is closed: nothing limits its scope", as_json=as_json)


def _find(client: Client, said: str) -> str:
    """A budget by its id, the budget of everything, or that of a whole project by the project's name."""
    from domain.errors import NotFound
    from toybox.terminal.naming import one_of, project_id
    from toybox.terminal.output import is_id

    if is_id(said):
        return said
    if said == "global":
        everything = next(iter(client.pages("/api/budgets", kind="global", limit=1)), None)
        if everything is None:
            raise NotFound("no budget limits everything: toybox budgets open global USD makes one")
        return str(everything["id"])
    try:
        return one_of(client.pages("/api/budgets"), said, "budget", "toybox budgets")["id"]
    except NotFound as missing:
        try:
            project = project_id(client, said)
        except NotFound:
            raise missing from None
        own = [each for each in client.pages("/api/budgets", project_id=project) if each["kind"] == "project"]
        if not own:
            raise NotFound(f"{said} has no budget of its own: toybox budgets open {said} USD") from None
        return own[0]["id"]


def _done(answer: Json, said: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        out().print(f"budget {short(answer['id'])} {said}")
