"""Routes on the short way: found by their path's parts, and called without machinery that they do not use."""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
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

Shelf = tuple[str, int, str]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


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
        wanted = self.dependant
        if not (_is_short(wanted) and all(map(_is_leaf, wanted.dependencies))):
            return super().get_route_handler()
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


def _is_short(wanted: Dependant) -> bool:
    others = (wanted.query_params, wanted.header_params, wanted.cookie_params, wanted.body_params)
    return not any(others) and not wanted.response_param_name and not wanted.background_tasks_param_name


def _is_leaf(wanted: Dependant) -> bool:
    return _is_short(wanted) and not wanted.path_params and not wanted.dependencies and bool(wanted.request_param_name)


class Index(BaseRoute):
    """Every route of the application, as one. The second part of a path (`projects`) is never a parameter."""

    def __init__(self, routes: Iterable[APIRoute]) -> None:
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

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The one route that takes this request; a PARTIAL match where only others methods are taken."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path: str = scope["path"]
        for route in self._shelves.get(_shelf(scope["method"], path), ()):
            match, found = route.matches(scope)
            if match is Match.FULL:
                return match, found
        allowed = [method for method in self._methods if self._takes(method, scope)]
        return (Match.PARTIAL, {"allowed": ", ".join(allowed)}) if allowed else (Match.NONE, {})

    def _takes(self, method: str, scope: Scope) -> bool:
        shelf = self._shelves.get(_shelf(method, scope["path"]), ())
        return any(route.matches(scope)[0] is not Match.NONE for route in shelf)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out what was found."""
        if allowed := scope.get("allowed"):
            raise HTTPException(status_code=405, headers={"Allow": allowed})
        await scope["route"].handle(scope, receive, send)


def methods_of(route: APIRoute) -> list[str]:
    """The methods that a route takes."""
    return sorted(route.methods or ())


def _shelf(method: str, path: str) -> Shelf:
    parts = path.split("/")
    return method, len(parts), parts[2] if len(parts) > 2 else parts[-1]
