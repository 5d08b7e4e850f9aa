"""Routes on the short way: found by their path's parts, and called without machinery that they do not use."""

from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, cast

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from api.errors import Invalid
from api.permissions import May

Shelf = tuple[str, int, str]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
EVERYWHERE = frozenset({"min_position", "timeout_ms"})
"""Parameters that a client may send with each of its queries; where nothing can be behind, they change nothing."""


def router_of(context: str, prefix: str = "") -> APIRouter:
    """The router of one module of `api.routes`."""
    return APIRouter(prefix=prefix, tags=[context], route_class=ShortRoute)


class ShortRoute(APIRoute):
    """A route that takes nothing but its path and dependencies that ask the request themselves, as commands do.

    Solving their dependencies in general would cost a quarter of the time of a command. Any other route goes FastAPI's
    way; the document is the same for both.
    """

    def get_route_handler(self) -> Handler:
        """The function that answers a request."""
        short = _is_short(self.dependant) and all(map(_is_leaf, self.dependant.dependencies))
        handle = self._short_handler() if short else super().get_route_handler()
        known = EVERYWHERE | _parameters(self.dependant)
        permissions = [each.call for each in self.dependant.dependencies if isinstance(each.call, May)]

        async def handle_known(request: Request) -> Response:
            if request.scope["query_string"] and (unknown := request.query_params.keys() - known):
                for permission in permissions:
                    await permission(request)
                raise _unknown(unknown, known - EVERYWHERE)
            return await handle(request)

        return handle_known

    def _short_handler(self) -> Handler:
        wanted = self.dependant
        steps = [(each.name, cast("Any", each.call), each.request_param_name) for each in wanted.dependencies]
        path, endpoint = wanted.path_params, cast("Any", wanted.call)
        takes_request = wanted.request_param_name

        async def handle(request: Request) -> Response:
            values: dict[str, Any] = {takes_request: request} if takes_request else {}
            for name, call, parameter in steps:  # in this order: permissions come first
                found = await call(**{str(parameter): request})
                if name:
                    values[name] = found
            for field in path:
                said = request.path_params[field.alias]
                values[field.name], errors = field.validate(said, {}, loc=("path", field.alias))
                if errors:
                    raise RequestValidationError(errors)
            return await endpoint(**values)

        return handle


def _parameters(wanted: Dependant) -> set[str]:
    return {each.alias for each in wanted.query_params}.union(*map(_parameters, wanted.dependencies))


def _unknown(names: Iterable[str], known: Iterable[str]) -> Invalid:
    """A misspelled filter would show everything, and nobody would notice."""
    told = ", ".join(sorted(known)) or "none"
    message = f"this parameter is not known: leave it out (known here: {told})"
    return Invalid([{"in": "query", "field": each, "message": message, "code": "unknown"} for each in sorted(names)])


def _is_short(wanted: Dependant) -> bool:
    others = (wanted.query_params, wanted.header_params, wanted.cookie_params, wanted.body_params)
    return not any(others) and not wanted.response_param_name and not wanted.background_tasks_param_name


def _is_leaf(wanted: Dependant) -> bool:
    return _is_short(wanted) and not wanted.path_params and not wanted.dependencies and bool(wanted.request_param_name)


class Index(BaseRoute):
    """Every route of the application, as one. The second part of a path (`projects`) is never a parameter.

    HEAD is answered wherever GET is, but for the endless answers; OPTIONS says which methods a path takes.
    """

    def __init__(self, routes: Iterable[APIRoute], *, endless: Collection[str] = ()) -> None:
        self.routes = list(routes)
        self._shelves: defaultdict[Shelf, list[APIRoute]] = defaultdict(list)
        for route in self.routes:
            for method in methods_of(route):
                shelf = _shelf(method, route.path)
                if "{" in shelf[2]:
                    msg = f"{route.path} has a parameter where the index looks for a word: begin it with a word or two"
                    raise ValueError(msg)
                self._shelves[shelf].append(route)
        self._methods = sorted({method for route in self.routes for method in methods_of(route)})
        self._endless = endless

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The one route that takes this request; a PARTIAL match where only other methods are taken."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path: str = scope["path"]
        method = "GET" if scope["method"] == "HEAD" and path not in self._endless else scope["method"]
        for route in self._shelves.get(_shelf(method, path), ()):
            match, found = route.matches(scope)
            if match is not Match.NONE:
                return Match.FULL, found
        allowed = {method for method in self._methods if self._takes(method, scope)}
        if not allowed:
            return Match.NONE, {}
        more = {"OPTIONS"} if "GET" not in allowed or path in self._endless else {"HEAD", "OPTIONS"}
        return Match.PARTIAL, {"allowed": ", ".join(sorted(allowed | more))}

    def _takes(self, method: str, scope: Scope) -> bool:
        shelf = self._shelves.get(_shelf(method, scope["path"]), ())
        return any(route.matches(scope)[0] is not Match.NONE for route in shelf)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out what was found."""
        if allowed := scope.get("allowed"):
            if scope["method"] != "OPTIONS":
                raise HTTPException(status_code=405, headers={"Allow": allowed})
            await Response(status_code=204, headers={"Allow": allowed})(scope, receive, send)
            return
        await scope["route"].app(scope, receive, send)  # past its check of the method: it would refuse HEAD


def methods_of(route: APIRoute) -> list[str]:
    """The methods that a route takes."""
    return sorted(route.methods or ())


def _shelf(method: str, path: str) -> Shelf:
    parts = path.split("/")
    return method, len(parts), parts[2] if len(parts) > 2 else parts[-1]
