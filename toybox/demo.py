"""`make run`: a real example to its end with the live view, its costs, its past, and where to look next."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from adapters.postgres.embedded import default_data_dir
from domain.errors import NotFound, ToyboxError
from toybox.cli.app import Session
from toybox.cli.costs import Grouping, report
from toybox.cli.history import show_moment
from toybox.cli.projects import content
from toybox.cli.running import begin, follow, order
from toybox.client import Client
from toybox.settings import Settings, environment
from toybox.terminal.failures import Exit, say
from toybox.terminal.failures import report as tell
from toybox.terminal.output import out, short, span

Json = dict[str, Any]
CHECKOUT = Path(__file__).parent.parent
EXAMPLE = Path("examples") / "release-notes"
RESULT = "release-notes.md"
SHOWN_LINES = 14


def data_dir() -> Path:
    """A place for this alone: in the checkout, or for root where the unprivileged database may go."""
    known = environment()
    if named := known.get("TOYBOX_DATA_DIR"):
        return Path(named)
    if os.geteuid() == 0:
        return default_data_dir(known).with_name("toybox-demo")
    return CHECKOUT / ".toybox"


def main() -> None:
    """The console entry: one error, one line, one exit code."""
    began = time.monotonic()
    try:
        code = _run(began)
    except ToyboxError as error:
        code = tell(error)
    except KeyboardInterrupt:
        say("interrupted; run it again whenever you like")
        code = Exit.INTERRUPTED
    sys.exit(code)


def _run(began: float) -> int:
    settings = Settings.with_options(data_dir=data_dir())
    example = CHECKOUT / EXAMPLE
    if not example.is_dir():
        raise NotFound(f"{example} is missing: run this from a checkout of toybox")
    _head(f"Running {EXAMPLE} on its own changelog")
    out().print(f"data in {settings.data_dir}", soft_wrap=True)
    out().print("answers come from the scripted provider: no key, nominal prices, the same text each time")
    wanted = order(example, [])
    with Session(settings).client() as client:
        project = begin(client, wanted)
        try:
            follow(Session(settings), client, project, None, as_json=False, from_start=True)
        except typer.Exit as left:
            return left.exit_code
        _result(client, project)
        _head("What it cost")
        report(client, project, Grouping.agent, 50)
        _head("How it stood when a person was asked")
        show_moment(client, project, str(_first(client, project, "checkpoint.requested")), 6)
        earlier = _first(client, project, "agent.completed")
    _next(settings, project, earlier, time.monotonic() - began)
    return Exit.OK


def _head(title: str) -> None:
    out().print()
    out().print(Text(title, "bold"))


def _result(client: Client, project: str) -> None:
    """The first lines of what was made."""
    found: list[Json] = list(client.pages("/api/assets", project_id=project))
    asset = next(each for each in found if each["name"] == RESULT)
    lines = content(client, asset["id"]).decode().splitlines()
    _head(f"The first lines of {RESULT}")
    for line in lines[:SHOWN_LINES]:
        out().print(Text(f"  {line}", "dim"), overflow="ellipsis", no_wrap=True)
    if len(lines) > SHOWN_LINES:
        out().print(Text(f"  … {len(lines) - SHOWN_LINES} more", "dim"))


def _first(client: Client, project: str, kind: str) -> int:
    """Where in the log something happened first."""
    found = client.pages(f"/api/projects/{project}/timeline", type=kind, limit=1)
    return int(next(found)["position"])


def _next(settings: Settings, project: str, earlier: int, seconds: float) -> None:
    name, here = short(project), f".venv/bin/{Session(settings).called}"
    _head("Where to look next")
    for command, why in (
        (f"{here} assets {name} {RESULT}", "all of the result"),
        (f"{here} replay {name} --at {earlier}", "another moment: when the first agent was done"),
        (f"{here} run examples/code-review", "another example, with you at the checkpoint"),
        (f"{here} up", "keep a server running; its API reference is at /docs"),
        ("docs/follow-an-event.md", "one event on its way through the code"),
    ):
        out().print(f"  {command}", soft_wrap=True)
        out().print(Text(f"      {why}", "dim"))
    out().print(Text(f"({span(seconds)} in all)", "dim"))


if __name__ == "__main__":
    main()
