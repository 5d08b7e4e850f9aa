"""Costs explained on a terminal: the tree with its arithmetic, and the proof that every part adds up."""

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

from domain.errors import NotFound
from domain.values import MONEY_DIGITS, ZERO, money_text
from toybox.client import Client
from toybox.terminal.naming import job_id, project_id
from toybox.terminal.output import is_id, short

Json = dict[str, Any]
_QUANTUM: Final = Decimal(1).scaleb(-MONEY_DIGITS)
_EXACT: Final = Context(prec=60)
SCOPES: Final = ("attempt", "job", "agent", "project")


def found_tree(client: Client, said: str) -> Json:
    """The tree of whatever this id or name is."""
    if not is_id(said):
        return client.get("/api/cost/tree", **_meant(client, said))
    for scope in SCOPES:
        try:
            return client.get("/api/cost/tree", **{f"{scope}_id": said})
        except NotFound:
            continue
    raise NotFound(f"nothing was spent on {said}: give the id of an attempt, a job, an agent or a project")


def _meant(client: Client, said: str) -> dict[str, str]:
    """A project by name or the beginning of its id, else a job by that."""
    try:
        return {"project_id": project_id(client, said)}
    except NotFound as missing:
        try:
            return {"job_id": job_id(client, said)}
        except NotFound:
            raise missing from None


def lines_of_tree(tree: Json) -> Iterator[str]:
    """The tree as text, one line for each part and each line of a bill."""
    calls = "1 attempt" if tree["attempts"] == 1 else f"{tree['attempts']} attempts"
    yield f"{tree['scope']} {tree['name'] or short(tree['id'])}: {tree['amount']} USD, {calls}"
    for each in tree["parts"]:
        yield from _lines(each, "  ")
    if tree["folded"]:
        yield "there is too much to show each attempt: explain one of its agents"


def _lines(node: Json, space: str) -> Iterator[str]:
    detail: Json | None = node["detail"]
    name = node["name"] or (str(node["run"]) if node["kind"] == "run" else short(node["id"]) or "outside of projects")
    said = f"{space}{node['kind']} {name}: {node['amount']} USD"
    if detail:
        tier = f" at tier {detail['tier']}" if detail["tier"] else ""
        said += f", {detail['provider']}/{detail['model']}{tier}, event {detail['position']}"
        said += f", corrected by event {detail['corrected_at']}" if detail["corrected_at"] else ""
        said += f" (estimated: {detail['problem']})" if detail["estimated"] else ""
    yield said
    for line in detail["lines"] if detail else ():
        yield (
            f"{space}  {line['bucket']}: {line['quantity']:,} x {line['rate']} / {line['per']:,} = {line['amount']}"
            f"  [{line['rate_id']}; card {line['rate_id'].partition('/')[0]}]"
        )
    for each in node["parts"]:
        yield from _lines(each, space + "  ")


def wrong(answer: Json) -> list[str]:
    """What does not add up, with the difference; empty when every line, part and total does."""
    tree: Json = answer["tree"]
    found = [problem for each in tree["parts"] for problem in _wrong(each)]
    parts = sum((Decimal(each["amount"]) for each in tree["parts"]), ZERO)
    found += _unequal(f"{tree['scope']} {short(tree['id'])}: its parts", parts, Decimal(tree["amount"]))
    if answer["reported"] is not None:
        found += _unequal("what reports say", Decimal(answer["reported"]), Decimal(tree["amount"]))
    return found


def _wrong(node: Json) -> Iterator[str]:
    amount, name = Decimal(node["amount"]), f"{node['kind']} {node['name'] or short(node['id']) or node['run']}"
    detail: Json | None = node["detail"]
    if detail:
        for line in detail["lines"]:
            product = _EXACT.multiply(Decimal(line["quantity"]), Decimal(line["rate"]))
            exact = _EXACT.divide(product, Decimal(line["per"])).quantize(_QUANTUM, ROUND_HALF_UP, _EXACT)
            yield from _unequal(f"{name}, {line['bucket']}: quantity x rate", exact, Decimal(line["amount"]))
        if not detail["estimated"]:
            lines = sum((Decimal(line["amount"]) for line in detail["lines"]), ZERO)
            yield from _unequal(f"{name}: its lines", lines, amount)
    elif node["parts"]:
        yield from _unequal(
            f"{name}: its parts", sum((Decimal(each["amount"]) for each in node["parts"]), ZERO), amount
        )
    for each in node["parts"]:
        yield from _wrong(each)


def _unequal(what: str, made: Decimal, said: Decimal) -> list[str]:
    if made == said:
        return []
    return [
        f"{what} come to {money_text(made)} USD, not {money_text(said)}: the difference is {money_text(made - said)}"
    ]
