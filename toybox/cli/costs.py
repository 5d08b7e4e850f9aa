"""`toybox costs`: what was spent on what, when, and why exactly; charts for people, JSON and CSV for programs."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from toybox.cli.app import LOOK, AsJson, Limit, OptionalProject, app, given, session
from toybox.client import Client
from toybox.terminal.charts import bar, sparkline
from toybox.terminal.output import dollars, figures, moment, money, out, print_json, short, show, table

Json = dict[str, Any]


class ShowFirst(TyperGroup):
    """Commands, of which `show` need not be named: `toybox costs release-notes`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in `show` where no other command is named."""
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["show", *args])


class Grouping(StrEnum):
    """What costs are added up by."""

    project = "project"
    phase = "phase"
    agent = "agent"
    provider = "provider"
    model = "model"
    key = "key"
    tier = "tier"
    day = "day"


class Bucket(StrEnum):
    """Periods of a report."""

    hour = "hour"
    day = "day"
    week = "week"
    month = "month"
    none = "none"


costs = typer.Typer(cls=ShowFirst, help="Costs: what was spent on what, when, and why exactly.")
app.add_typer(costs, name="costs", rich_help_panel=LOOK)
From = Annotated[str | None, typer.Option("--from", help="A day such as 2026-11-01, or an instant.")]
To = Annotated[str | None, typer.Option("--to", help="Up to here, not included.")]
Zone = Annotated[str, typer.Option("--zone", help="Time zone of days, weeks and months: Europe/Berlin.")]
_DIMENSIONS = ("project_id", "phase", "agent_id", "provider", "model", "key_id", "tier")
_TREND = 24
"""Columns of a trend beside a table."""


@costs.command(name="show", epilog="Example: toybox costs release-notes --by model")
def show_(
    context: typer.Context,
    project: OptionalProject = None,
    by: Annotated[Grouping | None, typer.Option("--by", help="Default: agent for a project, else project.")] = None,
    explained: Annotated[
        str | None, typer.Option("--explain", metavar="WHAT", help="An attempt, job, agent or project: as `explain`.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Report what was spent: tokens, dollars, and which figures are estimates."""
    from toybox.terminal.naming import project_id

    if explained:
        explain(context, explained, as_json=as_json)
        return
    with session(context).client() as client:
        found = project_id(client, project) if project else None
        report(client, found, by or (Grouping.agent if found else Grouping.project), limit, as_json=as_json)


@costs.command(epilog="Example: toybox costs explain release-notes")
def explain(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="Id of an attempt, job (its beginning will do) or agent, or a project."),
    ],
    as_json: AsJson = False,
) -> None:
    """Print every line, quantity x rate, with its price card and event, and prove that they add up to the total."""
    from toybox.terminal.explaining import found_tree, lines_of_tree, wrong

    with session(context).client() as client:
        answer = found_tree(client, what)
    problems = wrong(answer)
    if as_json:
        print_json({**answer, "problems": problems})
    else:
        for line in lines_of_tree(answer["tree"]):
            out().print(line, soft_wrap=True)
        for each in problems:
            out().print(each, style="red", soft_wrap=True)
    if problems:
        raise typer.Exit(1)


@costs.command(name="report", epilog="Example: toybox costs report --bucket week --by model --zone Europe/Berlin")
def report_(  # noqa: PLR0913, PLR0917 -- one option each
    context: typer.Context,
    project: OptionalProject = None,
    bucket: Annotated[Bucket, typer.Option("--bucket", help="Periods of the report.")] = Bucket.day,
    by: Annotated[
        str | None, typer.Option("--by", help="project, phase, agent, provider, model, key, tier; several by commas.")
    ] = None,
    begins: From = None,
    ends: To = None,
    zone: Zone = "UTC",
    limit: Limit = 200,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the whole report as CSV.")] = False,
) -> None:
    """Chart what was spent in each hour, day, week or month, and tell how full budgets will be."""
    from toybox.terminal.naming import project_id

    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    with session(context).client() as client:
        found = project_id(client, project) if project else None
        asked = given(**{"from": begins}, to=ends, bucket=bucket.value, group_by=by, zone=zone, project_id=found)
        if as_csv:
            sys.stdout.write(client.content("/api/cost/report", **asked, format="csv").decode())
            return
        answer: Json = client.get("/api/cost/report", **asked, limit=min(limit, 1000))
        ahead = [] if as_json else _forecasts(client, found)
    if as_json:
        heading = {name: value for name, value in answer.items() if name not in ("items", "next")}
        print_json([{"type": "report", **heading}, *({"type": "row", **each} for each in answer["items"])])
        return
    _chart(answer, [each for each in (by or "").replace(" ", "").split(",") if each])
    for line in ahead:
        out().print(line, style="dim", soft_wrap=True)


@costs.command(epilog="Example: toybox costs top --by agent")
def top(
    context: typer.Context,
    by: Annotated[Grouping, typer.Option("--by", help="Whom to compare.")] = Grouping.project,
    begins: From = None,
    ends: To = None,
    zone: Zone = "UTC",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many at most.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show who spent most, by default in the last thirty days, and how much that was before."""
    if by is Grouping.day:
        raise typer.BadParameter("days are no spenders: toybox costs report --bucket day")
    with session(context).client() as client:
        asked: Json = {"by": by.value, "from": begins, "to": ends, "zone": zone, "limit": limit}
        answer: Json = client.get("/api/cost/top", **asked)
    if as_json:
        print_json([{"type": "total", **answer["total"], "others": answer["others"]}, *answer["items"]])
        return
    made = table(by.value.upper(), figures("COST"), figures("SHARE"), figures("BEFORE"), figures("CALLS"), "")
    dearest = max((float(each["amount"]) for each in answer["items"]), default=0.0)
    rows = [
        (
            _title(each, [by.value]),
            money(each["amount"]),
            f"{float(each['share'] or 0):.0%}",
            money(each["before"]),
            str(each["attempts"]),
            bar(float(each["amount"]), dearest, _TREND, out()),
        )
        for each in answer["items"]
    ]
    if float(answer["others"]):
        rows.append(("others", money(answer["others"]), "", "", "", ""))
    show(made, rows, "nothing was spent in this time")


def _chart(answer: Json, by: Sequence[str]) -> None:
    items: list[Json] = answer["items"]
    if answer["bucket"] == "none" or not by:
        dearest = max((float(each["amount"]) for each in items), default=0.0)
        made = table(
            "BEGINS" if not by else ", ".join(by).upper(), figures("COST"), figures("CALLS"), figures("TOKENS"), ""
        )
        rows = [
            (
                _title(each, by) if by else each["begins"][:16].replace("T", " "),
                f"{'~' if each['estimated'] else ''}{money(each['amount'])}",
                str(each["attempts"]),
                f"{each['input_tokens'] + each['output_tokens']:,}",
                bar(float(each["amount"]), dearest, max(8, min(60, out().width - 60)), out()),
            )
            for each in items
        ]
    else:
        made = table(", ".join(by).upper(), figures("COST"), figures("CALLS"), figures("TOKENS"), "TREND")
        rows = _trends(items, by)
    show(made, rows, "nothing was spent in this time")
    total, before = answer["total"], answer["previous"]
    said = f"{dollars(total['amount'])} in all, {total['attempts']} call{'s' if total['attempts'] != 1 else ''}"
    if before and before["change_percent"] is not None:
        said += f", {float(before['change_percent']):+.0f} % against {dollars(before['total']['amount'])} before"
    out().print(said + ("; more rows: --limit, or --csv for all of them" if answer["next"] else ""), style="bold")


def _trends(items: Sequence[Json], by: Sequence[str]) -> list[tuple[str, ...]]:
    """One row a group: its sum, and how it went on from period to period."""
    periods = sorted({each["begins"] for each in items})
    groups: dict[tuple[object, ...], list[Json]] = {}
    for each in items:  # by ids: two runs of a blueprint have the same name
        groups.setdefault(tuple(each.get(name) for name in _DIMENSIONS), []).append(each)
    rows: list[tuple[Decimal, tuple[str, ...]]] = []
    for own in groups.values():
        name, amount = _title(own[0], by), sum((Decimal(each["amount"]) for each in own), Decimal(0))
        known = {each["begins"]: float(each["amount"]) for each in own}
        tokens = sum(each["input_tokens"] + each["output_tokens"] for each in own)
        trend = sparkline([known.get(each, 0.0) for each in periods], _TREND, out())
        rows.append((amount, (name, money(amount), str(sum(each["attempts"] for each in own)), f"{tokens:,}", trend)))
    return [row for _, row in sorted(rows, key=lambda each: -each[0])]


def _title(each: Json, by: Sequence[str]) -> str:
    told: list[str] = []
    for group in by:
        match group:
            case "project" | "agent":
                told.append(str(each.get(group) or short(each.get(f"{group}_id")) or "outside of projects"))
            case "phase" if each.get("project_id"):
                told.append(f"{each.get('project') or short(each['project_id'])} / {each.get('phase') or '-'}")
            case "phase":
                told.append("outside of projects")
            case "key":
                told.append(short(each.get("key_id")) or "no key")
            case "model":
                told.append(f"{each['provider']}/{each['model']}")
            case _:
                told.append(str(each.get(group) or "-"))
    return ", ".join(told)


def _forecasts(client: Client, project: str | None) -> list[str]:
    """How full the windows of budgets will be when they end, for the budgets that this is about."""
    lines: list[str] = []
    for budget in client.pages("/api/budgets", limit=5, status="open", project_id=project):
        for each in client.get(f"/api/budgets/{budget['id']}/forecast")["items"]:
            if each["unit"] == "usd" and each["at_end"] is not None:
                until, room = moment(each["ends_at"], seconds=False), dollars(each["limit"])
                said = f"budget {short(budget['id'])} {each['name']}: {dollars(each['at_end'])} of {room} by {until}"
                lines.append(said + (f", full at {moment(each['full_at'], seconds=False)}" if each["full_at"] else ""))
    return lines


def report(client: Client, project: str | None, by: Grouping, limit: int, *, as_json: bool = False) -> None:
    """The cost report of a project, or of everything."""
    first: Json = client.get("/api/cost", by=by.value, project_id=project, limit=min(limit, 200))
    if as_json:
        print_json([{"type": "total", **first["total"]}, *({"type": by.value, **each} for each in first["items"])])
        return
    made = table(by.value.upper(), figures("CALLS"), figures("INPUT"), figures("OUTPUT"), figures("COST"))
    rows = [
        _row(each, _title({**each, "project": each["name"], "agent": each["name"]}, [by])) for each in first["items"]
    ]
    if len(rows) > 1:
        rows.append(_row(first["total"], "total"))
    show(made, rows, "nothing was spent yet")
    if first["total"]["estimated"]:
        out().print("~ some providers did not count: those calls stand at the most they can have cost", style="dim")


def _row(each: Json, name: str) -> tuple[str, ...]:
    tokens = (f"{each['input_tokens']:,}", f"{each['output_tokens']:,}")
    return (name, str(each["attempts"]), *tokens, f"{'~' if each['estimated'] else ''}{money(each['amount'])}")
