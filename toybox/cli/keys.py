"""`toybox keys`: who may use the API, with which permissions, until when."""

import asyncio
import re
from datetime import datetime, timedelta
from typing import Annotated

import typer

from adapters.clock import now
from domain.values import instant_text
from toybox.cli.app import OPERATE, AsJson, app, given, session
from toybox.terminal.output import moment, out, print_json, short, show, styled, table

keys = typer.Typer(no_args_is_help=False, invoke_without_command=True, help="Access keys: create, list, revoke.")
app.add_typer(keys, name="keys", rich_help_panel=OPERATE)
_SPAN = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@keys.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Access keys: without a command, list them."""
    if context.invoked_subcommand is None:
        list_(context, as_json=as_json)


@keys.command(name="list", epilog="Example: toybox keys list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List keys: never the keys themselves, which are shown once, when they are made."""
    with session(context).client() as client:
        found = list(client.pages("/api/auth/keys"))
    if as_json:
        print_json(found)
        return
    made = table("ID", "LABEL", "BEGINS", "STATUS", "PERMISSIONS", "ISSUED", "EXPIRES")
    rows = [
        (
            short(each["id"]),
            each["label"],
            each["prefix"],
            styled(str(each.get("status") or "")),
            " ".join(each["permissions"]),
            moment(each["issued_at"], seconds=False),
            moment(each["expires_at"], seconds=False) or "never",
        )
        for each in found
    ]
    show(made, rows, "no keys")


@keys.command(epilog="Example: toybox keys create dashboard --permission projects.read --permission costs.read -e 30d")
def create(
    context: typer.Context,
    label: Annotated[str, typer.Argument(help="Who will hold it.")] = "",
    permission: Annotated[
        list[str] | None, typer.Option("--permission", "-p", help="Such as projects.read, budgets.*, *; repeat.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", "-e", metavar="SPAN|TIME", help="30d, 12h, or 2027-01-01T00:00:00Z.")
    ] = None,
    owner: Annotated[
        bool, typer.Option("--owner", help="Replace a lost owner's key, straight in the database; needs no key.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, once."""
    if owner:
        _another_owner_key(context, as_json=as_json)
        return
    if not label or not permission:
        raise typer.BadParameter("give a label and at least one --permission, for instance -p projects.read")
    body = given(label=label, permissions=permission, expires_at=until(expires))
    with session(context).client() as client:
        made = client.post("/api/auth/keys", body)
    if as_json:
        print_json(made)
        return
    out().print(made["token"])
    typer.echo("keep it safe: it is not shown again (send it as Authorization: Bearer …)", err=True)


def _another_owner_key(context: typer.Context, *, as_json: bool) -> None:
    from toybox import log
    from toybox.serving.owner import make_another

    settings = session(context).settings
    log.set_up("warning", settings.log_format)
    path = asyncio.run(make_another(settings))
    if as_json:
        print_json({"path": str(path)})
    else:
        out().print(f"a new owner's key is in {path}; keys that it replaces work until toybox keys revoke")


def until(text: str | None) -> str | None:
    """The end of a key: a span from now, or an instant."""
    if text is None:
        return None
    if found := _SPAN.fullmatch(text):
        return instant_text(now() + timedelta(**{_UNITS[found[2]]: int(found[1])}))
    try:
        moment_ = datetime.fromisoformat(text)
    except ValueError:
        moment_ = None
    if moment_ is None or moment_.tzinfo is None:
        raise typer.BadParameter("write a span such as 30d or 12h, or a time with its zone: 2027-01-01T00:00:00Z")
    return instant_text(moment_)


@keys.command(epilog="Example: toybox keys revoke 1a2b3c4d")
def revoke(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id, the beginning of it, or how the key begins: tbx_….")],
    as_json: AsJson = False,
) -> None:
    """Shut a key out at once and for ever."""
    from toybox.terminal.naming import one_of

    with session(context).client() as client:
        found = list(client.pages("/api/auth/keys"))
        chosen = next((each for each in found if key.startswith(each["prefix"])), None)
        chosen = chosen or one_of(found, key, "key", "toybox keys list")
        answer = client.post(f"/api/auth/keys/{chosen['id']}/revoke")
    if as_json:
        print_json(answer)
    else:
        out().print(f"{chosen['label']} ({chosen['prefix']}…) opens nothing any more")
