"""`toybox llm-jobs`: what is asked of models, what it waits for, where each attempt went."""

from typing import Annotated, Any

import typer

from toybox.cli.app import LOOK, AsJson, Limit, app, session
from toybox.terminal.job import show_job, show_jobs
from toybox.terminal.naming import job_id
from toybox.terminal.output import print_json

llm_jobs = typer.Typer(
    invoke_without_command=True, help="Questions to models: list, show and follow them; the queue and its dead letters."
)
app.add_typer(llm_jobs, name="llm-jobs", rich_help_panel=LOOK)
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or the beginning of it.")]


@llm_jobs.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Questions to models: without a command, list them."""
    if context.invoked_subcommand is None:
        list_(context, as_json=as_json)


@llm_jobs.command(name="list", epilog="Example: toybox llm-jobs list --status queued")
def list_(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option("--status", help="queued, running, parked, …; repeat.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first, and what each waits for."""
    with session(context).client() as client:
        found = list(client.pages("/api/llm-jobs", limit=limit, status=status))
    if as_json:
        print_json(found)
    else:
        show_jobs(found)


@llm_jobs.command(name="show", epilog="Example: toybox llm-jobs show 6f0b2c5e")
def show(
    context: typer.Context,
    job: JobArgument,
    as_json: AsJson = False,
) -> None:
    """Show a job: its targets, what it waits for, and every attempt with its target and what it cost."""
    with session(context).client() as client:
        found: dict[str, Any] = client.get(f"/api/llm-jobs/{job_id(client, job)}")
    if as_json:
        print_json(found)
    else:
        show_job(found)
