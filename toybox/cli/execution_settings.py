"""`toybox execution-settings`: how many calls may be under way at once, and how projects share the workers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from domain.errors import Refused
from toybox.cli.app import OPERATE, AsJson, app, given, session
from toybox.client import Client
from toybox.terminal.naming import one_of, project_id
from toybox.terminal.output import figures, is_id, moment, out, print_json, show, table

Json = dict[str, Any]
SETTINGS = "/api/config/execution"
execution_settings = typer.Typer(
    invoke_without_command=True, help="How many calls may be under way at once, and how projects share the workers."
)
app.add_typer(execution_settings, name="execution-settings", rich_help_panel=OPERATE)
_GENERAL = ("weight", "ageing_seconds", "per_provider", "per_model", "per_project", "per_key")


@execution_settings.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Execution settings: without a command, show them."""
    if context.invoked_subcommand is None:
        show_(context, as_json=as_json)


@execution_settings.command(name="show", epilog="Example: toybox execution-settings show")
def show_(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what holds: weights of projects, and the most calls under way of each kind."""
    with session(context).client() as client:
        _tell(client.get(SETTINGS), as_json=as_json)


def _tell(found: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = [(name.replace("_", " "), _told(name, found[name])) for name in _GENERAL]
    rows += [(f"weight of project {each['project_id']}", str(each["weight"])) for each in found["weights"]]
    for kind in ("providers", "models", "projects", "keys"):
        rows += [(f"calls of {kind[:-1]} {_address(each)}", str(each["most"])) for each in found[kind]]
    show(table("SETTING", figures("VALUE")), rows, "")
    since = f"since {moment(found['changed_at'])}" if found["changed_at"] else "nobody has chosen: these are defaults"
    out().print(since, style="dim")


def _told(name: str, value: int | None) -> str:
    return ("any" if name.startswith("per_") else "-") if value is None else str(value)


def _address(each: Json) -> str:
    return "/".join(str(value) for name, value in each.items() if name != "most")


@execution_settings.command(
    name="set", epilog="Example: toybox execution-settings set --provider openai=8 --per-project 4"
)
def set_(  # noqa: PLR0913, PLR0917 -- one option each
    context: typer.Context,
    weight: Annotated[int | None, typer.Option("--default-weight", min=1, help="Of whoever is not named.")] = None,
    ageing: Annotated[
        int | None, typer.Option("--ageing", metavar="SECONDS", min=1, help="To be lifted by one.")
    ] = None,
    per_provider: Annotated[str | None, typer.Option(metavar="CALLS|any", help="Of each provider.")] = None,
    per_model: Annotated[str | None, typer.Option(metavar="CALLS|any", help="Of each model.")] = None,
    per_project: Annotated[str | None, typer.Option(metavar="CALLS|any", help="Of each project.")] = None,
    per_key: Annotated[str | None, typer.Option(metavar="CALLS|any", help="Of each access key.")] = None,
    weights: Annotated[list[str] | None, typer.Option("--weight", metavar="PROJECT=WEIGHT|default")] = None,
    providers: Annotated[list[str] | None, typer.Option("--provider", metavar="NAME=CALLS|default")] = None,
    models: Annotated[list[str] | None, typer.Option("--model", metavar="PROVIDER/MODEL=CALLS|default")] = None,
    projects: Annotated[list[str] | None, typer.Option("--project", metavar="PROJECT=CALLS|default")] = None,
    keys: Annotated[list[str] | None, typer.Option("--key", metavar="KEY=CALLS|default")] = None,
    as_json: AsJson = False,
) -> None:
    """Change some settings and leave the others as they are. 0 calls lets none go; `default` forgets what was named."""
    with session(context).client() as client:
        answer = client.ask("GET", SETTINGS)
        found: Json = {name: value for name, value in answer.body.items() if name not in ("changed_at", "version")}
        found |= given(weight=weight, ageing_seconds=ageing)
        general = given(per_provider=per_provider, per_model=per_model, per_project=per_project, per_key=per_key)
        found |= {name: None if said == "any" else _number(said) for name, said in general.items()}
        address = Addresses(client)
        for listed, said, who, number in (
            ("weights", weights, address.project, "weight"),
            ("providers", providers, address.provider, "most"),
            ("models", models, address.model, "most"),
            ("projects", projects, address.project, "most"),
            ("keys", keys, address.key, "most"),
        ):
            for each in said or ():
                _change(found[listed], each, who, number)
        looked_at = answer.etag if answer.body["version"] else None
        client.ask("PUT", SETTINGS, body=found, if_match=looked_at)
        _tell(client.get(SETTINGS), as_json=as_json)  # by the same client: not older than what it has just changed


def _change(named: list[Json], said: str, address: Callable[[str], Json], number: str) -> None:
    """Replace what is said of one thing; the other things keep theirs."""
    name, equals, value = said.rpartition("=")
    if not equals or not name:
        raise Refused(f"write NAME=NUMBER, not {said}", code="invalid_setting")
    who: Json = address(name)
    named[:] = [each for each in named if {key: each[key] for key in who} != who]
    if value != "default":
        named.append({**who, number: _number(value)})


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a name on the command line means, as the settings name it."""

    client: Client

    def project(self, name: str) -> Json:
        """By its id, the beginning of it, or its name."""
        return {"project_id": project_id(self.client, name)}

    def provider(self, name: str) -> Json:
        """By its name; it need not be registered yet."""
        return {"provider": name}

    def model(self, name: str) -> Json:
        """At its provider."""
        provider, slash, model = name.partition("/")
        if not slash:
            raise Refused(f"name the model with its provider: openai/{name}", code="invalid_setting")
        return {"provider": provider, "model": model}

    def key(self, name: str) -> Json:
        """By its id, or the beginning of it."""
        if is_id(name):
            return {"key_id": name}
        return {
            "key_id": one_of(self.client.pages("/api/auth/keys", limit=1000), name, "access key", "toybox keys")["id"]
        }


def _number(said: str) -> int:
    if not (said.isascii() and said.isdigit()):
        raise Refused(f"{said} is no number: write 0 or more", code="invalid_setting")
    return int(said)
