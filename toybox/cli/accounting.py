"""`toybox accounting`: what is not certain yet, what a vendor's export says, and closing months."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from toybox.cli.app import OPERATE, AsJson, Limit, app, session
from toybox.terminal.failures import Exit
from toybox.terminal.output import dollars, figures, moment, money, out, print_json, short, show, table

Json = dict[str, Any]
accounting = typer.Typer(
    invoke_without_command=True,
    help="Accounting: estimates, reconciliation with vendors' exports, closing months.",
)
app.add_typer(accounting, name="accounting", rich_help_panel=OPERATE)
ROWS = 200
"""Lines of an export in one request."""


@accounting.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Accounting: without a command, list what is not certain yet."""
    if context.invoked_subcommand is None:
        estimates(context, as_json=as_json)


@accounting.command(epilog="Example: toybox accounting estimates --provider openai")
def estimates(
    context: typer.Context,
    provider: Annotated[str | None, typer.Option("--provider", help="Of this one alone.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List attempts that stand at the most they can have cost, until somebody says what they used."""
    with session(context).client() as client:
        found = list(client.pages("/api/cost/estimates", limit=limit, provider=provider))
    if as_json:
        print_json(found)
        return
    made = table("ATTEMPT", "RESPONSE", "MODEL", "RECORDED", figures("STANDS AT"), "USAGE", "BECAUSE")
    rows = [
        (
            each["attempt_id"],
            each["response_id"] or "",
            f"{each['provider']}/{each['model']}",
            moment(each["recorded_at"], seconds=False),
            money(each["amount"]),
            "counted" if each["counted"] else "unknown",
            each["problem"] or "",
        )
        for each in found
    ]
    show(made, rows, "no estimates: every cost is made of what was counted")


@accounting.command(epilog="Example: toybox accounting usage 1a2b3c4d-… 1 --input 1200 --output 340")
def usage(  # noqa: PLR0913, PLR0917 -- one option each
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="Its id, or the beginning of it.")],
    attempt: Annotated[int, typer.Argument(metavar="ATTEMPT", min=1, help="Its number within the job.")],
    read: Annotated[int, typer.Option("--input", min=0, help="All tokens that were read, caches included.")],
    written: Annotated[int, typer.Option("--output", min=0, help="All tokens that were written.")],
    part: Annotated[
        list[str] | None, typer.Option("--part", metavar="BUCKET=COUNT", help="A part: input_cache_read=900.")
    ] = None,
    tier: Annotated[str, typer.Option("--tier", help="At which it was served.")] = "standard",
    model: Annotated[str | None, typer.Option("--model", help="That answered, if another one did.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what an attempt used that stands at an estimate; its price and its budgets follow."""
    counts = dict(_part(each) for each in part or ())
    body: Json = {"attempt": attempt, "input_tokens": read, "output_tokens": written, "counts": counts, "tier": tier}
    from toybox.terminal.naming import job_id

    with session(context).client() as client:
        answer = client.post(f"/api/llm-jobs/{job_id(client, job)}/usage", body | ({"model": model} if model else {}))
    if as_json:
        print_json(answer)
    else:
        out().print(f"attempt {attempt} of job {short(job)} is counted")


def _part(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if not count.isdecimal():
        raise typer.BadParameter(f"{text!r}: write BUCKET=COUNT, for instance input_cache_read=900")
    return name, int(count)


@accounting.command(epilog="Example: toybox accounting reconcile usage-2026-11.csv --dry-run")
def reconcile(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a heading, or JSON lines.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Match a vendor's usage export with attempts: estimates take its counts, everything else is compared.

    Exit code 1 when a line matches nothing, contradicts what was counted, or is refused.
    """
    from toybox.importing import export_rows

    items: list[Json] = []
    rows = list(export_rows(file))
    with session(context).client() as client:
        for some in _batches(rows):
            answer: Json = client.post("/api/cost/reconciliations", {"rows": some, "dry_run": dry_run})
            items += answer["items"]
    counts = Counter(str(each["outcome"]) for each in items)
    if as_json:
        print_json([*items, {"type": "total", **counts}])
    else:
        made = table("LINE", "OUTCOME", "ATTEMPT", figures("RECORDED"), figures("TOLD"), "WHAT")
        rows = [
            (
                str(each["row"]), each["outcome"], short(each["attempt_id"]),
                money(each["recorded"]) if each["recorded"] else "", money(each["told"]) if each["told"] else "",
                each["said"],
            )
            for each in items
            if each["outcome"] != "agrees"
        ]  # fmt: skip
        show(made, rows, "every line agrees with what was counted here" if items else "the file holds no lines")
        out().print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(counts.items())))
    if counts["drift"] or counts["unmatched"] or counts["refused"]:
        raise typer.Exit(Exit.FAILED)


def _batches(rows: list[Json]) -> Iterator[list[Json]]:
    return (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))


@accounting.command(name="close-month", epilog="Example: toybox accounting close-month 2026-10")
def close_month(
    context: typer.Context,
    month: Annotated[str, typer.Argument(metavar="MONTH", help="As 2026-10; all before it are closed as well.")],
    as_json: AsJson = False,
) -> None:
    """Close a month for good: its report never changes again; later differences count when they are made."""
    with session(context).client() as client:
        answer = client.post("/api/cost/closed-months", {"month": month})
    if as_json:
        print_json(answer)
    else:
        out().print(f"{month} and all months before it are closed")


@accounting.command(epilog="Example: toybox accounting changes --month 2026-12")
def changes(
    context: typer.Context,
    month: Annotated[str | None, typer.Option("--month", help="In which they count: 2026-12.")] = None,
    card: Annotated[str | None, typer.Option("--card", help="Re-rated by this card.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List costs that were changed after they had been recorded: before, after, why, and where it counts."""
    with session(context).client() as client:
        found = list(client.pages("/api/prices/changes", limit=limit, month=month, card=card))
        closed: Json = client.get("/api/cost/closed-months")
    if as_json:
        print_json(found)
        return
    made = table("ATTEMPT", "MODEL", "OF", "COUNTS ON", figures("BEFORE"), figures("AFTER"), "KIND", "CARD", "BY")
    rows = [
        (
            short(each["attempt_id"]), f"{each['provider']}/{each['model']}", each["recorded_on"], each["booked_on"],
            money(each["previous"]), money(each["amount"]), each["kind"], each["card"] or "", each["actor"],
        )
        for each in found
    ]  # fmt: skip
    show(made, rows, "nothing was changed after it had been recorded")
    if found:
        total = sum(Decimal(each["delta"]) for each in found)
        out().print(f"{dollars(total)} in all", style="dim")
    if closed["closed_through"]:
        out().print(f"closed through {closed['closed_through']}", style="dim")
