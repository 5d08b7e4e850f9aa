"""`toybox providers`: which providers work, which rest and why; circuits opened and closed by hand."""

from typing import Annotated, Any

import typer

from toybox.cli.app import OPERATE, AsJson, app, given, session
from toybox.terminal.output import moment, out, print_json, show, styled, table

Json = dict[str, Any]
providers = typer.Typer(invoke_without_command=True, help="Model providers: their health, and their circuits.")
app.add_typer(providers, name="providers", rich_help_panel=OPERATE)
Named = Annotated[str, typer.Argument(metavar="PROVIDER", help="Such as openai, or one that you registered.")]
Model = Annotated[str | None, typer.Option("--model", metavar="MODEL", help="The circuit of this model alone.")]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Why; kept sealed with the event.")]


@providers.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Model providers: without a command, show how they are."""
    if context.invoked_subcommand is None:
        health(context, as_json=as_json)


@providers.command(epilog="Example: toybox providers health openai")
def health(
    context: typer.Context,
    provider: Annotated[str | None, typer.Argument(metavar="[PROVIDER]", help="This one in detail.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how providers are: levels, circuits that are not closed and until when, rate limits."""
    with session(context).client() as client:
        if provider:
            found: Json = client.get(f"/api/ai-providers/{provider}/health")
            rows = [found]
        else:
            rows = list(client.pages("/api/provider-health"))
    if as_json:
        print_json(rows[0] if provider else rows)
        return
    made = table("PROVIDER", "HEALTH", "CIRCUIT", "SINCE", "NEXT PROBE", "REASON")
    show(made, [line for each in rows for line in _lines(each)], "nothing has happened to any provider's health so far")
    if provider:
        recent = rows[0]["recent"]
        median = f", {recent['median_ms']} ms in the middle" if recent["median_ms"] is not None else ""
        out().print(
            f"last {recent['attempts']} attempts: {recent['answered']} answered, {recent['failed']} failed by trouble"
            f" of its own{median}"
        )
        for limit in rows[0]["limits"]:
            key = limit["key_id"] or "of the environment"
            out().print(f"rate limit of key {key} until {moment(limit['until'])}")


def _lines(each: Json) -> list[tuple[Any, ...]]:
    level = styled(each["level"])
    if not each["circuits"]:
        return [(each["name"], level, "closed", moment(each["since"]), "", "")]
    return [
        (
            f"{each['name']}/{circuit['model']}" if circuit["model"] else each["name"],
            level,
            styled(circuit["state"]),
            moment(circuit["opened_at"]),
            moment(circuit["retry_at"]) or "only by hand",
            circuit["note"] or circuit["reason"],
        )
        for circuit in each["circuits"]
    ]


@providers.command(name="open", epilog="Example: toybox providers open openai --reason 'their status page is red'")
def open_(context: typer.Context, provider: Named, model: Model = None, reason: Reason = None) -> None:
    """Send no job to a provider until its circuit is closed by hand; jobs go to their fallbacks, or wait."""
    _set(context, "open", provider, model, reason)


@providers.command(epilog="Example: toybox providers close openai --reason 'credit was added'")
def close(context: typer.Context, provider: Named, model: Model = None, reason: Reason = None) -> None:
    """Send jobs to a provider again at once, whatever opened its circuit."""
    _set(context, "close", provider, model, reason)


def _set(context: typer.Context, action: str, provider: str, model: str | None, reason: str | None) -> None:
    with session(context).client() as client:
        client.post(f"/api/ai-providers/{provider}/circuit", given(action=action, model=model, reason=reason))
    which = f"{provider}/{model}" if model else provider
    done = "is open: no job is sent there" if action == "open" else "is closed: jobs are sent there again"
    out().print(f"the circuit of {which} {done}")
