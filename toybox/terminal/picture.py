"""A project drawn for a terminal: phases, agents and what they wait for, spending against its budgets."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, cast

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from toybox.terminal.output import dollars, moment, money, quantity, short, styled, symbol

Json = dict[str, Any]
BAR = 24
SHORTEST_DETAIL = 8
ENDED = ("completed", "failed", "cancelled", "archived")


def agents_of(project: Json) -> Iterator[Json]:
    """Every agent of an overview, phase by phase."""
    for phase in project["phases"]:
        yield from phase["agents"]


def part(view: Json, name: str) -> Json:
    """A part of a view that may be missing."""
    return cast("Json", view.get(name) or {})


def picture(project: Json, budgets: list[Json] | None, console: Console, *, clock: str = "") -> RenderableType:
    """The whole view, as wide as the console; budgets are left out where they are not known."""
    parts: list[RenderableType] = [
        _headline(project, clock),
        _phases(project, console),
        _money(project, budgets, console),
    ]
    parts += [_wait(named(each, budgets or [], project)) for each in project["waiting"]]
    if reason := why(project):
        parts.append(Text(reason, "red" if project["status"] == "failed" else "yellow"))
    return Group(*parts)


def why(project: Json) -> str:
    """Why a project is not running, where there is a reason."""
    status, reason = project["status"], project.get("reason")
    if status not in ("paused", "failed", "cancelled") or not reason:
        return ""
    agent = project.get("failed_agent")
    failed = next((each for each in agents_of(project) if each["name"] == agent), None)
    cause = part(failed, "failure") if failed else {}
    said = f"{status}: {str(reason).replace('_', ' ')}"
    return f"{said}: {agent}: {cause.get('reason', '')}".rstrip(": ") if agent else said


def _headline(project: Json, clock: str) -> Text:
    line = Text.assemble(
        (project["name"], "bold"), "  ", (short(project["id"]), "dim"), "  ", styled(project["status"])
    )
    if clock:
        line.append(f"  {clock}", "dim")
    return line


def _phases(project: Json, console: Console) -> Table:
    rows = [
        ("" if number else phase["name"], agent, money(agent["spent"]) if Decimal(str(agent["spent"])) else "")
        for phase in project["phases"]
        for number, agent in enumerate(phase["agents"])
    ]
    fixed = [max((len(text) for text in column), default=0) for column in zip(*_texts(rows), strict=True)]
    room = max(SHORTEST_DETAIL, console.width - sum(fixed) - 5)
    grid = Table.grid(padding=(0, 1, 0, 0))
    for style, justify in (("bold", "left"), ("", "left"), ("", "left"), ("dim", "left"), ("", "right")):
        grid.add_column(no_wrap=True, style=style, justify=justify)  # pyright: ignore[reportArgumentType]
    for title, agent, spent in rows:
        said = Text(detail(agent))
        said.truncate(room, overflow="ellipsis")
        grid.add_row(title, symbol(agent["status"], console), agent["name"], said, spent)
    return grid


def _texts(rows: list[tuple[str, Json, str]]) -> Iterator[tuple[str, str, str]]:
    """What has to be readable whole."""
    return ((title, str(agent["name"]), spent) for title, agent, spent in rows)


def detail(agent: Json) -> str:
    """What there is to say about an agent, besides its name and state."""
    attempt = f"attempt {agent['attempt']}" if agent["attempt"] > 1 else ""
    match agent["status"]:
        case "defined":
            said = f"after {', '.join(agent['depends_on'])}" if agent["depends_on"] else ""
        case "running":
            job = part(agent, "job").get("status")
            said = {"parked": "waits for budget", "retrying": "tries again soon", "queued": "in the queue"}.get(
                str(job), "asks its model"
            )
        case "waiting":
            waits = [f"{each['kind']} {each['name']}" for each in agent["waiting_for"]]
            said = f"waits for {', '.join(waits)}" if waits else "waits"
            if agent.get("retry_at"):
                said = f"tries again at {moment(agent['retry_at'])}"
        case "completed":
            said = str(part(agent, "asset").get("name") or "")
        case "failed":
            said = str(part(agent, "failure").get("reason") or "")
        case "skipped":
            said = f"because {agent['skipped_because']} failed"
        case _:
            said = ""
    return ", ".join(part for part in (said, attempt) if part)


def _money(project: Json, budgets: list[Json] | None, console: Console) -> RenderableType:
    if budgets is None:
        return Text(_with_held(f"spent {dollars(project['spent'])}", Decimal(str(project["held"]))), "dim")
    if not budgets:
        return Text(f"spent {dollars(project['spent'])}, no budget limits it", "dim")
    rows: list[tuple[str, tuple[Decimal, Decimal, Decimal], str]] = []
    for budget, limit in ((each, limit) for each in budgets for limit in each["limits"]):
        most, settled, held = (Decimal(str(limit[name])) for name in ("limit", "settled", "held"))
        unit = str(limit["unit"])
        of = dollars(settled) if unit == "usd" else f"{settled:,f}"
        line = _with_held(f"{of} of {quantity(most, unit)}", held, unit)
        rows.append((limit_of(budget, limit, project), (most, settled, held), line))
    room = console.width - max(len(scope) for scope, _, _ in rows) - max(len(line) for _, _, line in rows) - 3
    grid = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    for scope, figures, line in rows:
        grid.add_row(Text(scope, "dim"), _bar(*figures, max(4, min(BAR, room)), plain=console.options.ascii_only), line)
    return grid


def _with_held(line: str, held: Decimal, unit: str = "usd") -> str:
    return f"{line}, {dollars(held) if unit == 'usd' else f'{held:,f}'} held" if held else line


def limit_of(budget: Json, limit: Json, project: Json | None = None) -> str:
    """One limit of a budget: its scope, and its name where that says more than "money, for ever"."""
    scope = scope_of(budget, project)
    return scope if limit["name"] == "usd-lifetime" else f"{scope}: {limit['name']}"


def scope_of(budget: Json, project: Json | None = None) -> str:
    """What a budget covers, in names where they are known."""
    scope = cast("Json", budget["scope"])
    kind = str(scope["kind"])
    match kind:
        case "project":
            about = "" if project else short(scope["project_id"])
        case "phase":
            about = scope["phase"]
        case "agent":
            known = {each["id"]: each["name"] for each in agents_of(project)} if project else {}
            about = known.get(scope["agent_id"]) or short(scope["agent_id"])
        case "model":
            about = f"{scope['provider']}/{scope['model']}"
        case "provider":
            about = scope["provider"]
        case "key":
            about = short(scope["key_id"])
        case _:
            about = ""
    return f"{kind} {about}".rstrip()


def _bar(limit: Decimal, settled: Decimal, held: Decimal, width: int, *, plain: bool) -> Text:
    """Settled in green, held in yellow, the rest thin; red once nothing is left."""
    thick, thin = ("#", ".") if plain else ("━", "─")
    if limit <= 0:
        return Text(thick * width, "red")
    half = Decimal("0.5")
    spent = min(width, int(settled / limit * width + half))
    aside = min(width - spent, int(held / limit * width + half))
    colour = "red" if settled + held >= limit else "green"
    return Text.assemble((thick * spent, colour), (thick * aside, "yellow"), (thin * (width - spent - aside), "dim"))


def _wait(wait: Json) -> Text:
    match wait["kind"]:
        case "checkpoint":
            due = f" until {moment(wait['due_at'], seconds=False)}" if wait.get("due_at") else ""
            said = f"{wait['agent']} waits for a decision{due}: {wait['title']}"
        case "budget":
            who = wait.get("agent") or f"job {short(wait['job_id'])}"
            said = f"{who} waits for {'money' if wait['unit'] == 'usd' else 'tokens'}: {shortfall(wait)}"
        case _:
            who = wait.get("agent") or f"job {short(wait.get('job_id'))}"
            said = f"{who} tries again at {moment(wait['due_at'])}: {wait['reason']}"
    return Text(said, "yellow")


def named(wait: Json, budgets: Sequence[Json], project: Json) -> Json:
    """The wait, its budget called by names instead of ids where it is one of these."""
    budget = next((each for each in budgets if each["id"] == wait.get("budget_id")), None)
    return {**wait, "scope": scope_of(budget, project)} if budget else wait


def shortfall(wait: Json) -> str:
    """Why a job does not fit under a limit, in figures."""
    scope = "the project" if wait["scope"] == "project" else wait["scope"]
    unit = str(wait["unit"])
    limit, settled, held, requested = (quantity(wait[name], unit) for name in ("limit", "settled", "held", "requested"))
    named = "" if wait["name"] == "usd-lifetime" else f" ({wait['name']})"
    again = f"; it asks again at {moment(wait['retry_at'])}" if wait["retry_at"] else ""
    return (
        f"the budget of {scope}{named} is {limit}, of which {settled} {'is' if unit == 'usd' else 'are'} spent and "
        f"{held} held; the next call may {'cost' if unit == 'usd' else 'take'} {requested}{again}"
    )


def enough(wait: Json) -> Decimal:
    """The smallest limit, in whole cents or tokens, under which the parked call fits."""
    needed = sum((Decimal(str(wait[name])) for name in ("settled", "held", "requested")), Decimal(0))
    return needed.quantize(Decimal("0.01" if wait["unit"] == "usd" else "1"), rounding="ROUND_UP")
