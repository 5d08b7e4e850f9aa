"""`toybox ask` and `toybox llm-jobs`: a question to a model and its answer as it comes; the questions before it."""

import sys
from typing import Annotated, Any

import typer

from domain.errors import Refused
from toybox.cli.app import RUN, AsJson, app, session
from toybox.cli.llm_jobs import JobArgument, llm_jobs
from toybox.client import Client
from toybox.terminal.answers import Screen, told
from toybox.terminal.failures import Exit, say
from toybox.terminal.naming import job_id
from toybox.terminal.output import short

Json = dict[str, Any]
SCRIPTED = "scripted/scripted-1"
LONGEST = 1_000_000
"""Characters read of whatever stands on standard input."""


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
        code = _follow(client, job_id(client, job), session(context).called, Screen(as_json=as_json, live=stream))
    raise typer.Exit(code)


def _follow(client: Client, job: str, called: str, screen: Screen) -> Exit:
    try:
        for each in told(client, f"/api/llm-jobs/{job}"):
            screen.show(each)
    except KeyboardInterrupt:
        say(f"\ndetached: the answer is written on; see it with {called} llm-jobs follow {short(job)}")
        return Exit.INTERRUPTED
    return screen.exit
