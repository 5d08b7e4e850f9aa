"""`toybox up`: run the server of a data directory, or one role of a larger installation."""

from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import typer

from domain.errors import ToyboxError
from toybox.cli.app import OPERATE, AsJson, app, session
from toybox.settings import ALL_ROLES, Role, Settings
from toybox.terminal.failures import exit_code
from toybox.terminal.output import err, out, print_json


class RoleName(StrEnum):
    """What a process may do."""

    all = "all"
    api = "api"
    projector = "projector"
    worker = "worker"


@app.command(rich_help_panel=OPERATE, epilog="Example: toybox up --port 8420")
def up(
    context: typer.Context,
    role: Annotated[
        list[RoleName] | None,
        typer.Option("--role", help="What this process does; may be repeated. Default: all."),
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (TOYBOX_HOST).")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="0 takes any free port (TOYBOX_PORT).")
    ] = None,
    attached: Annotated[bool, typer.Option("--attached", hidden=True, help="Stop when stdin is closed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the server until Ctrl-C: HTTP, read models, reactions and model calls.

    Without TOYBOX_DATABASE_URL it runs a PostgreSQL of its own in the data directory.
    """
    settings = _settings(session(context).settings, host, port)
    roles = _roles(role or [RoleName.all])
    try:
        _serve(settings, roles, attached=attached, as_json=as_json)
    except ToyboxError as error:
        if not attached:
            raise
        print_json({"error": str(error), "code": error.code})  # to the command that started us
        raise typer.Exit(exit_code(error)) from error


def _settings(settings: Settings, host: str | None, port: int | None) -> Settings:
    given = {"host": host, "port": port}
    return settings.model_copy(update={name: value for name, value in given.items() if value is not None})


def _roles(wanted: list[RoleName]) -> frozenset[Role]:
    names = {each.value for each in wanted}
    return frozenset(each for each in ALL_ROLES if each in names or RoleName.all in wanted)


def _serve(settings: Settings, roles: frozenset[Role], *, attached: bool, as_json: bool) -> None:
    from toybox import log
    from toybox.owner_key import ANOTHER, OwnerKeyFile
    from toybox.serving.process import Ready, serve
    from toybox.settings import environment, secrets_in

    log.set_up(settings.log_level, settings.log_format, secrets=secrets_in(environment()))

    def ready(state: Ready) -> None:
        address, file = state.address, OwnerKeyFile.of(settings.data_dir)
        if as_json:
            print_json(address.model_dump(mode="json"))
            return
        where = f"at {address.url}" if state.serves_http else "and serves no HTTP"
        out().print(f"toybox is ready {where} ({', '.join(address.roles)})")
        out().print(f"  data        {settings.data_dir}")
        if state.key == "missing":
            out().print(f"  owner key   not in this data directory; copy {file.path.name} here, or {ANOTHER}")
        else:
            out().print(f"  owner key   {file.path}{' (new)' if state.key == 'issued' else ''}")
        if state.serves_http and not state.private:
            out().print("  note        other machines reach it, unencrypted: put a proxy with TLS in front of it")
        out().print("  stop        Ctrl-C")

    with suppress(KeyboardInterrupt):  # a second Ctrl-C, while the first was obeyed
        serve(settings, roles, ready, with_stdin=attached)
    if not as_json:
        err().print("stopped")
