"""Finds what a person means: a project, budget, checkpoint or key by its id, the beginning of it, or a name."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from domain.errors import Conflict, NotFound
from toybox.client import Client
from toybox.terminal.output import is_id, short

Json = dict[str, Any]
SHORTEST = 4
"""Characters of an id that are enough to look by."""
RECENT_JOBS = 1_000
LOOKED_AT = 2000
"""How many of the newest are searched for the beginning of an id."""


def project_id(client: Client, said: str) -> str:
    """The project's id; of several with the same name, the newest that is still going on, else the newest."""
    if is_id(said):
        return said
    found = list(client.pages("/api/projects", limit=LOOKED_AT))
    by_id = _beginning(found, said)
    if by_id:
        return _only(by_id, said, "project", lambda each: f"{short(each['id'])} {each['name']} ({each['status']})")
    named = [each for each in found if each["name"] == said]
    if not named:
        near = get_close_matches(said, {each["name"] for each in found}, 2)
        hint = f"did you mean {' or '.join(near)}?" if near else _too_short(said)
        raise NotFound(f"there is no project {said}: {hint or 'toybox projects lists them'}")
    return next((each for each in named if each["status"] in ("running", "paused")), named[0])["id"]


def job_id(client: Client, said: str) -> str:
    """The job's id; its beginning will do for the newest ones."""
    if is_id(said):
        return str(UUID(said))
    jobs = client.pages("/api/llm-jobs", limit=RECENT_JOBS)
    return str(one_of(({**each, "id": each["job_id"]} for each in jobs), said, "job", "toybox llm-jobs")["id"])


def one_of(found: Iterable[Json], said: str, what: str, lister: str) -> Json:
    """The one thing whose id is or begins with what was said."""
    matching = _beginning(list(found), said)
    if not matching:
        raise NotFound(f"there is no {what} {said}: {_too_short(said) or f'{lister} lists them'}")
    _only(matching, said, what, lambda each: str(each["id"]))
    return matching[0]


def _beginning(found: list[Json], said: str) -> list[Json]:
    return [each for each in found if len(said) >= SHORTEST and str(each["id"]).startswith(said.lower())]


def _too_short(said: str) -> str:
    digits = set(said.lower()) <= set("0123456789abcdef")
    return f"give at least {SHORTEST} characters of an id" if digits and len(said) < SHORTEST else ""


def _only(matching: list[Json], said: str, what: str, tell: Callable[[Json], str]) -> str:
    if len(matching) > 1:
        told = "; ".join(tell(each) for each in matching[:5])
        raise Conflict(f"{said} may mean several: {told}; give more of the {what}'s id", code="ambiguous")
    return str(matching[0]["id"])
