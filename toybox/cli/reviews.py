"""`toybox checkpoints` and `toybox approve`: what waits for a decision, and deciding it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from toybox.cli.app import DECIDE, AsJson, Limit, OptionalProject, app, session
from toybox.client import Client
from toybox.terminal.output import is_id, is_interactive, moment, out, print_json, short, show, styled, table

Json = dict[str, Any]


class Decision(StrEnum):
    """What may be decided."""

    approve = "approve"
    edit = "edit"
    reject = "reject"
    respond = "respond"


@app.command(rich_help_panel=DECIDE, epilog="Example: toybox checkpoints --all")
def checkpoints(
    context: typer.Context,
    project: OptionalProject = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were decided or expired.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List what waits for a decision."""
    from toybox.terminal.naming import project_id

    with session(context).client() as client:
        found = project_id(client, project) if project else None
        listed = list(
            client.pages("/api/checkpoints", limit=limit, project_id=found, status=None if everything else "pending")
        )
    if as_json:
        print_json(listed)
        return
    made = table("ID", "STATUS", "AGENT", "TITLE", "SINCE", "UNTIL", "DECISION")
    rows = [
        (
            short(each["id"]),
            styled(each["status"]),
            each["agent"],
            each["title"],
            moment(each["requested_at"], seconds=False),
            moment(each["due_at"], seconds=False),
            f"{each['decision']} by {each['decided_by']}" if each["decision"] else "",
        )
        for each in listed
    ]
    show(made, rows, "nothing waits for a decision")


@app.command(
    rich_help_panel=DECIDE,
    epilog='Example: toybox approve 1a2b3c4d --decision respond --comment "name the deadline first"',
)
def approve(
    context: typer.Context,
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Its id, or the beginning of it.")],
    decision: Annotated[
        Decision | None,
        typer.Option("--decision", "-d", help="Default: asked on a terminal, else approve."),
    ] = None,
    comment: Annotated[str | None, typer.Option("--comment", "-c", help="Kept with the decision.")] = None,
    content: Annotated[
        Path | None, typer.Option("--content", help="With edit: the file with the changed text; else your editor.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option("--digest", help="Refuse unless this is the sha256 of what is decided on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide about a result: approve it, edit it, reject it, or respond so that the agent tries again."""
    from toybox.terminal.reviewing import Reviewer, checkpoint_of, content_of, resolve, written

    current = session(context)
    with current.client() as client:
        found = checkpoint_of(client, _find(client, checkpoint))
        if decision is None and comment is None and content is None and is_interactive() and not as_json:
            Reviewer(client, current.settings.editor).ask(found)
            return
        wanted = decision or (Decision.edit if content else Decision.approve)
        if wanted is Decision.respond and not comment:
            raise typer.BadParameter("say what should be different: --comment TEXT")
        text = None
        if wanted is Decision.edit:
            text = _text(content) if content else written(current.settings.editor, content_of(client, found), ".md")
        answer = resolve(client, found, wanted.value, comment=comment, content=text, digest=digest)
    if as_json:
        print_json(answer)
    else:
        out().print(f"{found['agent']}: {found['title']}: {_past(wanted)}")


def _past(decision: Decision) -> str:
    return {"approve": "approved", "edit": "approved as edited", "reject": "rejected"}.get(
        decision.value, "sent back to the agent"
    )


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read as UTF-8 text ({error})") from error


def _find(client: Client, said: str) -> str:
    from toybox.terminal.naming import one_of

    if is_id(said):
        return said
    return one_of(client.pages("/api/checkpoints"), said, "checkpoint", "toybox checkpoints")["id"]
