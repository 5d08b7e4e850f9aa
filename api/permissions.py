"""Who may: every route names its permission, and is refused without it before anything else is read."""

from typing import Any

from fastapi import Depends
from starlette.requests import Request

from api.visiting import visit_of
from commands.handling import Command
from commands.identity.permissions import declare


class May:
    """A dependency that lets only those pass who hold a permission; None is for everybody who has a key."""

    def __init__(self, permission: str | None) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> None:
        if self.permission is not None:
            visit_of(request).principal.must(self.permission)


def may(what: type[Command] | str) -> Any:
    """For `dependencies=[...]` of a route: the permission of its command, or of its query, such as `costs.read`."""
    if isinstance(what, str):
        declare(what)
        return Depends(May(what))
    return Depends(May(what.PERMISSION))


def anybody() -> Any:
    """For the few routes that ask for no permission; the edge decides which of them need a key all the same."""
    return Depends(May(None))
