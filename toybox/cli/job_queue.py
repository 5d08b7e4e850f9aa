"""`toybox llm-jobs`: who waits and for how long, what failed for good, putting it back into the queue."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from domain.errors import Refused
from toybox.cli.app import AsJson, Limit, given, session
from toybox.cli.llm_jobs import llm_jobs
from toybox.client import Client
from toybox.terminal.output import figures, is_id, moment, out, print_json, short, show, span, table

Json = dict[str, Any]
QUEUE, DEAD = "/api/llm-jobs/queue", "/api/llm-jobs/dead-letters"
Project = Annotated[str | None, typer.Option("--project", metavar="PROJECT", help="Of this project alone.")]
Provider = Annotated[str | None, typer.Option("--provider", help="Of this provider alone.")]
Model = Annotated[str | None, typer.Option("--model", help="Of this model alone.")]
Failure = Annotated[str | None, typer.Option("--failure", metavar="KIND", help="Failed like this: rate_limited.")]


@llm_jobs.command(epilog="Example: toybox llm-jobs queue")
def queue(context: typer.Context, as_json: AsJson = False) -> None:
    """Show who waits and for how long, and how many calls are under way of how many that may be."""
    with session(context).client() as client:
        found: Json = client.get(QUEUE)
        names = {} if as_json else _names(client, found["waiting"], found["slots"])
    if as_json:
        print_json(found)
        return
    depth = ", ".join(f"{found[each]} {each}" for each in _DEPTHS if found[each])
    if dead := found["dead_letters"]:
        depth = f"{depth}, " * bool(depth) + f"{dead} dead letter{'s' if dead != 1 else ''}"
    out().print(depth or "nothing waits and nothing runs")
    if found["waiting"]:
        made = table("PROJECT", "PROVIDER", figures("PRIORITY"), figures("JOBS"), figures("LATER"), figures("OLDEST"))
        show(made, [_waiting(each, names) for each in found["waiting"]], "")
    if found["slots"]:
        rows = [(_slot(each["name"], names), str(each["in_flight"]), _most(each["limit"])) for each in found["slots"]]
        show(table("SLOTS OF", figures("TAKEN"), figures("OF")), rows, "")


_DEPTHS = ("queued", "running", "parked", "retrying")


def _waiting(each: Json, names: dict[str, str]) -> tuple[str, ...]:
    project = names.get(str(each["project_id"]), short(each["project_id"])) or "none"
    numbers = (str(each["priority"]), str(each["jobs"]), str(each["delayed"] or ""))
    return (project, each["provider"], *numbers, _age(each["oldest_at"]))


def _age(since: str | None) -> str:
    return span(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())) if since else ""  # noqa: TID251 -- shown to a person


def _slot(name: str, names: dict[str, str]) -> str:
    kind, _, what = name.partition(" ")
    return f"{kind} {names.get(what) or (short(what) if is_id(what) else what)}"


def _most(limit: int | None) -> str:
    return "any" if limit is None else str(limit)


def _names(client: Client, *lists: list[Json]) -> dict[str, str]:
    """Of projects that are mentioned."""
    said = {
        str(each.get("project_id") or str(each.get("name", "")).partition(" ")[2]) for some in lists for each in some
    }
    found = client.pages("/api/projects", limit=1000) if said else iter(())
    return {each["id"]: each["name"] for each in found if each["id"] in said}


@llm_jobs.command(name="dead-letters", epilog="Example: toybox llm-jobs dead-letters --failure price_unknown")
def dead_letters(
    context: typer.Context,
    project: Project = None,
    provider: Provider = None,
    model: Model = None,
    failure: Failure = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs that failed for good and that nobody goes on with. Agents make new jobs: retry the agent instead."""
    with session(context).client() as client:
        wanted = _wanted(client, project, provider, model, failure)
        found = list(client.pages(DEAD, limit=limit, **wanted))
    if as_json:
        print_json(found)
        return
    made = table("ID", "PROJECT", "MODEL", "SINCE", figures("TRIES"), "FAILURE", "REASON")
    rows = [
        (
            short(each["job_id"]),
            short(each["project_id"]) or "none",
            f"{each['provider']}/{each['model']}",
            moment(each["dead_lettered_at"], seconds=False),
            str(each["attempt"]),
            each["failure"] or "",
            each["reason"] or "",
        )
        for each in found
    ]
    show(made, rows, "no dead letters")


@llm_jobs.command(epilog="Example: toybox llm-jobs requeue 6f0b2c5e, or --all --failure provider_key_missing")
def requeue(  # noqa: PLR0913, PLR0917 -- one option each
    context: typer.Context,
    jobs: Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="Ids or beginnings of ids.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that the other options fit, the oldest first.")] = False,
    project: Project = None,
    provider: Provider = None,
    model: Model = None,
    failure: Failure = None,
    attempts: Annotated[int | None, typer.Option("--attempts", min=1, max=10, help="How many more for each.")] = None,
    within: Annotated[
        int | None, typer.Option("--within", metavar="SECONDS", min=1, help="Fail again if it has not started by then.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="With --all: how many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back into the queue; their attempts are numbered on."""
    if bool(jobs) == all_:
        raise Refused("name the jobs, or say --all", code="what_to_requeue")
    again = given(attempts=attempts, seconds=within)
    with session(context).client() as client:
        wanted = _wanted(client, project, provider, model, failure)
        if all_:
            done: list[str] = client.post("/api/llm-jobs/requeue", given(**wanted, **again, limit=limit))["job_ids"]
        else:
            done = [_one(client, each) for each in jobs or ()]
            for each in done:
                client.post(f"/api/llm-jobs/{each}/requeue", again)
    if as_json:
        print_json([{"job_id": each} for each in done])
    else:
        out().print(f"{len(done)} back in the queue: {', '.join(short(each) for each in done)}")


def _wanted(
    client: Client, project: str | None, provider: str | None, model: str | None, failure: str | None
) -> dict[str, str | None]:
    from toybox.terminal.naming import project_id

    found = project_id(client, project) if project else None
    return {"project_id": found, "provider": provider, "model": model, "failure": failure}


def _one(client: Client, said: str) -> str:
    from toybox.terminal.naming import one_of

    if is_id(said):
        return said
    dead = [{"id": each["job_id"]} for each in client.pages(DEAD, limit=2000)]
    return str(one_of(dead, said, "dead letter", "toybox llm-jobs dead-letters")["id"])
