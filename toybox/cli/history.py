"""`toybox tail`, `replay` and `diff`: what happened, how it stood then, what changed in between."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from domain.errors import NotFound
from toybox.cli.app import LOOK, AsJson, Limit, OptionalProject, ProjectArgument, app, session
from toybox.client import Client
from toybox.terminal.following import Feed
from toybox.terminal.output import err, moment, out, print_json, short
from toybox.terminal.picture import agents_of, picture

Json = dict[str, Any]
COLOURS = {"warning": "yellow", "error": "red"}
CATCH_UP = 10_000
"""Milliseconds to wait for the log's lines to reach an event that was heard."""
Types = Annotated[
    list[str] | None, typer.Option("--type", "-t", help="Only these event types, such as agent.* or budget.settled.")
]


@app.command(rich_help_panel=LOOK, epilog="Example: toybox tail release-notes --type agent.* --type budget.*")
def tail(
    context: typer.Context,
    project: OptionalProject = None,
    types: Types = None,
    limit: Limit = 20,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", "-f", help="Go on as things happen.")] = True,
    as_json: AsJson = False,
) -> None:
    """Print what happened last and what happens, a line for each event, until Ctrl-C."""
    from toybox.terminal.naming import project_id

    with session(context).client() as client:
        found = project_id(client, project) if project else None
        position = int(client.get("/api/system/status")["head"])
        last = _last(client, found, types, position, limit)
        if as_json:
            left = None if follow else len(last)
            begin = last[-1]["position"] - 1 if last else position
            with Feed(client, after=begin, project_id=found, type=types) as feed:
                _print_events(feed, left)
            return
        for each in reversed(last):
            out().print(line_of(each), soft_wrap=True)
        with Feed(client, after=position, project_id=found, type=types) as feed:
            while follow:
                if heard := list(feed.waiting(60)):
                    position = _print_since(client, found, types, position, int(heard[-1].id))


def _log(project: str | None) -> str:
    return f"/api/projects/{project}/log" if project else "/api/system/log"


def _last(client: Client, project: str | None, types: list[str] | None, head: int, limit: int) -> list[Json]:
    """The newest lines up to the head, the newest first."""
    lines = client.pages(_log(project), type=types, min_position=head, timeout_ms=CATCH_UP)
    seen = (each for each in lines if each["position"] <= head)
    return [each for each, _ in zip(seen, range(limit), strict=False)]


def _print_events(feed: Feed, left: int | None) -> None:
    """Events as JSON, so many of them or for ever."""
    while left is None or left > 0:
        for each in feed.waiting(60):
            print_json(each.data)
            left = None if left is None else left - 1


def _print_since(client: Client, project: str | None, types: list[str] | None, after: int, up_to: int) -> int:
    fresh: list[Json] = []
    for each in client.pages(_log(project), type=types, min_position=up_to, timeout_ms=CATCH_UP):
        if each["position"] <= after:
            break
        if each["position"] <= up_to:
            fresh.append(each)
    for each in reversed(fresh):
        out().print(line_of(each), soft_wrap=True)
    return up_to


def line_of(each: Json) -> Text:
    """One line of the system log."""
    clock = moment(each["recorded_at"])
    return Text.assemble(
        (f"{each['position']:>6}  {clock}  ", "dim"), (each["line"], COLOURS.get(each["level"], "")), ("  ", "")
    ).append(each["actor"], "dim")


At = Annotated[
    str | None, typer.Option("--at", metavar="POSITION|TIME", help="A position, or 2026-11-21T10:00:00Z; else now.")
]


@app.command(rich_help_panel=LOOK, epilog="Example: toybox replay release-notes --at 42")
def replay(
    context: typer.Context,
    project: ProjectArgument,
    at: At = None,
    limit: Limit = 15,
    as_json: AsJson = False,
) -> None:
    """Show a project as it was at any moment, and the events that led there."""
    from toybox.terminal.naming import project_id

    with session(context).client() as client:
        found = project_id(client, project)
        if as_json:
            _replay_json(client, found, at)
            return
        show_moment(client, found, at, limit)


def show_moment(client: Client, project: str, at: str | None, limit: int) -> None:
    """The last lines before a moment, and the picture of then."""
    then: Json = client.get(f"/api/projects/{project}/replay", at=at, limit=1)
    position = int(then["position"])
    earlier = _lines_until(client, project, position)
    shown = [line for line, _ in zip(earlier, range(limit), strict=False)]
    left_out = sum(1 for _ in earlier)
    if left_out:
        err().print(f"… {left_out} earlier events (--limit shows more)", style="dim")
    for each in reversed(shown):
        out().print(line_of(each), soft_wrap=True)
    when = f", {moment(shown[0]['recorded_at'])}" if shown else ""
    out().print(Text(f"── at position {position}{when} ──", "bold"))
    out().print(picture(then["project"], None, out()))


def _lines_until(client: Client, project: str, position: int) -> Iterator[Json]:
    lines = client.pages(_log(project), min_position=position, timeout_ms=CATCH_UP)
    return (each for each in lines if each["position"] <= position)


def _replay_json(client: Client, project: str, at: str | None) -> None:
    path, cursor = f"/api/projects/{project}/replay", None
    while True:
        page: Json = client.get(path, at=at, cursor=cursor, limit=200)
        print_json(page["events"])
        cursor = page["next"]
        if not cursor:
            break
    print_json({"type": "state", "position": page["position"], "project": page["project"]})


@app.command(rich_help_panel=LOOK, epilog="Example: toybox diff release-notes --from 40 --to 60")
def diff(
    context: typer.Context,
    project: ProjectArgument,
    since: Annotated[str, typer.Option("--from", metavar="POSITION|TIME", help="The earlier moment.")],
    until: Annotated[
        str | None, typer.Option("--to", metavar="POSITION|TIME", help="The later moment; default: now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed in a project between two moments."""
    from toybox.terminal.naming import project_id

    with session(context).client() as client:
        found = project_id(client, project)
        change: Json = client.get(f"/api/projects/{found}/diff", **{"from": since, "to": until})
        if as_json:
            print_json(change)
            return
        before = _as_of(client, found, change["from_position"])
        after = _as_of(client, found, change["to_position"])
    out().print(Text(f"── position {change['from_position']} → {change['to_position']} ──", "bold"))
    lines = list(changes(before, after))
    for line in lines:
        out().print(line, soft_wrap=True)
    if not lines:
        out().print("nothing changed", style="dim")


def _as_of(client: Client, project: str, position: int) -> Json | None:
    try:
        return client.get(f"/api/projects/{project}", as_of=position)
    except NotFound:
        return None


TOLD = ("status", "phase", "reason", "failed_agent", "spent", "held", "started_at", "ended_at", "name")
TOLD_OF_AGENTS = ("status", "run", "attempt", "percentage", "spent", "failure", "skipped_because", "asset")


def changes(before: Json | None, after: Json | None) -> Iterator[Text]:
    """What is different, thing by thing, in words that the pictures use too."""
    if before is None or after is None:
        yield Text("the project did not exist before" if before is None else "the project is gone")
        before, after = before or {}, after or {}
    yield from _changed("project", before, after, TOLD)
    known = {each["id"]: each for each in agents_of(before)} if before else {}
    for agent in agents_of(after) if after else ():
        yield from _changed(agent["name"], known.get(agent["id"], {}), agent, TOLD_OF_AGENTS)
    earlier, later = _waits(before), _waits(after)
    yield from (Text(f"no longer waits: {said}", "green") for said in earlier - later)
    yield from (Text(f"waits: {said}", "yellow") for said in later - earlier)


def _waits(view: Json) -> set[str]:
    found: list[Json] = list(view.get("waiting", ()))
    return {f"{each.get('agent') or short(each.get('job_id'))} for {each['kind']}" for each in found}


def _changed(what: str, before: Json, after: Json, fields: tuple[str, ...]) -> Iterator[Text]:
    for name in fields:
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Text.assemble(
                (f"{what:<20} ", "bold"), (f"{name.replace('_', ' ')}: ", "dim"), f"{_value(old)} → {_value(new)}"
            )


def _value(value: Any) -> str:
    match value:
        case None:
            return "–"
        case {"name": name, "version": version}:
            return f"{name} version {version}"
        case {"reason": reason}:
            return str(reason)
        case _:
            return str(value)
