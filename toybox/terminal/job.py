"""An LLM job on a terminal: what it waits for, where it may go, and every attempt with its target, end and cost."""

from typing import Any

from toybox.terminal.output import dollars, moment, money, out, short, show, styled, table

Json = dict[str, Any]


def show_job(job: Json) -> None:
    """Print it."""
    target, ways = _label(job["target"]), [_label(job), *map(_label, job["fallbacks"])]
    status = (
        job["status"] if not job["failure"] or job["status"] == "completed" else f"{job['status']}: {job['reason']}"
    )
    out().print(f"job {job['job_id']}  {status}")
    out().print(f"targets: {' → '.join(f'[{each}]' if each == target else each for each in ways)}")
    for wait in job["waiting_for"]:
        until = f" until {moment(wait['until'])}" if wait["until"] else ""
        because = f" ({wait['cause']})" if wait["cause"] else ""
        out().print(f"waits for {wait['kind']} {wait['name']}{because}{until}")
    if job["output"]:
        out().print(f"answered by {job['output']['model']} for {dollars(job['output']['cost'])}")
    made = table("ATTEMPT", "TARGET", "STATUS", "STARTED", "MS", "BOUND", "COST", "WHY NOT")
    rows = [
        (
            str(each["attempt"]),
            _label(each),
            styled(each["status"]),
            moment(each["started_at"]),
            str(each["total_ms"] or ""),
            money(each["bound"]),
            money(each["cost"]) if each["cost"] is not None else "",
            each["reason"] or "",
        )
        for each in job["attempts"]
    ]
    show(made, rows, "no attempt so far")


def show_jobs(jobs: list[Json]) -> None:
    """Print a list."""
    made = table("ID", "STATUS", "TARGET", "ATTEMPT", "QUEUED", "WAITS FOR")
    rows = [
        (
            short(each["job_id"]),
            styled(each["status"]),
            _label(each["target"]),
            f"{each['attempt']}/{each['max_attempts']}",
            moment(each["queued_at"]),
            ", ".join(f"{wait['kind']} {wait['name']}" for wait in each["waiting_for"]),
        )
        for each in jobs
    ]
    show(made, rows, "no jobs")


def _label(target: Json) -> str:
    return f"{target['provider']}/{target['model']}"
