"""`toybox ask` and `toybox llm-jobs`: a question to a model and its answer as it comes; the questions before it."""

import sys
from typing import Annotated, Any
from uuid import UUID

import typer

from domain.errors import Refused
from toybox.cli.app import LOOK, RUN, AsJson, Limit, app, session
from toybox.client import Client
from toybox.terminal.answers import Screen, told
from toybox.terminal.failures import Exit, say
from toybox.terminal.output import figures, is_id, moment, money, print_json, short, show, styled, table

Json = dict[str, Any]
SCRIPTED = "scripted/scripted-1"
LONGEST = 1_000_000
"""Characters read of whatever stands on standard input."""
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or the beginning of it.")]


@app.command(rich_help_panel=RUN, epilog='Example: toybox ask "What is event sourcing?" --model openai/gpt-5-mini')
def ask(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to ask; - reads it from standard input.")],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="PROVIDER/MODEL", help="Whom to ask; the scripted one needs no key.")
    ] = SCRIPTED,
    project: Annotated[
        str | None, typer.Option("--project", metavar="PROJECT", help="Whose budgets pay; it must be running.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="What the model is told beforehand.")] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="How much it may write at most.")] = 1_024,
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Print the answer as it comes, or when it is whole.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Ask a model one question. Ctrl-C leaves the answer to be written; toybox llm-jobs follow shows it later."""
    from toybox.terminal.naming import project_id

    provider, _, name = model.partition("/")
    if not provider or not name:
        raise typer.BadParameter(f"{model} names no model: write PROVIDER/MODEL, for instance {SCRIPTED}")
    question = sys.stdin.read(LONGEST).strip() if text == "-" else text
    if not question:
        raise Refused("there is no question: write one, or pipe one in and write -", code="no_question")
    messages = [{"role": "user", "content": question}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    body: Json = {"provider": provider, "model": name, "messages": messages, "max_output_tokens": max_tokens}
    with session(context).client() as client:
        if project:
            body["project_id"] = project_id(client, project)
        job = str(client.post("/api/llm-jobs", body)["id"])
        code = _follow(client, job, session(context).called, Screen(as_json=as_json, live=stream))
    raise typer.Exit(code)


llm_jobs = typer.Typer(invoke_without_command=True, help="Questions to models: list them, follow their answers.")
app.add_typer(llm_jobs, name="llm-jobs", rich_help_panel=LOOK)


@llm_jobs.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Questions to models: without a command, list them."""
    if context.invoked_subcommand is None:
        list_(context, as_json=as_json)


@llm_jobs.command(name="list", epilog="Example: toybox llm-jobs list --status parked")
def list_(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option("--status", help="Only these, such as running or parked.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List questions, the newest first."""
    with session(context).client() as client:
        found = list(client.pages("/api/llm-jobs", limit=limit, status=status))
    if as_json:
        print_json(found)
        return
    made = table("ID", "STATUS", "MODEL", figures("INPUT"), figures("OUTPUT"), figures("COST"), "QUEUED")
    rows = [
        (
            short(each["job_id"]),
            styled(each["status"]),
            f"{each['provider']}/{each['model']}",
            _count(each["input_tokens"]),
            _count(each["output_tokens"]),
            money(each["output"]["cost"]) if each["output"] else "",
            moment(each["queued_at"]),
        )
        for each in found
    ]
    show(made, rows, "no model was asked yet: toybox ask asks one")


@llm_jobs.command(epilog="Example: toybox llm-jobs follow 3f2a91c0")
def follow(
    context: typer.Context,
    job: JobArgument,
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Print the answer as it comes, or when it is whole.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Show an answer from its beginning, as it comes if it is still being written."""
    with session(context).client() as client:
        code = _follow(client, _job_id(client, job), session(context).called, Screen(as_json=as_json, live=stream))
    raise typer.Exit(code)


def _follow(client: Client, job: str, called: str, screen: Screen) -> Exit:
    try:
        for each in told(client, f"/api/llm-jobs/{job}"):
            screen.show(each)
    except KeyboardInterrupt:
        say(f"\ndetached: the answer is written on; see it with {called} llm-jobs follow {short(job)}")
        return Exit.INTERRUPTED
    return screen.exit


def _job_id(client: Client, said: str) -> str:
    if is_id(said):
        return str(UUID(said))
    from toybox.terminal.naming import one_of

    jobs = list(client.pages("/api/llm-jobs", limit=1_000))
    found = one_of([{**each, "id": each["job_id"]} for each in jobs], said, "job", "toybox llm-jobs")
    return str(found["id"])


def _count(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"
