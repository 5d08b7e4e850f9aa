"""The published JSON Schema of blueprints, for editors and for whoever writes blueprints by program."""

import json

from domain.blueprints import Blueprint

FILE = "docs/contracts/blueprint.v1.json"


def blueprint_schema() -> str:
    """The text of the published file; a test compares them."""
    schema = Blueprint.model_json_schema(mode="validation")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:toybox:blueprint:1",
        "title": "toybox blueprint, version 1",
    }
    return json.dumps(head | {key: value for key, value in schema.items() if key not in head}, indent=2) + "\n"
