"""`toybox webhooks`: who is told of which events, how that goes, what was given up. A secret is shown once."""

from typing import Annotated, Any, Literal

import typer

from toybox.cli.app import OPERATE, AsJson, Limit, app, given, session
from toybox.client import Client
from toybox.terminal.output import moment, out, print_json, short, show, styled, table

Json = dict[str, Any]
webhooks = typer.Typer(
    invoke_without_command=True, help="Addresses that are told of events: add, list, replay, dead letters, test."
)
app.add_typer(webhooks, name="webhooks", rich_help_panel=OPERATE)
Hook = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, or the beginning of it.")]
Url = Annotated[str, typer.Argument(metavar="URL", help="https://HOST[:PORT]/PATH")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", "-t", metavar="TYPE", help="budget.threshold_crossed, budget.*, or *; may be repeated."),
]
Said = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")]


@webhooks.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Addresses that are told of events: without a command, list them."""
    if context.invoked_subcommand is None:
        list_(context, as_json=as_json)


@webhooks.command(name="list", epilog="Example: toybox webhooks list --status disabled")
def list_(
    context: typer.Context,
    status: Annotated[
        Literal["active", "paused", "disabled"] | None, typer.Option("--status", help="Those alone that stand so.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List webhooks and how their deliveries go."""
    with session(context).client() as client:
        found = list(client.pages("/api/webhooks", status=status))
    if as_json:
        print_json(found)
        return
    made = table("ID", "STATUS", "HOST", "TYPES", "PROJECT", "POSITION", "DELIVERED", "DEAD", "LAST", "PROBLEM")
    rows = [
        (
            short(each["id"]),
            styled(each["status"]),
            each["origin"],
            ", ".join(each["types"]),
            short(each["project_id"]) if each["project_id"] else "all",
            *_going(each["deliveries"]),
        )
        for each in found
    ]
    show(made, rows, "nobody is told of anything: toybox webhooks add URL --type budget.threshold_crossed")


@webhooks.command(epilog="Example: toybox webhooks add https://hooks.example.org/toybox -t budget.threshold_crossed")
def add(
    context: typer.Context,
    url: Url,
    types: Types = None,
    project: Annotated[
        str | None, typer.Option("--project", metavar="PROJECT", help="Tell it of this project alone.")
    ] = None,
    description: Said = None,
    from_position: Annotated[
        int | None, typer.Option("--from", metavar="POSITION", min=0, help="Tell it of what happened since, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell an address of events. The secret that signs them is printed once: give it to the receiver."""
    from toybox.terminal.naming import project_id

    if not types:
        raise typer.BadParameter("say of what: --type budget.threshold_crossed, --type 'budget.*', or --type '*'")
    with session(context).client() as client:
        whose = project_id(client, project) if project else None
        body = given(url=url, types=types, project_id=whose, description=description, from_position=from_position)
        answer = client.post("/api/webhooks", body)
    if as_json:
        print_json(answer)
        return
    out().print(f"webhook {answer['id']} is told of {', '.join(types)}")
    _tell_secret(answer)


@webhooks.command(name="show", epilog="Example: toybox webhooks show 3f2a")
def show_(context: typer.Context, webhook: Hook, as_json: AsJson = False) -> None:
    """Show one webhook in full: its address, its choice of events, how its deliveries go."""
    with session(context).client() as client:
        found = _one(client, webhook)
    if as_json:
        print_json(found)
        return
    going: Json = found["deliveries"] or {}
    told = {
        "webhook": found["id"],
        "status": found["status"],
        "because": _because(found),
        "address": found["url"] or "erased with its key",
        "types": ", ".join(found["types"]),
        "project": found["project_id"] or "all",
        "description": found["description"],
        "subscribed": f"{moment(found['subscribed_at'])} by {found['subscribed_by']}",
        "old secret until": moment(found["old_secret_until"]),
        "position": going.get("position"),
        "delivered": going.get("delivered"),
        "last delivered": moment(going.get("last_delivered_at")),
        "dead letters": going.get("dead_letters"),
        "failing since": moment(going.get("failing_since")),
        "tries of the next": going.get("attempts") or None,
        "next try": moment(going.get("next_try_at")),
        "last problem": going.get("last_problem"),
    }
    for name, value in told.items():
        if value not in (None, ""):
            out().print(f"{name:18} {value}", markup=False, soft_wrap=True)


@webhooks.command(epilog="Example: toybox webhooks change 3f2a --type 'budget.*' --type checkpoint.requested")
def change(
    context: typer.Context,
    webhook: Hook,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="Its new address.")] = None,
    types: Types = None,
    description: Said = None,
    as_json: AsJson = False,
) -> None:
    """Another address, choice of events or description; what is left out stays, what failed is tried at once."""
    body = given(url=url, types=types or None, description=description)
    with session(context).client() as client:
        answer = client.patch(f"/api/webhooks/{_one(client, webhook)['id']}", body)
    _done(answer, "is changed", as_json=as_json)


@webhooks.command(epilog="Example: toybox webhooks pause 3f2a")
def pause(context: typer.Context, webhook: Hook, as_json: AsJson = False) -> None:
    """Tell it nothing for the time being; what happens meanwhile waits in the log."""
    _ask(context, webhook, "pause", "is paused", as_json=as_json)


@webhooks.command(epilog="Example: toybox webhooks resume 3f2a")
def resume(context: typer.Context, webhook: Hook, as_json: AsJson = False) -> None:
    """Go on where it stopped, also after it was disabled."""
    _ask(context, webhook, "resume", "goes on where it stopped", as_json=as_json)


@webhooks.command(epilog="Example: toybox webhooks rotate 3f2a --overlap 3600")
def rotate(
    context: typer.Context,
    webhook: Hook,
    overlap: Annotated[
        int, typer.Option("--overlap", metavar="SECONDS", min=0, help="How long the old secret signs beside the new.")
    ] = 86_400,
    as_json: AsJson = False,
) -> None:
    """Sign with a new secret, printed once; the old one signs too, until the overlap is over."""
    answer = _asked(context, webhook, "rotate", {"overlap_seconds": overlap})
    if as_json:
        print_json(answer)
        return
    _tell_secret(answer)


@webhooks.command(epilog="Example: toybox webhooks replay 3f2a --from 1200")
def replay(
    context: typer.Context,
    webhook: Hook,
    from_position: Annotated[int, typer.Option("--from", metavar="POSITION", min=0, help="Where to begin again.")],
    as_json: AsJson = False,
) -> None:
    """Tell it once more of everything from a position on, under the same ids."""
    body = {"from_position": from_position}
    _ask(context, webhook, "replay", f"is told again from position {from_position} on", body, as_json=as_json)


@webhooks.command(epilog="Example: toybox webhooks remove 3f2a")
def remove(context: typer.Context, webhook: Hook, as_json: AsJson = False) -> None:
    """Forget it, and erase its secrets."""
    with session(context).client() as client:
        answer = client.delete(f"/api/webhooks/{_one(client, webhook)['id']}")
    _done(answer, "is removed", as_json=as_json)


@webhooks.command(epilog="Example: toybox webhooks deliveries 3f2a --limit 10")
def deliveries(context: typer.Context, webhook: Hook, limit: Limit = 20, as_json: AsJson = False) -> None:
    """The last tries, the newest first: what was answered, and how long it took."""
    with session(context).client() as client:
        found = list(client.pages(f"/api/webhooks/{_one(client, webhook)['id']}/deliveries", limit=limit))
    if as_json:
        print_json(found)
        return
    made = table("AT", "POSITION", "TYPE", "TRY", "OUTCOME", "STATUS", "MS", "PROBLEM", "ANSWER")
    rows = [
        (
            moment(each["at"]),
            str(each["position"]),
            each["type"],
            str(each["number"]),
            styled(each["outcome"]),
            str(each["status"] or ""),
            str(each["milliseconds"]),
            each["problem"] or "",
            each["said"],
        )
        for each in found
    ]
    show(made, rows, "nothing was delivered yet")


@webhooks.command(name="dead-letters", epilog="Example: toybox webhooks dead-letters 3f2a --requeue")
def dead_letters(
    context: typer.Context,
    webhook: Hook,
    requeue: Annotated[bool, typer.Option("--requeue", help="Try all of them once more.")] = False,
    position: Annotated[
        int | None, typer.Option("--position", metavar="POSITION", help="With --requeue: this one alone.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """What was given up and why; --requeue tries it once more."""
    with session(context).client() as client:
        path = f"/api/webhooks/{_one(client, webhook)['id']}/dead-letters"
        if requeue:
            answer = client.post(f"{path}/requeue", given(position=position))
            _done(answer, "tries what was given up once more", as_json=as_json)
            return
        found = list(client.pages(path, limit=limit))
    if as_json:
        print_json(found)
        return
    made = table("POSITION", "TYPE", "TRIES", "GIVEN UP", "STATUS", "PROBLEM", "ANSWER")
    rows = [
        (
            str(each["position"]),
            each["type"],
            str(each["attempts"]),
            moment(each["died_at"]),
            str(each["status"] or ""),
            each["problem"],
            each["said"],
        )
        for each in found
    ]
    show(made, rows, "nothing was given up")


@webhooks.command(name="test", epilog="Example: toybox webhooks test 3f2a")
def try_(context: typer.Context, webhook: Hook, as_json: AsJson = False) -> None:
    """Send a signed message that stands for no event, and tell what the receiver made of it."""
    with session(context).client() as client:
        chosen = _one(client, webhook)
        found: Json = client.post(f"/api/webhooks/{chosen['id']}/test")
    if as_json:
        print_json(found)
    elif found["arrived"]:
        out().print(f"{chosen['origin']} answered {found['status']} in {found['milliseconds']} ms")
    else:
        said = f" ({found['said']})" if found["said"] else ""
        out().print(f"{chosen['origin']}: {found['problem']}{said}", markup=False, soft_wrap=True)
    if not found["arrived"]:
        raise typer.Exit(1)


def _one(client: Client, said: str) -> Json:
    from toybox.terminal.naming import one_of

    return one_of(client.pages("/api/webhooks"), said, "webhook", "toybox webhooks")


def _asked(context: typer.Context, webhook: str, what: str, body: Json | None = None) -> Json:
    with session(context).client() as client:
        return client.post(f"/api/webhooks/{_one(client, webhook)['id']}/{what}", body or {})


def _ask(
    context: typer.Context, webhook: str, what: str, said: str, body: Json | None = None, *, as_json: bool
) -> None:
    _done(_asked(context, webhook, what, body), said, as_json=as_json)


def _done(answer: Json, said: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    out().print(f"webhook {short(answer['id'])} {said}")


def _tell_secret(answer: Json) -> None:
    out().print("its receiver verifies signatures with this secret, which is shown nowhere else:")
    out().print(answer["secret"], markup=False, soft_wrap=True)


def _going(standing: Json | None) -> tuple[str, ...]:
    if standing is None:
        return ("", "", "", "", "")
    return (
        str(standing["position"]),
        str(standing["delivered"]),
        str(standing["dead_letters"]),
        moment(standing["last_delivered_at"], seconds=False),
        standing["last_problem"] or "",
    )


def _because(webhook: Json) -> str | None:
    if webhook["status"] != "disabled":
        return None
    return f"{webhook['disabled_reason']}: {webhook['disabled_detail']}"
