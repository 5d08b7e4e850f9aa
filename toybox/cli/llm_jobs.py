"""`toybox llm-jobs`: what is asked of models, what it waits for, where each attempt went."""

from typing import Annotated, Any

import typer

from domain.errors import NotFound
from toybox.cli.app import LOOK, AsJson, app, session
from toybox.terminal.job import show_job, show_jobs
from toybox.terminal.output import is_id, print_json

llm_jobs = typer.Typer(no_args_is_help=True, help="LLM jobs: list them, show one with its attempts.")
app.add_typer(llm_jobs, name="llm-jobs", rich_help_panel=LOOK)
RECENT = 200
"""Of so many, the newest ones, an id may be given by its beginning."""


@llm_jobs.command(name="list", epilog="Example: toybox llm-jobs list --status queued")
def list_(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option("--status", help="queued, running, parked, …; repeat.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1)] = 50,
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
    job: Annotated[str, typer.Argument(metavar="JOB", help="Its id, or the beginning of it.")],
    as_json: AsJson = False,
) -> None:
    """Show a job: its targets, what it waits for, and every attempt with its target and what it cost."""
    with session(context).client() as client:
        wanted = job
        if not is_id(job):
            recent = client.pages("/api/llm-jobs", limit=RECENT)
            matching = [each["job_id"] for each in recent if each["job_id"].startswith(job)]
            if len(matching) != 1:
                raise NotFound(f"{len(matching)} of the newest {RECENT} jobs begin with {job}: toybox llm-jobs list")
            wanted = matching[0]
        found: dict[str, Any] = client.get(f"/api/llm-jobs/{wanted}")
    if as_json:
        print_json(found)
    else:
        show_job(found)
