"""From a file or a text to a blueprint whose graph and templates are sound."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from adapters.blueprints.inputs import default_problems
from adapters.blueprints.messages import placed, translated
from adapters.blueprints.source import MAX_BYTES, read, too_large
from adapters.blueprints.templates import check_templates
from domain.blueprints import Blueprint, BlueprintError, Problem

FILE_NAME = "blueprint.yaml"
"""What is looked for when a folder is named."""


@dataclass(frozen=True, slots=True)
class LoadedBlueprint:
    """A blueprint with the text it came from and the folder that its files are relative to."""

    blueprint: Blueprint
    text: str
    base_dir: Path


def load_blueprint(path: Path) -> LoadedBlueprint:
    """Read and check a blueprint; a folder stands for the `blueprint.yaml` in it."""
    path, text = _text_of(path)
    return LoadedBlueprint(parse_blueprint(text, name=path.as_posix()), text, path.parent)


def parse_blueprint(text: str, *, name: str) -> Blueprint:
    """Check a blueprint that is already in memory; messages call it by the name given."""
    root = read(text, source=name)
    try:
        blueprint = Blueprint.model_validate(root.plain())
    except ValidationError as error:
        raise BlueprintError(placed(translated(error, root), root, name)) from error
    except BlueprintError as error:
        raise BlueprintError(placed(error.problems, root, name)) from error
    if problems := [*default_problems(blueprint), *check_templates(blueprint)]:
        raise BlueprintError(placed(problems, root, name))
    return blueprint


def _text_of(path: Path) -> tuple[Path, str]:
    source = path.as_posix()
    try:
        if path.is_dir():
            path = path / FILE_NAME
            source = path.as_posix()
        if not path.is_file():
            said = "is not a regular file" if path.exists() else "does not exist"
            raise BlueprintError([Problem(f"the blueprint {said}", "check the path", (), source)])
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BlueprintError([too_large(source)])
        return path, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BlueprintError([Problem("not UTF-8 text", "save the file as UTF-8", (), source, line)]) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BlueprintError(
            [Problem(f"cannot be read: {reason}", "check the path and its rights", (), source)]
        ) from error
