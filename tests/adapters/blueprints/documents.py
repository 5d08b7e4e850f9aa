"""Small blueprints for the tests of this folder, as text and with the problems they cause."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from adapters.blueprints import load_blueprint, parse_blueprint
from domain.blueprints import Blueprint, BlueprintError

ONE_AGENT = """\
blueprint: 1
name: example
description: An example
phases:
  - name: only
    agents:
      - name: writer
        instructions: Be brief.
        prompt: Write about tides.
"""


def with_inputs(inputs: Mapping[str, str]) -> Blueprint:
    """The small blueprint, with these inputs in flow style: `{"notes": "{type: file, description: x}"}`."""
    lines = "".join(f"  {name}: {spec}\n" for name, spec in inputs.items())
    return parse_blueprint(f"{ONE_AGENT}inputs:\n{lines}", name="x.yaml")


def problems_in(text: str, name: str = "x.yaml") -> list[str]:
    """What is said of a text that is no blueprint."""
    with pytest.raises(BlueprintError) as refused:
        parse_blueprint(text, name=name)
    return str(refused.value).splitlines()


def problems_of_file(path: Path) -> list[str]:
    """What is said of a file that is no blueprint."""
    with pytest.raises(BlueprintError) as refused:
        load_blueprint(path)
    return str(refused.value).splitlines()
