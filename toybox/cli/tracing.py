"""`toybox trace-event`: where one event was delivered to, and when."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from domain.log import SAFE_INTEGER
from toybox.cli.app import LOOK, AsJson, app, session
from toybox.terminal.output import out, print_json, short, show, table

Json = dict[str, Any]
Row = tuple[str | Text, str | Text, str | Text]
COLOURS = {
    "recorded": "green",
    "relayed": "green",
    "applied": "green",
    "answered": "green",
    "delivered": "green",
    "done": "green",
    "waiting": "yellow",
    "not built": "yellow",
    "unknown": "yellow",
    "parked": "red",
}
SAID = {
    "off": "not relayed",
    "private": "not relayed",
    "not_read": "not read",
    "not_built": "not built",
    "not_wanted": "not wanted",
    "began_later": "began later",
    "nothing_to_do": "nothing to do",
}


@app.command("trace-event", rich_help_panel=LOOK, epilog="Example: toybox trace-event 42")
def trace_event(
    context: typer.Context,
    position: Annotated[
        int, typer.Argument(metavar="POSITION", min=1, max=SAFE_INTEGER, help="The event's place in the log.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show where an event was delivered to: Kafka, read models, reactions, live feeds, and what it caused."""
    with session(context).client() as client:
        found: Json = client.get(f"/api/events/{position}/delivery")
    if as_json:
        print_json(found)
        return
    recorded: Json = found["recorded"]
    stream = f"stream {short(recorded['stream_id'])} version {recorded['stream_version']}"
    project = f", project {short(recorded['project_id'])}" if recorded["project_id"] else ""
    out().print(Text(f"event {position} of {found['head']}: {recorded['type']}", "bold"))
    out().print(
        Text(f"{stream}{project}, by {recorded['actor']}, command {short(recorded['command_id'])}", "dim"),
        soft_wrap=True,
    )
    show(table("WHERE", "WHAT", "WHEN, OR WHY NOT"), _rows(found), "nowhere yet")


def _rows(found: Json) -> Iterator[Row]:
    yield "log", _said("recorded"), _time(found["recorded"]["at"])
    yield "Kafka", _said(found["relayed"]["status"]), _relayed(found["relayed"])
    not_read = [each["name"] for each in found["views"] if each["status"] == "not_read"]
    for each in found["views"]:
        if each["status"] != "not_read":
            yield f"view {each['name']} v{each['version']}", _said(each["status"]), _viewed(each, found["head"])
    if not_read:
        yield f"{len(not_read)} other views", _said("not_read"), ", ".join(not_read)
    for each in found["reactions"]:
        why = each["reason"] or (f"at position {each['position']}, head {found['head']}" if _waits(each) else "")
        yield f"reaction {each['name']}", _said(each["status"]), why
        for asked in each["commands"]:
            yield f"  {asked['command']}", _said(asked["outcome"]), _events(asked["events"])
    if found["caused"]:
        yield "its command caused", _said("done"), _events(found["caused"])
    for each in found["feeds"]:
        what = f"project {short(each['project_id'])}" if each["project_id"] else "all projects"
        yield f"feed of {what}", _said(each["status"]), f"delivered up to {each['delivered']}"


def _time(at: str | None) -> str:
    """In this machine's time zone, fine enough to see what was late."""
    return datetime.fromisoformat(at).astimezone().isoformat(" ", "milliseconds")[:23] if at else ""


def _said(status: str) -> Text:
    words = SAID.get(status, status)
    return Text(words, COLOURS.get(words, "dim"))


def _waits(each: Json) -> bool:
    return each["status"] == "waiting"


def _relayed(relayed: Json) -> str:
    if relayed["status"] == "relayed":
        place = f"{relayed['topic']}, partition {relayed['partition']}, offset {relayed['offset']}"
        return ", ".join(filter(None, (_time(relayed["at"]), place)))
    reached = f"the relay is at position {relayed['reached']}" if relayed["reached"] is not None else ""
    return "; ".join(filter(None, (relayed["reason"], reached)))


def _viewed(view: Json, head: int) -> str:
    match view["status"]:
        case "applied" if view["exact"]:
            return _time(view["at"])
        case "applied":
            return f"{_time(view['at'])} or earlier" if view["at"] else "before the ledger began"
        case "parked":
            return f"since position {view['position']}: {view['reason']}"
        case "waiting":
            return f"at position {view['position']}, head {head}"
        case _:
            return view["reason"] or ""


def _events(events: list[Json]) -> str:
    return ", ".join(f"{each['position']} {each['type']}" for each in events)
