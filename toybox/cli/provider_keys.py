"""`toybox provider-keys`: what pays at vendors. A key is read from standard input or a prompt, never an argument."""

import sys
from getpass import getpass
from typing import Annotated, Any

import typer

from domain.errors import Conflict, NotFound, Refused
from toybox.cli.app import OPERATE, AsJson, app, given, session
from toybox.client import Client
from toybox.terminal.output import moment, out, print_json, short, show, styled, table

Json = dict[str, Any]
provider_keys = typer.Typer(
    invoke_without_command=True, help="Keys of model providers: add, list, rotate, revoke; kept encrypted."
)
app.add_typer(provider_keys, name="provider-keys", rich_help_panel=OPERATE)
Key = Annotated[str, typer.Argument(metavar="KEY", help="Its id, the beginning of it, or PROVIDER/LABEL.")]
LONGEST = 10_000
"""Characters read of whatever stands on standard input."""


@provider_keys.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Keys of model providers: without a command, list them."""
    if context.invoked_subcommand is None:
        list_(context, as_json=as_json)


@provider_keys.command(name="list", epilog="Example: toybox provider-keys list")
def list_(
    context: typer.Context,
    provider: Annotated[str | None, typer.Argument(metavar="[PROVIDER]", help="Of this one alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys: how they end and what became of them, never the keys themselves."""
    with session(context).client() as client:
        found = list(client.pages("/api/api-keys", provider=provider))
    if as_json:
        print_json(found)
        return
    made = table("ID", "PROVIDER", "LABEL", "STATUS", "ENDS IN", "FINGERPRINT", "PROJECT", "STORED", "FIRST USED")
    rows = [
        (
            short(each["id"]),
            each["provider"],
            each["label"],
            styled(each["status"]),
            each["current"]["last_four"] or "",
            each["current"]["fingerprint"][:12],
            short(each["project_id"]) if each["project_id"] else "all",
            moment(each["stored_at"], seconds=False),
            moment(each["current"]["first_used_at"], seconds=False) or "never",
        )
        for each in found
    ]
    show(made, rows, "no keys are stored: toybox provider-keys add PROVIDER stores one")


@provider_keys.command(epilog="Example: toybox provider-keys add openai < key.txt")
def add(
    context: typer.Context,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="Such as openai, or one that you registered.")],
    label: Annotated[str, typer.Option("--label", "-l", help="Tells several keys of a provider apart.")] = "default",
    project: Annotated[
        str | None, typer.Option("--project", metavar="PROJECT", help="Let it pay for this project alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Store a key, asked for or read from stdin: calls to the provider are made with it from the next second on."""
    from toybox.terminal.naming import project_id

    secret = _secret(f"Key of {provider}")
    with session(context).client() as client:
        whose = project_id(client, project) if project else None
        answer = client.post("/api/api-keys", given(provider=provider, label=label, project_id=whose, key=secret))
        key: Json = client.get(f"/api/api-keys/{answer['id']}")
    _told(key, "is stored", as_json=as_json)


@provider_keys.command(epilog="Example: toybox provider-keys rotate openai/default --overlap 3600 < new-key.txt")
def rotate(
    context: typer.Context,
    key: Key,
    overlap: Annotated[
        int, typer.Option("--overlap", metavar="SECONDS", min=0, help="How long the old key works beside the new one.")
    ] = 86_400,
    as_json: AsJson = False,
) -> None:
    """Replace a key: the new one is used first; the old one where that is refused, until the overlap is over."""
    with session(context).client() as client:
        chosen = _one(client, key)
        secret = _secret(f"New key of {chosen['provider']}")
        client.post(f"/api/api-keys/{chosen['id']}/rotate", {"key": secret, "overlap_seconds": overlap})
        shown: Json = client.get(f"/api/api-keys/{chosen['id']}")
    until = f"; the one before works until {moment(shown['old_until'])}" if shown["status"] == "rotating" else ""
    _told(shown, f"is used from now on{until}", as_json=as_json)


@provider_keys.command(epilog="Example: toybox provider-keys revoke openai/default")
def revoke(context: typer.Context, key: Key, as_json: AsJson = False) -> None:
    """Use a key no longer, within a second, and erase it. The vendor still knows it: take it back there too."""
    with session(context).client() as client:
        chosen = _one(client, key)
        client.post(f"/api/api-keys/{chosen['id']}/revoke")
        shown: Json = client.get(f"/api/api-keys/{chosen['id']}")
    _told(shown, "is used no longer", as_json=as_json)


def _one(client: Client, said: str) -> Json:
    """The key that is meant."""
    from toybox.terminal.naming import one_of

    found: list[Json] = list(client.pages("/api/api-keys"))
    provider, _, label = said.partition("/")
    named = [each for each in found if each["provider"] == provider and each["label"] == (label or each["label"])]
    named = [each for each in named if each["status"] != "revoked"] or named
    if len(named) > 1:
        told = ", ".join(f"{provider}/{each['label']}" for each in named)
        raise Conflict(f"{said} may mean several: say which, {told}", code="ambiguous")
    if not named and label:
        raise NotFound(f"there is no key {said}: toybox provider-keys lists them")
    return named[0] if named else one_of(found, said, "provider key", "toybox provider-keys")


def _secret(what: str) -> str:
    """The key as it was typed, unseen, or as it came through a pipe; a line break at its end is not part of it."""
    if sys.stdin.isatty():
        try:
            return getpass(f"{what}: ").strip()  # prompts only once nothing is echoed any more, unlike typer's own
        except EOFError as error:
            raise typer.Abort from error
    secret = sys.stdin.read(LONGEST).strip()
    if not secret:
        raise Refused("no key came on standard input: toybox provider-keys add PROVIDER < FILE", code="no_provider_key")
    return secret


def _told(key: Json, said: str, *, as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    ends = key["current"]["last_four"]
    out().print(f"key {key['provider']}/{key['label']}{f' (…{ends})' if ends else ''} {said}")
