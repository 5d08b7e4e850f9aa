"""Routes that make a project, empty or from a blueprint, and give it its inputs."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, Tag
from starlette.responses import Response

from api.answers import Done
from api.bodies import checked, json_of
from api.commanding import Commanding, Desk
from api.permissions import may
from api.routing import router_of
from api.storing import kept_text
from commands.projects import CreateProject, CreateProjectFromBlueprint, GivenInput, InitializeProject
from domain.blueprints import Blueprint
from domain.projects import InputKind, InputName, ProjectSettings, QualitySettings
from domain.values import AiConfig, Name, PositiveMoney

router = router_of("projects", "/api/projects")
Description = Annotated[str, Field(max_length=4_096)]


class EmptyProject(BaseModel):
    """A project whose phases and agents are added later."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    description: Description | None = None
    ai: AiConfig = AiConfig()
    quality: QualitySettings = QualitySettings()
    settings: ProjectSettings = ProjectSettings()


class ProjectFromBlueprint(BaseModel):
    """A project as a blueprint describes it, ready to be started."""

    model_config = ConfigDict(extra="forbid")
    blueprint: Annotated[str | dict[str, Any], Field(description="Its text in YAML or JSON, or its JSON itself")]
    inputs: Annotated[dict[str, str], Field(description="Text by name; of a file its content")] = {}
    budget: Annotated[PositiveMoney | None, Field(description="USD, in place of the blueprint's own limit")] = None
    name: Annotated[Name | None, Field(description="In place of the blueprint's own")] = None


def _kind(value: Any) -> str:
    described = isinstance(value, ProjectFromBlueprint) or (isinstance(value, dict) and "blueprint" in value)
    return "blueprint" if described else "empty"


class NewProject(
    RootModel[
        Annotated[
            Annotated[EmptyProject, Tag("empty")] | Annotated[ProjectFromBlueprint, Tag("blueprint")],
            Discriminator(_kind),
        ]
    ]
):
    """A project to make."""


class InputText(BaseModel):
    """Something that the project works on."""

    model_config = ConfigDict(extra="forbid")
    name: InputName
    kind: InputKind = "text"
    text: str


class Inputs(BaseModel):
    """What a project works on."""

    model_config = ConfigDict(extra="forbid")
    inputs: Annotated[list[InputText], Field(max_length=200)] = []


@router.post("", status_code=201, dependencies=[may(CreateProject)], response_model=Done)
async def create_project(
    commanding: Commanding, new: Annotated[NewProject, json_of(NewProject, large=True)]
) -> Response:
    """Make a project: an empty one, or all that a blueprint describes. Neither is started."""
    project_id = commanding.new_id("project")
    asked = new.root
    if isinstance(asked, EmptyProject):
        command = checked(CreateProject, project_id=project_id, **dict(asked))
    else:
        command = await _from_blueprint(commanding, project_id, asked)
    answer = await commanding.carry_out(command)
    return commanding.done(answer, about=project_id, status=201, location=f"/api/projects/{project_id}")


async def _from_blueprint(
    commanding: Desk, project_id: UUID, asked: ProjectFromBlueprint
) -> CreateProjectFromBlueprint:
    services = commanding.services
    text = asked.blueprint if isinstance(asked.blueprint, str) else orjson.dumps(asked.blueprint).decode()
    # In a thread: a large document takes a while to check, and others want to be answered.
    blueprint = await asyncio.to_thread(services.blueprints.parse, text)
    values = services.blueprints.resolve(blueprint, asked.inputs)
    return checked(
        CreateProjectFromBlueprint,
        project_id=project_id,
        blueprint=blueprint,
        inputs=tuple([await _input(commanding, project_id, blueprint, *each) for each in values.items()]),
        budget_limit=asked.budget,
        name=asked.name,
    )


async def _input(
    commanding: Desk, project_id: UUID, blueprint: Blueprint, name: str, value: str | int | Decimal
) -> GivenInput:
    text = value if isinstance(value, str) else format(value, "f" if isinstance(value, Decimal) else "d")
    kept = await kept_text(commanding.services.objects, project_id, text, makes_key=True)
    kind = blueprint.inputs[name].type if kept != "" else "text"  # an optional number that was not given is no number
    return checked(GivenInput, name=name, kind=kind, text=kept)


@router.post("/{project_id}/initialize", dependencies=[may(InitializeProject)], response_model=Done)
async def initialize_project(
    project_id: UUID, commanding: Commanding, given: Annotated[Inputs, json_of(Inputs, large=True)]
) -> Response:
    """Give a project its inputs; from then on it can be started."""
    texts = [await kept_text(commanding.services.objects, project_id, each.text) for each in given.inputs]
    fields: list[Mapping[str, Any]] = [
        {"name": each.name, "kind": each.kind, "text": text} for each, text in zip(given.inputs, texts, strict=True)
    ]
    command = checked(InitializeProject, project_id=project_id, inputs=[checked(GivenInput, **each) for each in fields])
    return await commanding.send(command, about=project_id)
