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
    relay = "relay"


class Follow(StrEnum):
    """What read models and reactions follow."""

    postgres = "postgres"
    kafka = "kafka"


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
    kafka: Annotated[
        str | None,
        typer.Option("--kafka", metavar="HOST:PORT", help="Relay every public event to this Kafka (TOYBOX_KAFKA)."),
    ] = None,
    on: Annotated[
        Follow | None,
        typer.Option("--on", help="What projectors and workers follow (TOYBOX_FOLLOW). Default: postgres."),
    ] = None,
    attached: Annotated[bool, typer.Option("--attached", hidden=True, help="Stop when stdin is closed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the server until Ctrl-C: HTTP, read models, reactions, model calls, and the relay where Kafka is named.

    Without TOYBOX_DATABASE_URL it runs a PostgreSQL of its own in the data directory.
    """
    settings = session(context).settings.overruled_by(
        host=host, port=port, kafka=kafka, follow=on.value if on else None
    )
    roles = _roles(role or [RoleName.all], settings)
    try:
        _serve(settings, roles, attached=attached, as_json=as_json)
    except ToyboxError as error:
        if not attached:
            raise
        print_json({"error": str(error), "code": error.code})  # to the command that started us
        raise typer.Exit(exit_code(error)) from error


def _roles(wanted: list[RoleName], settings: Settings) -> frozenset[Role]:
    names = {each.value for each in wanted}
    if settings.kafka is None and (RoleName.relay in wanted or settings.follow == "kafka"):
        option = "--role relay" if RoleName.relay in wanted else "--on kafka"
        raise typer.BadParameter(f"{option} needs Kafka: add --kafka HOST:PORT, or set TOYBOX_KAFKA")
    chosen: set[Role] = {each for each in ALL_ROLES if each in names or RoleName.all in wanted}
    return frozenset(chosen if settings.kafka else chosen - {"relay"})


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
        probes = f"and answers probes at {address.url}" if address.url else "and serves no HTTP"
        where = f"at {address.url}" if state.serves_api else probes
        out().print(f"toybox is ready {where} ({', '.join(address.roles)})")
        out().print(f"  data        {settings.data_dir}")
        if state.key == "missing":
            out().print(f"  owner key   not in this data directory; copy {file.path.name} here, or {ANOTHER}")
        else:
            out().print(f"  owner key   {file.path}{' (new)' if state.key == 'issued' else ''}")
        if "relay" in address.roles:
            out().print(f"  kafka       {settings.kafka}, topics {settings.kafka_prefix}.*")
        if state.serves_api and not state.private:
            out().print("  note        other machines reach it, unencrypted: put a proxy with TLS in front of it")
        out().print("  stop        Ctrl-C")

    with suppress(KeyboardInterrupt):  # a second Ctrl-C, while the first was obeyed
        serve(settings, roles, ready, with_stdin=attached)
    if not as_json:
        err().print("stopped")
