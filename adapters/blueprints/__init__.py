"""Blueprints from files: safe YAML and JSON, prompts in a sandbox, inputs checked, messages with file, line and fix."""

from adapters.blueprints.inputs import parse_input_flags, resolve_inputs
from adapters.blueprints.loading import LoadedBlueprint, load_blueprint, parse_blueprint
from adapters.blueprints.schema import blueprint_schema
from adapters.blueprints.templates import check_templates, outputs_used, render

__all__ = [
    "LoadedBlueprint",
    "blueprint_schema",
    "check_templates",
    "load_blueprint",
    "outputs_used",
    "parse_blueprint",
    "parse_input_flags",
    "render",
    "resolve_inputs",
]
