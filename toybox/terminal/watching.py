"""Watches a project until it ends, asks for decisions on the way, and notices when only money could move it."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from rich.live import Live
from rich.text import Text

from adapters.clock import now
from domain.errors import Unavailable
from toybox.client import Client, FeedEvent
from toybox.terminal.following import PATIENCE, PAUSE, Feed
from toybox.terminal.output import err, out, print_json, span, styled
from toybox.terminal.picture import ENDED, agents_of, detail, part, picture

Json = dict[str, Any]
TICK = 0.2
LOOK_AGAIN = 5.0
"""Seconds after which the project is read although no event came."""
CERTAIN = 0.6
"""Seconds for which nothing may have moved before a project counts as stuck."""
ENDINGS = ("project.completed", "project.failed", "project.cancelled", "project.archived")


@dataclass(slots=True)
class Standing:
    """What is known of the project now."""

    project: Json
    budgets: list[Json]
    position: int

    @property
    def is_ended(self) -> bool:
        return self.project["status"] in ENDED

    @property
    def reviews(self) -> list[Json]:
        return [each for each in self.project["waiting"] if each["kind"] == "checkpoint"]

    @property
    def shortages(self) -> list[Json]:
        return [each for each in self.project["waiting"] if each["kind"] == "budget"]

    @property
    def is_stuck(self) -> bool:
        """Whether nothing but more money can move it."""
        if self.project["status"] != "running" or not self.shortages or self.reviews:
            return False
        at_work = [each for each in agents_of(self.project) if each["status"] in ("ready", "running", "waiting")]
        return all(part(each, "job").get("status") == "parked" for each in at_work)


class View(Protocol):
    """How a project is shown while it runs."""

    def show(self, standing: Standing) -> None:
        """It changed, or time passed."""
        ...

    def hear(self, events: Sequence[FeedEvent]) -> None:
        """These events happened."""
        ...

    def aside(self) -> AbstractContextManager[None]:
        """Make room for a question."""
        ...


def look(client: Client, project_id: str, position: int | None = None) -> Standing:
    """Read the project and its budgets, not older than the position."""
    answer = client.ask("GET", f"/api/projects/{project_id}", params={"min_position": position, "timeout_ms": 10_000})
    budgets = list(client.pages("/api/budgets", project_id=project_id, limit=50))
    waits = (each["budget_id"] for each in answer.body["waiting"] if each["kind"] == "budget")
    for others in dict.fromkeys(waits):  # of everything, of a provider: they are no budget of the project
        if others not in {each["id"] for each in budgets}:
            budgets.append(client.get(f"/api/budgets/{others}", min_position=answer.position))
    return Standing(answer.body, budgets, answer.position or 0)


def patiently(client: Client, project_id: str, view: "View", position: int | None) -> Standing:
    """The same, through a restart of the server."""
    give_up, told = time.monotonic() + PATIENCE, False
    while True:
        try:
            return look(client, project_id, position)
        except Unavailable as away:
            if time.monotonic() > give_up:
                raise
            if not told:
                with view.aside():
                    err().print(f"the server is away, waiting for it ({away.code})", style="yellow")
            told = True
            time.sleep(PAUSE)


def watch(
    client: Client, project_id: str, view: View, review: Callable[[Json], None] | None, *, after: int | None = None
) -> Standing:
    """Until the project ends or is stuck; each checkpoint is offered to `review` once."""
    offered: set[str] = set()
    standing = patiently(client, project_id, view, after)
    heard = standing.position if after is None else after
    last = ENDINGS[0] if standing.is_ended and after is None else ""
    with Feed(client, after=heard, project_id=project_id) as feed:
        looked = moved = time.monotonic()
        while True:
            view.show(standing)
            if standing.is_ended:
                _drain(feed, view, last)
                return standing
            if standing.is_stuck and time.monotonic() - moved > CERTAIN:
                return standing
            if review:
                for wait in standing.reviews:
                    if wait["checkpoint_id"] not in offered:
                        offered.add(wait["checkpoint_id"])
                        with view.aside():
                            review(wait)
            events = list(feed.waiting(TICK))
            if events:
                view.hear(events)
                heard = max(heard, *(int(each.id) for each in events if each.id.isdigit()))
                last, moved = str(events[-1].data["type"]), time.monotonic()
            if events or time.monotonic() - looked > LOOK_AGAIN:
                standing, looked = patiently(client, project_id, view, heard), time.monotonic()


def _drain(feed: Feed, view: View, last: str) -> None:
    """What the view shows already, up to the event that ended the project: the feed may be a moment behind."""
    deadline = time.monotonic() + 2
    while last not in ENDINGS and time.monotonic() < deadline:
        for each in feed.waiting(TICK):
            view.hear([each])
            last = str(each.data["type"])


def clock_of(project: Json) -> str:
    """How long the project has run, by its own instants."""
    from datetime import datetime

    if not project.get("started_at"):
        return ""
    end = datetime.fromisoformat(project["ended_at"]) if project.get("ended_at") else now()
    return span(max(0.0, (end - datetime.fromisoformat(project["started_at"])).total_seconds()))


@dataclass(slots=True)
class LiveView:
    """Redrawn in place on a terminal."""

    live: Live = field(default_factory=lambda: Live(console=out(), auto_refresh=False, transient=True))
    last: Standing | None = None

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last picture on the screen."""
        self.live.stop()
        if self.last:
            out().print(self._picture(self.last))

    def show(self, standing: Standing) -> None:
        self.last = standing
        self.live.update(self._picture(standing), refresh=True)

    def hear(self, events: Sequence[FeedEvent]) -> None:
        """The picture says it."""

    @contextmanager
    def aside(self) -> Generator[None]:
        self.live.stop()
        yield
        self.live.start()

    def _picture(self, standing: Standing) -> Any:
        return picture(standing.project, standing.budgets, out(), clock=clock_of(standing.project))


@dataclass(slots=True)
class LineView:
    """A line for each change, where nothing can be redrawn."""

    agents: dict[str, str] = field(default_factory=dict[str, str])
    status: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put away."""

    def show(self, standing: Standing) -> None:
        project, passed = standing.project, clock_of(standing.project)
        for agent in agents_of(project):
            said = f"{agent['status']}  {detail(agent)}".rstrip()
            before, self.agents[agent["id"]] = self.agents.get(agent["id"], ""), said
            if said != before and (before or agent["status"] != "defined"):
                line = Text(f"{passed:>7}  {agent['name']:<20}  ").append(styled(agent["status"]))
                out().print(line.append(f"  {detail(agent)}" if detail(agent) else "", "dim"))
        if project["status"] != self.status:
            self.status = project["status"]
            out().print(Text(f"{passed:>7}  {project['name']:<20}  ").append(styled(self.status)))

    def hear(self, events: Sequence[FeedEvent]) -> None:
        """Changes are told as they are seen."""

    @contextmanager
    def aside(self) -> Generator[None]:
        yield


@dataclass(slots=True)
class JsonView:
    """Each event as one line of JSON."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put away."""

    def show(self, standing: Standing) -> None:
        """Events say it."""

    def hear(self, events: Sequence[FeedEvent]) -> None:
        print_json([each.data for each in events])

    @contextmanager
    def aside(self) -> Generator[None]:
        yield


def view_for(*, as_json: bool) -> LiveView | LineView | JsonView:
    """The view that fits where the output goes."""
    if as_json:
        return JsonView()
    return LiveView() if out().is_terminal else LineView()
