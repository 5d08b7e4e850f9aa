"""The examples: each loads, needs no key, fits the published schema and makes every prompt from its real files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from adapters.blueprints import blueprint_schema, load_blueprint, parse_blueprint, render, resolve_inputs
from adapters.blueprints.language import FILTERS, TESTS
from adapters.blueprints.schema import FILE
from adapters.blueprints.source import read
from domain.blueprints import AgentSpec, AIConfig, Blueprint, InputSpec, OutputSpec, QualitySpec, Review

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/blueprint.yaml"))


def test_there_are_three_examples_at_least() -> None:
    assert {"release-notes", "research-brief", "code-review"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_makes_every_prompt_from_its_real_files(name: str) -> None:
    loaded = load_blueprint(ROOT / "examples" / name)
    blueprint = loaded.blueprint
    inputs = resolve_inputs(blueprint, {}, base_dir=loaded.base_dir)
    used = ""
    for agent in blueprint.agents:
        outputs = {other: f"<<what {other} wrote>>" for other in sorted(blueprint.ancestors(agent.name))}
        prompt = render(agent.prompt, inputs, outputs)
        assert all(outputs[other] in prompt for other in agent.depends_on), agent.name
        used += render(agent.instructions, inputs, outputs) + prompt
    assert all(str(value) in used for value in inputs.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_without_a_key_within_a_budget_and_asks_a_person(name: str) -> None:
    blueprint = load_blueprint(ROOT / "examples" / name).blueprint
    assert blueprint.name == name
    assert blueprint.budget is not None
    assert {blueprint.ai_for(agent).provider for agent in blueprint.agents} == {"scripted"}
    assert any(blueprint.review_for(agent) for agent in blueprint.agents)
    assert any(agent.output for agent in blueprint.agents)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_how_to_run_it(name: str) -> None:
    readme = (ROOT / "examples" / name / "README.md").read_text("utf-8")
    assert f"toybox run examples/{name}/blueprint.yaml" in readme


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_fits_the_published_schema(name: str) -> None:
    text = (ROOT / "examples" / name / "blueprint.yaml").read_text("utf-8")
    document = json.loads(json.dumps(read(text, source=name).plain(), default=float))
    Draft202012Validator(json.loads(blueprint_schema())).validate(document)


def test_the_published_schema_is_that_of_the_code() -> None:
    published = (ROOT / FILE).read_text("utf-8")
    assert published == blueprint_schema(), f"{FILE} is stale: write blueprint_schema() to it with `make contracts`"


@pytest.mark.parametrize(
    "change",
    [
        {"blueprint": 2},
        {"name": "Not A Slug"},
        {"budget": {"limit": 0.5}},
        {"phases": []},
        {"unknown": 1},
        {"defaults": {"temperature": 3}},
        {"inputs": {"Bad Name": {"type": "text", "description": "x"}}},
    ],
)
def test_the_published_schema_refuses_what_the_loader_refuses(change: dict[str, Any]) -> None:
    right: dict[str, Any] = {
        "blueprint": 1,
        "name": "x",
        "description": "x",
        "phases": [{"name": "p", "agents": [{"name": "a", "instructions": "i", "prompt": "p", "checkpoint": True}]}],
    }
    validator = Draft202012Validator(json.loads(blueprint_schema()))
    assert validator.is_valid(right)
    assert not validator.is_valid(right | change)


def test_the_page_about_blueprints_names_every_field_filter_and_test() -> None:
    page = (ROOT / "docs/how-to/blueprints.md").read_text("utf-8")
    models = (Blueprint, InputSpec, AgentSpec, Review, OutputSpec, QualitySpec, AIConfig)
    words = [*FILTERS, *TESTS, *(name for model in models for name in model.model_fields)]
    assert [word for word in words if not re.search(rf"\b{word}\b", page)] == []


def test_the_smallest_blueprint_of_the_page_is_one() -> None:
    page = (ROOT / "docs/how-to/blueprints.md").read_text("utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    made = parse_blueprint(text, name="page")
    (poet,) = made.agents
    assert render(poet.prompt, {"topic": "tides"}, {}) == "Write one about tides."
