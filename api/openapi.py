"""The OpenAPI document: what FastAPI finds in the routes, and what our own dependencies say of themselves."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.bodies import JsonBody
from api.commanding import desk
from api.errors import MEDIA_TYPE
from api.examples import example_of
from api.permissions import May
from api.routing import Index, methods_of
from api.unsealing import PATTERN, READABLE

DESCRIPTION = """\
The event-sourced control plane for AI-agent projects. Commands answer with the log's position; a query with
`min_position` shows what they did. Errors are problem+json (RFC 9457) whose `detail` names the fix.
"""
VERSION = "0.1"
"""Of the API, not of the program: it rises when a client would notice."""
REF = "#/components/schemas/{model}"
_PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "description": "An error (RFC 9457); further fields depend on the code.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "description": "/problems/<code>"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do about it"},
        "code": {"type": "string"},
        "correlation_id": {"type": "string", "format": "uuid"},
        "errors": {
            "type": "array",
            "description": "The fields that are wrong",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("in", "field", "message", "code")},
            },
        },
    },
    "example": {
        "type": "/problems/version_conflict",
        "title": "Version conflict",
        "status": 412,
        "detail": "it is at version 9, you looked at version 7: read it again",
        "code": "version_conflict",
        "current": 9,
        "expected": 7,
    },
}
_COMMAND_HEADERS: tuple[Mapping[str, Any], ...] = (
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Sent again with the same key, a request changes nothing and is answered the same. "
        "One is made, and answered, when it is missing.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    },
    {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of what you looked at: 412 when it has changed since",
        "schema": {"type": "string"},
        "example": '"7"',
    },
)


def routes_of(app: FastAPI) -> list[APIRoute]:
    """Every route of the application, by path and method."""
    found = (route for index in app.routes if isinstance(index, Index) for route in index.routes)
    return sorted(found, key=lambda route: (route.path, methods_of(route)))


def dependencies_of(route: APIRoute) -> Iterator[Any]:
    """Everything that a route depends on, however deep."""
    ahead: list[Dependant] = [*route.dependant.dependencies]
    while ahead:
        each = ahead.pop()
        ahead += each.dependencies
        yield each.call


def permission_of(route: APIRoute) -> str | None:
    """The permission that a route takes."""
    return next((each.permission for each in dependencies_of(route) if isinstance(each, May)), None)


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document, in a stable order."""
    if app.openapi_schema is None:
        app.openapi_schema = _made(app)
    return app.openapi_schema


def _made(app: FastAPI) -> dict[str, Any]:
    routes = [route for route in routes_of(app) if route.include_in_schema]
    made = get_openapi(title="toybox", version=VERSION, description=DESCRIPTION, routes=routes, openapi_version="3.1.0")
    schemas: dict[str, Any] = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    bodies: dict[int, JsonBody[Any]] = {
        id(route): body for route in routes for body in dependencies_of(route) if isinstance(body, JsonBody)
    }
    schemas |= _body_schemas([body.model for body in bodies.values()])
    schemas["Problem"] = dict(_PROBLEM)
    for route in routes:
        for method in methods_of(route):
            operation: dict[str, Any] = made["paths"][route.path][method.lower()]
            _complete(operation, route, bodies.get(id(route)))
    made["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An access key: tbx_…"}
    }
    made["security"] = [{"key": []}]
    return _readable(made)


def _body_schemas(models: list[type[BaseModel]]) -> dict[str, Any]:
    unique = {model.__name__: model for model in models}
    _, found = models_json_schema([(model, "validation") for model in unique.values()], ref_template=REF)
    return found.get("$defs", {})


def _complete(operation: dict[str, Any], route: APIRoute, body: JsonBody[Any] | None) -> None:
    operation["operationId"] = route.name
    responses: dict[str, Any] = operation["responses"]
    responses.pop("422", None)
    responses["default"] = {
        "description": "Refused, or failed",
        "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
    }
    if permission := permission_of(route):
        operation["x-permission"] = permission
        said = operation.get("description")
        operation["description"] = f"{said}\n\nTakes `{permission}`." if said else f"Takes `{permission}`."
    elif route.path in ("/health", "/ready"):
        operation["security"] = []
    if desk in dependencies_of(route):
        operation.setdefault("parameters", []).extend(dict(each) for each in _COMMAND_HEADERS)
    if body is not None:
        content: dict[str, Any] = {"schema": {"$ref": REF.format(model=body.model.__name__)}}
        if (example := example_of(body.model.__name__)) is not None:
            content["example"] = example
        operation["requestBody"] = {"required": not body.optional, "content": {"application/json": content}}


def _readable(value: Any) -> Any:
    """Sealed text is shown in the clear, or null once its key was destroyed; the document says so."""
    if isinstance(value, list):
        return [_readable(each) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found = cast("dict[str, Any]", value)
    if found.get("pattern") == PATTERN:
        return {"type": ["string", "null"], "description": "In the clear; null once it was erased"}
    return {READABLE if name == "sealed" else name: _readable(each) for name, each in found.items()}
