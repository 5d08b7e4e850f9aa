"""The published OpenAPI document, made from the routes alone: nothing is started for it."""

import json
from pathlib import Path

from fastapi import FastAPI

from api.app import routed
from api.openapi import document
from toybox.inventory import load

FILE = Path("docs/contracts/openapi.json")


def openapi() -> str:
    """The text of the published file; a check compares them."""
    load()
    return json.dumps(document(routed(FastAPI())), indent=2, ensure_ascii=False) + "\n"
