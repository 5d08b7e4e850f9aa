"""`toybox prices`: what models cost, on which day and why; importing, approving, retiring cards; re-rating."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from toybox.cli.app import OPERATE, AsJson, Limit, app, given, session
from toybox.client import Client
from toybox.terminal.failures import Exit
from toybox.terminal.output import dollars, err, figures, moment, money, out, print_json, short, show, styled, table

Json = dict[str, Any]
prices = typer.Typer(
    invoke_without_command=True, help="Prices of models: list, show, import, approve, retire, check, rerate."
)
app.add_typer(prices, name="prices", rich_help_panel=OPERATE)
Card = Annotated[str, typer.Argument(metavar="CARD", help="Its name: openai@2026-11-01, or openai@2026-11-01.1.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A day in UTC; today unless named.")]
MARKS = {"problem": "x", "warning": "!", "note": "."}
PAGE = 100


@prices.callback()
def default(context: typer.Context, as_json: AsJson = False) -> None:
    """Prices of models: without a command, list those in force."""
    if context.invoked_subcommand is None:
        list_(context, as_json=as_json)


@prices.command(name="list", epilog="Example: toybox prices list openai --at 2026-10-01")
def list_(
    context: typer.Context,
    provider: Annotated[str | None, typer.Argument(metavar="[PROVIDER]", help="Of this one alone.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="A part of the model's name.")] = None,
    at: Day = None,
    every: Annotated[bool, typer.Option("--all", help="Also what is not in force on that day.")] = False,
    limit: Limit = 500,
    as_json: AsJson = False,
) -> None:
    """List what each model costs: input and output at the default tier; `show` has every bucket."""
    with session(context).client() as client:
        wanted = {"provider": provider, "model": model, "at": _day(at), "every": "true" if every else None}
        found = list(client.pages("/api/prices", limit=limit, **wanted))
    if as_json:
        print_json(found)
        return
    made = table("PROVIDER", "MODEL", figures("INPUT"), figures("OUTPUT"), "CARD", "ORIGIN", "FROM", "IN FORCE")
    rows = [
        (
            each["provider"],
            each["model"],
            _rate(each, "input"),
            _rate(each, "output"),
            each["card"],
            each["origin"],
            each["effective_from"],
            "yes" if each["in_force"] else f"until {each['until']}" if each["until"] else "no",
        )
        for each in found
    ]
    show(made, rows, "no prices: toybox prices import FILE brings a card")


def _rate(each: Json, bucket: str) -> str:
    """The figure of the default tier, per million tokens."""
    rates = each["prices"][0]["rates"]
    return next((rate["usd"] for rate in rates if rate["bucket"] == bucket), "-")


@prices.command(name="show", epilog="Example: toybox prices show openai/gpt-6-sol --at 2026-11-15")
def show_(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="PROVIDER/MODEL", help="As a job names it.")],
    at: Day = None,
    as_json: AsJson = False,
) -> None:
    """Show every rate of a model on a day, which card it is from and why, and the cards before and after."""
    provider, _, name = model.partition("/")
    if not name:
        raise typer.BadParameter("write PROVIDER/MODEL, for instance openai/gpt-6-sol")
    with session(context).client() as client:
        found: Json = client.get("/api/prices/quote", provider=provider, model=name, at=_day(at))
    if as_json:
        print_json(found)
        return
    out().print(f"{provider}/{name} on {found['at']}: {found['why']}", soft_wrap=True)
    if found["applies"]:
        made = table("CONDITIONS", "BUCKET", figures("USD"), "UNIT")
        rows = [
            (price["when"], rate["bucket"], rate["usd"], rate["unit"])
            for price in found["applies"]["prices"]
            for rate in price["rates"]
        ]
        show(made, rows, "it has no rates")
        out().print(f"source: {found['applies']['source']}", style="dim", soft_wrap=True)
    if len(found["history"]) > 1:
        made = table("CARD", "MODEL", "ORIGIN", "FROM", "UNTIL", figures("INPUT"), figures("OUTPUT"), "IN FORCE")
        rows = [
            (
                each["card"], each["model"], each["origin"], each["effective_from"], each["until"] or "",
                _rate(each, "input"), _rate(each, "output"), "yes" if each["in_force"] else "",
            )
            for each in found["history"]
        ]  # fmt: skip
        show(made, rows, "")


@prices.command(name="cards", epilog="Example: toybox prices cards")
def cards(context: typer.Context, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List imported cards: who brought them, who approved them, what became of them."""
    with session(context).client() as client:
        found = list(client.pages("/api/price-cards", limit=limit))
    if as_json:
        print_json(found)
        return
    made = table("CARD", "STATUS", "FROM", "MODELS", "IMPORTED", "BY", "APPROVED", "BY", "RETIRED FROM")
    rows = [
        (
            each["name"],
            styled(each["status"]),
            each["effective_from"],
            ", ".join(model["model"] for model in each["card"]["models"]),
            moment(each["imported_at"], seconds=False),
            each["imported_by"],
            moment(each["approved_at"], seconds=False),
            each["approved_by"] or "",
            each["retired_from"] or "",
        )
        for each in found
    ]
    show(made, rows, "no card was imported: toybox prices list shows those of the release")


@prices.command(name="import", epilog="Example: toybox prices import acme.json")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A price card (docs/how-to/prices.md shows one).")],
    reaches_back: Annotated[
        bool, typer.Option("--reaches-back", help="It is meant for days of months that are closed.")
    ] = False,
    approve_too: Annotated[bool, typer.Option("--approve", help="Approve it as well, where you may.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a price card. It prices nothing until it is approved."""
    from toybox.importing import json_of

    card = json_of(file)
    with session(context).client() as client:
        answer: Json = client.post("/api/price-cards", {"card": card, "reaches_back": reaches_back})
        name = answer["name"]
        if approve_too:
            client.post(f"/api/price-cards/{name}/approve")
        view: Json = client.get(f"/api/price-cards/{name}")
    called = session(context).called
    if as_json:
        print_json(view)
    elif view["status"] == "imported":
        out().print(f"card {name} is imported and prices nothing yet: {called} prices approve {name}", soft_wrap=True)
    else:
        _in_force(name, called)


def _in_force(name: str, called: str) -> None:
    out().print(f"card {name} is in force", soft_wrap=True)
    out().print(f"what was priced before keeps its price: {called} prices rerate --card {name} --dry-run", style="dim")


@prices.command(epilog="Example: toybox prices approve acme@2026-11-21")
def approve(context: typer.Context, card: Card, as_json: AsJson = False) -> None:
    """Let a card price what is asked from now on. Jobs that were denied for want of it can be queued again."""
    with session(context).client() as client:
        answer = client.post(f"/api/price-cards/{card}/approve")
    if as_json:
        print_json(answer)
    else:
        _in_force(card, session(context).called)


@prices.command(epilog="Example: toybox prices retire acme@2026-11-21 --from 2026-12-01")
def retire(
    context: typer.Context,
    card: Card,
    from_day: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day without it; today.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Use a card no longer from a day on: the one before it counts again, or the price is unknown."""
    with session(context).client() as client:
        answer = client.post(f"/api/price-cards/{card}/retire", {"from_day": _day(from_day)})
    if as_json:
        print_json(answer)
    else:
        out().print(f"card {card} is used no longer from {_day(from_day) or 'today'} on")


@prices.command(epilog="Example: toybox prices withdraw acme@2026-11-21")
def withdraw(context: typer.Context, card: Card, as_json: AsJson = False) -> None:
    """Take back a card that nobody has approved."""
    with session(context).client() as client:
        answer = client.post(f"/api/price-cards/{card}/withdraw")
    if as_json:
        print_json(answer)
    else:
        out().print(f"card {card} is withdrawn")


@prices.command(epilog="Example: toybox prices check --older-than 60")
def check(
    context: typer.Context,
    older_than: Annotated[int, typer.Option("--older-than", metavar="DAYS", min=1, help="Cards older than this.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Compare the models in use with the cards. Exit code 1 when one of them has no price."""
    with session(context).client() as client:
        found: Json = client.get("/api/prices/check", max_age_days=older_than)
    if as_json:
        print_json(found["items"])
    else:
        for each in found["items"]:
            out().print(f"{MARKS[each['level']]} {each['said']}", soft_wrap=True)
            if each["fix"]:
                out().print(f"  fix: {each['fix']}", style="dim", soft_wrap=True)
        if not found["items"]:
            out().print(f"every one of {found['models']} models in use has a price")
    if any(each["level"] == "problem" for each in found["items"]):
        raise typer.Exit(Exit.FAILED)


@prices.command(epilog="Example: toybox prices rerate --card openai@2026-11-01.1 --dry-run")
def rerate(
    context: typer.Context,
    card: Annotated[str, typer.Option("--card", metavar="CARD", help="Whose prices came, or went.")],
    from_day: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Attempts priced from this day on.")
    ] = None,
    to_day: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="And up to this day.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="In one word, for the record.")] = "card_changed",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Price past attempts as the cards say now: before and after per project and model. A repeat changes nothing more.

    Where the month of an attempt is closed, the difference counts today. It may be interrupted at any moment: what is
    done stays done, and the same command does the rest.
    """
    body = given(card=card, from_day=_day(from_day), to_day=_day(to_day), reason=reason, dry_run=dry_run)
    with session(context).client() as client:
        pages = list(_progress(_pages(client, body), quiet=as_json))
        names = {each["id"]: each["name"] for each in client.pages("/api/projects", limit=1000)}
    from toybox.importing import summed

    told = summed(pages)
    if as_json:
        print_json(told)
        return
    made = table("PROJECT", "MODEL", figures("ATTEMPTS"), figures("BEFORE"), figures("AFTER"), figures("DELTA"))
    rows = [
        (
            names.get(each["project_id"], short(each["project_id"]) or "outside of projects"),
            f"{each['provider']}/{each['model']}",
            str(each["attempts"]),
            *(money(each[of]) for of in ("before", "after", "delta")),
        )
        for each in told["items"]
    ]
    if len(rows) > 1:
        total = (money(told[of]) for of in ("before", "after", "delta"))
        rows.append(("total", "", str(told["changed"]), *total))
    show(made, rows, f"nothing {'would change' if dry_run else 'had to be changed'}")
    verb = "would be" if dry_run else "are"
    out().print(f"{told['changed']} of {told['examined']} attempts {verb} re-rated by {dollars(told['delta'])}")
    for kind, said in (
        ("unchanged", "have this price already"),
        ("not_of_this_card", "are priced by other cards"),
        ("no_usage", "are estimates without usage: toybox accounting estimates"),
        ("charged_by_provider", "are billed by what their provider charged"),
        ("price_unknown", "have no price in any card: toybox prices check"),
    ):
        if told[kind]:
            out().print(f"{told[kind]} {said}", style="dim")


def _pages(client: Client, body: Json) -> Iterator[Json]:
    cursor: str | None = None
    while True:
        page: Json = client.post("/api/prices/rerate", body, cursor=cursor, limit=PAGE)
        yield page
        cursor = page["next"]
        if cursor is None:
            return


def _progress(pages: Iterator[Json], *, quiet: bool) -> Iterator[Json]:
    """The pages as they come, with a count for whoever waits at a terminal."""
    seen = 0
    for page in pages:
        seen += page["examined"]
        if page["next"] and not quiet and err().is_terminal:
            err().print(f"{seen} attempts looked at", end="\r")
        yield page


def _day(at: datetime | None) -> str | None:
    return f"{at:%Y-%m-%d}" if at else None
