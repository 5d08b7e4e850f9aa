"""Routes for blueprints: whether one is sound, and how they are written."""

import asyncio
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.answers import shown
from api.bodies import json_of
from api.permissions import may
from api.routing import router_of
from api.visiting import services_of
from domain.blueprints import InputSpec

router = router_of("blueprints", "/api/blueprints")


class BlueprintText(BaseModel):
    """A blueprint to look at."""

    model_config = ConfigDict(extra="forbid")
    blueprint: Annotated[str | dict[str, Any], Field(description="Its text in YAML or JSON, or its JSON itself")]


class BlueprintSummary(BaseModel):
    """A sound blueprint in short. One that is not is refused, with every problem, its line and its fix."""

    name: str
    description: str
    digest: str
    inputs: dict[str, InputSpec]
    phases: dict[str, list[str]]
    """Names of the agents of each phase."""


@router.post("/validate", dependencies=[may("blueprints.read")], response_model=BlueprintSummary)
async def validate_blueprint(
    request: Request, given: Annotated[BlueprintText, json_of(BlueprintText, large=True)]
) -> Response:
    """Check a blueprint without making anything."""
    text = given.blueprint if isinstance(given.blueprint, str) else orjson.dumps(given.blueprint).decode()
    blueprint = await asyncio.to_thread(services_of(request).blueprints.parse, text)
    return shown(
        {
            "name": blueprint.name,
            "description": blueprint.description,
            "digest": blueprint.digest,
            "inputs": {name: spec.model_dump(mode="json") for name, spec in blueprint.inputs.items()},
            "phases": {phase.name: [agent.name for agent in phase.agents] for phase in blueprint.phases},
        }
    )


@router.get("/schema", dependencies=[may("blueprints.read")], response_class=Response)
async def get_blueprint_schema(request: Request) -> Response:
    """The JSON Schema of blueprints, for editors."""
    return shown(services_of(request).blueprints.schema().encode(), media_type="application/schema+json")
